"""Train a whole model's float counterpart for some epochs, at several rates.

The same network and optimizer as `backprop`, with the budget of an ordinary
training run: 40 epochs, the test samples scored after each of them.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from apps.compare.data.sampling import Part
from apps.compare.methods import backprop
from apps.compare.methods.head_descent import dequantized, quiet_tensorflow
from tflm_fg.tflite import input_spec
from tflm_fg.training import Batches

EPOCHS, BATCH = 40, 32

RATES = {"all": (3e-4, 1e-3, 3e-3), "head": (3e-3, 1e-2, 3e-2)}
"""Learning rates of Adam that are tried, with cosine decay."""


@dataclasses.dataclass(frozen=True)
class Curve:
  """A training run at one rate.

  Attributes:
    rate: first learning rate.
    accuracies: on the test samples, after every epoch.
    seconds: of training until then; without scoring the test samples, tracing
      and compiling.
    source: accuracy on the source's samples in the end; nan without.
  """

  rate: float
  accuracies: list[float]
  seconds: list[float]
  source: float

  def reached(self, wanted: float) -> float:
    """Seconds until an epoch ended with that accuracy; nan if none did."""
    ended = zip(self.seconds, self.accuracies)
    return next((s for s, a in ended if a >= wanted), math.nan)


def fit_keras(
  model: bytes,
  train: Part,
  test: Part,
  source: Part | None,
  *,
  trainable: str,
  seed: int,
) -> list[Curve]:
  """Trains the float counterpart once for every learning rate.

  Args:
    model: the .tflite, whose weights are the start.
    train: samples to train on.
    test: samples to score on after every epoch.
    source: samples to score on in the end.
    trainable: "all" or "head".
    seed: of the order of the samples.

  Raises:
    TflmFgError: if TensorFlow is missing.
  """
  quiet_tensorflow()
  net = backprop.float_net(model, trainable, train, test)
  known = None
  if source is not None:
    x = dequantized(source[0], input_spec(model))
    known = dataclasses.replace(
      net, test_x=x, test_y=np.asarray(source[1], np.int64)
    )
  batches = Batches(len(net.y), BATCH, seed)
  each = math.ceil(len(net.y) / batches.size)
  rows = [batches.at(step) for step in range(EPOCHS * each)]
  ends = range(each, len(rows) + 1, each)
  _trace(net, rows)
  curves = []
  for rate in RATES[trainable]:
    found = net.trained(rows, rate, ends)
    curves.append(
      Curve(
        rate,
        [net.scored(snapshot.values)[0] for snapshot in found],
        [snapshot.seconds for snapshot in found],
        known.scored(found[-1].values)[0] if known else math.nan,
      )
    )
  return curves


def _trace(net: backprop.Net, rows: list[np.ndarray]) -> None:
  """Traces the training step without taking one."""
  none = np.array(rows[:1])[:0], np.zeros(0, np.float32)
  net.adam.steps(net.x, net.y, *none)
