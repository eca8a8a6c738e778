"""Ways to adapt to shifted samples: this library's, and Keras's.

Each takes a training part, a test part and a seed, and gives how many of the
test samples are right, in the end, with what it took.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import pathlib
import time
from typing import NamedTuple

import numpy as np

import tflm_fg
from apps.compare.methods import backprop
from tflm_fg.methods import Auto
from tflm_fg.training import Batches, hold_out
from tools.shift_samples import Part

BATCH = 32
RATES = {"all": (1e-4, 3e-4, 1e-3), "head": (3e-3, 1e-2, 3e-2)}
EPOCHS = (10, 40)
"""What Keras chooses from, for every split anew."""

KEPT_FRACTION = 0.25
"""Share of the training samples that is kept aside to choose by."""


class Ended(NamedTuple):
  """What a run gave.

  Attributes:
    before: accuracy of the untouched file on the test samples.
    after: accuracy in the end.
    passes: runs of a batch; 0 for Keras.
    seconds: of the whole run.
    chosen: where it trained, or at which rate and for how many epochs.
  """

  before: float
  after: float
  passes: int
  seconds: float
  chosen: str


def adapted(
  model: pathlib.Path,
  train: Part,
  test: Part,
  seed: int,
  trainable: str | None = None,
  labels: bool = True,
) -> Ended:
  """Adapts with this library's defaults.

  Args:
    model: the .tflite.
    train: samples to learn from.
    test: samples to score on.
    seed: of the run.
    trainable: what may train; None to let it be chosen.
    labels: whether training sees the classes.
  """
  began = time.perf_counter()
  method = Auto(seed=seed)
  x, y = train[0], train[1] if labels else None
  given = {} if trainable is None else {"trainable": trainable}
  report = tflm_fg.adapt(
    str(model), x, y, test=test, method=method, **given
  ).report
  return Ended(
    report.accuracy_before,
    report.accuracy_after,
    report.forward_passes,
    time.perf_counter() - began,
    str(report.trainable),
  )


def backpropagated(
  model: pathlib.Path, train: Part, test: Part, seed: int, trainable: str
) -> Ended:
  """Trains the float counterpart in Keras, Adam with cosine decay.

  The learning rate and the number of epochs are those with the fewest errors,
  and then the lowest loss, on a part of the training samples that is kept
  aside. They are chosen once for a training part, whatever the seed; then all
  of it is trained on.

  Args:
    model: the .tflite, whose weights are the start.
    train: samples to learn from.
    test: samples to score on.
    seed: of the order of the samples.
    trainable: "all" or "head".
  """
  began = time.perf_counter()
  net = backprop.float_net(model.read_bytes(), trainable, train, test)
  key = train[0].tobytes(), train[1].tobytes(), model, trainable
  rate, epochs = _settings(_Key(key, net))
  before, _ = net.scored(net.start)
  found = net.trained(_rows(np.arange(len(net.y)), epochs, seed), rate)
  after, _ = net.scored(found[-1].values)
  spent = time.perf_counter() - began
  return Ended(before, after, 0, spent, f"rate {rate:g}, {epochs} epochs")


@dataclasses.dataclass(frozen=True)
class _Key:
  """What settings are chosen for once; the network is not compared."""

  key: tuple[object, ...]
  net: backprop.Net = dataclasses.field(compare=False)


@functools.lru_cache(maxsize=4)
def _settings(of: _Key) -> tuple[float, int]:
  net, trainable = of.net, of.key[-1]
  fit, kept = hold_out(net.y, KEPT_FRACTION, 0)
  part = dataclasses.replace(net, test_x=net.x[kept], test_y=net.y[kept])
  found = {}
  for rate, epochs in itertools.product(RATES[trainable], EPOCHS):
    values = part.trained(_rows(fit, epochs, 0), rate)[-1].values
    accuracy, loss = part.scored(values)
    found[rate, epochs] = 1 - accuracy, loss
  return min(found, key=lambda settings: found[settings])


def _rows(fit: np.ndarray, epochs: int, seed: int) -> list[np.ndarray]:
  """Training samples of each step."""
  batches = Batches(len(fit), BATCH, seed)
  steps = epochs * math.ceil(len(fit) / batches.size)
  return [fit[batches.at(step)] for step in range(steps)]
