"""The rivals: backpropagation of the head, and of every weight, in floats."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.benchmark_data import Part
from converters.to_keras import to_keras
from tflm_fg.fixed_point import arithmetic
from tflm_fg.placement.split_model import Graph, RuntimeOptions
from tflm_fg.tflite.select_trainable import (
  MarkedModel,
  mark_trainable,
  unmarked,
)
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import TensorSpec, tensor_spec, weights_of
from tflm_fg.training import data
from tflm_fg.types import Array, TflmFgError

CONVERGED = 1e-3
"""Descent ends when 100 steps lower its loss by less than this."""

EPOCHS, BATCH = 40, 32

RATES = {"all": (3e-4, 1e-3, 3e-3), "head": (3e-3, 1e-2, 3e-2)}
"""Learning rates of Adam that are tried, with cosine decay."""


def backpropagated(model: bytes, train: Part, test: Part) -> float:
  """Test accuracy of the head after float backpropagation to convergence.

  The layers before the head stay int8; its input is dequantized.
  """
  marked = mark_trainable(model, "head")
  graph = Graph(marked.data, marked.mark, RuntimeOptions())
  spec = tensor_spec(marked.data, marked.mark.head_input)
  (x, y), (test_x, test_y) = (
    (features_of(graph, part, spec), np.asarray(part[1]))
    for part in (train, test)
  )
  weights = descend(x, y, head_start(marked))
  return float(((test_x @ weights).argmax(axis=1) == test_y).mean())


def head_start(marked: MarkedModel) -> NDArray[np.float64]:
  """The head's weights, dequantized, [D + 1, C]; the last row is the bias."""
  kernel, bias = (
    array * np.reshape(t.scales, [-1] + [1] * (array.ndim - 1))
    for array, t in zip(
      weights_of(marked.data, marked.mark.trainable), marked.mark.trainable
    )
  )
  return np.vstack([kernel.reshape(len(kernel), -1).T, bias.reshape(1, -1)])


def features_of(
  graph: Graph, part: Part, spec: TensorSpec
) -> NDArray[np.float64]:
  """The head's input [N, D + 1], dequantized, with a column of ones."""
  (features,) = graph.samples(data.Dataset(*part), "clips").inputs
  flat = features.reshape(len(features), -1)
  x = arithmetic.dequantize(flat, spec.scale, spec.zero_point)
  return np.hstack([x, np.ones((len(x), 1))])


def descend(
  x: NDArray[np.float64], y: Array, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
  """Full-batch gradient descent on softmax cross-entropy, with momentum.

  Args:
    x: inputs [N, D].
    y: classes [N].
    weights: [D, C], where to start.

  Returns:
    Weights [D, C], once 100 steps lower the loss by less than `CONVERGED`.
  """
  wanted = np.eye(weights.shape[1])[y]
  rate = 2 * len(x) / np.linalg.norm(x, 2) ** 2  # the inverse of its smoothness
  velocity, last = np.zeros_like(weights), np.inf
  for step in range(100_000):
    logits = x @ weights
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if step % 100 == 0:
      loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-300)).mean()
      if last - loss < CONVERGED:
        break
      last = loss
    velocity = 0.9 * velocity - 0.1 * rate * (x.T @ (p - wanted)) / len(x)
    weights = weights + velocity
  return weights


def one_thread() -> Any:
  """TensorFlow, quiet and on one thread.

  Raises:
    TflmFgError: if it is missing.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  try:
    import tensorflow as tf
  except ImportError:
    raise TflmFgError(
      "backpropagation in Keras needs: pip install 'tflm-fg[tf]'"
    ) from None
  with contextlib.suppress(RuntimeError):  # it has run something before
    tf.config.threading.set_intra_op_parallelism_threads(1)
  return tf


@dataclasses.dataclass(frozen=True)
class Curve:
  """A run of `keras.Model.fit`.

  Attributes:
    rate: first learning rate.
    accuracies: on the test samples, after every epoch.
    seconds: of training until then; looking at the test samples not included,
      nor tracing and compiling.
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
    seed: of Keras.

  Raises:
    TflmFgError: if TensorFlow is missing.
  """
  one_thread()
  spec = tensor_spec(model, whole(model, unmarked(model)).inputs[0])
  parts = [
    (dequantized(part[0], spec), np.asarray(part[1])) if part else None
    for part in (train, test, source)
  ]
  return [
    _fit(to_keras(model), *parts, trainable, rate, seed)
    for rate in RATES[trainable]
  ]


def dequantized(x: Array, spec: TensorSpec) -> NDArray[np.float32]:
  """Samples as the model sees them, on its input's grid, as floats."""
  on_grid = data.model_input(x, spec)
  floats = arithmetic.dequantize(on_grid, spec.scale, spec.zero_point)
  return floats.astype(np.float32)


def _fit(
  net: Any,
  train: Any,
  test: Any,
  source: Any,
  trainable: str,
  rate: float,
  seed: int,
) -> Curve:
  import keras

  keras.utils.set_random_seed(seed)
  if trainable == "head":
    head = [layer for layer in net.layers if layer.weights][-1]
    for layer in net.layers:
      layer.trainable = layer is head
  steps = EPOCHS * math.ceil(len(train[0]) / BATCH)
  schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
  loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  net.compile(keras.optimizers.Adam(schedule), loss)
  _warm(net, train)
  watch = _watch(keras, net, test)
  net.fit(*train, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[watch])
  end = _accuracy(net, source) if source else math.nan
  return Curve(rate, watch.accuracies, watch.seconds, end)


def _warm(net: Any, train: Any) -> None:
  """Traces the training step, and takes it back."""
  start = net.get_weights()
  # A full batch and the last one, which may be smaller.
  few = BATCH + (len(train[0]) % BATCH or BATCH)
  net.fit(train[0][:few], train[1][:few], batch_size=BATCH, verbose=0)
  net.set_weights(start)
  for variable in net.optimizer.variables:
    variable.assign(np.zeros(variable.shape))


def _watch(keras: Any, net: Any, test: Any) -> Any:
  """A callback that looks at the test samples with the clock stopped."""

  class Watch(keras.callbacks.Callback):
    def __init__(self) -> None:
      super().__init__()
      self.accuracies: list[float] = []
      self.seconds: list[float] = []
      self._spent = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
      self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
      self._spent += time.perf_counter() - self._began
      self.seconds.append(self._spent)
      self.accuracies.append(_accuracy(net, test))

  return Watch()


def _accuracy(net: Any, part: Any) -> float:
  logits = np.asarray(net.predict_on_batch(part[0]))
  return float((logits.argmax(axis=1) == part[1]).mean())
