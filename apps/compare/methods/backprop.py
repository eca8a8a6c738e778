"""Train what a cell trains by backpropagation, in Keras.

Float32, Adam with cosine decay, the batches that the forward gradients take,
and as many steps as they have passes. Layers in front of a head stay int8 where
the head alone trains; anything else is a float network as a whole.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.compare.data.episodes import Episode, Part
from apps.compare.grid import Cell
from apps.compare.methods import integer, learning_rates
from apps.compare.methods.head_descent import (
  dequantized,
  features_of,
  head_start,
  quiet_tensorflow,
)
from apps.compare.methods.scoring import NUM_SCORES, RUNTIME_OPTIONS
from apps.compare.results.rows import Measured
from converters.to_keras import to_keras
from tflm_fg.marking import mark_trainable, strip
from tflm_fg.placement import SplitModel
from tflm_fg.tflite import MarkedModel, channels_of, input_spec, tensor_spec
from tflm_fg.training import Batches, hold_out
from tflm_fg.types import Int64, TrainableTensor

Floats = NDArray[np.float32]

RATES = {
  "head": (3e-3, 1e-2, 3e-2),
  "wide-head": (3e-3, 1e-2, 3e-2),
  "prompt": (3e-3, 1e-2, 3e-2),
  "first-bias": (3e-3, 1e-2, 3e-2),
  "inner-bias": (1e-3, 3e-3, 1e-2),
  "bias": (1e-3, 3e-3, 1e-2),
  "all": (3e-4, 1e-3, 3e-3),
}
"""Learning rates that are tried; of a prompt in standard deviations of x."""


class Snapshot(NamedTuple):
  """Copies of the variables after some steps, and the seconds until then."""

  step: int
  values: list[Floats]
  seconds: float


@dataclasses.dataclass(frozen=True)
class Net:
  """A float network with what trains in it.

  Attributes:
    adam: takes steps.
    start: the variables' values before any.
    x: training inputs.
    y: their classes.
    test_x: test inputs.
    test_y: their classes.
    unit: what a learning rate counts in.
  """

  adam: Adam
  start: list[Floats]
  x: Floats
  y: Int64
  test_x: Floats
  test_y: Int64
  unit: float = 1.0

  def trained(
    self, rows: Sequence[Int64], rate: float, copy_at: Sequence[int] = ()
  ) -> list[Snapshot]:
    """Trains from the start, with Adam and cosine decay to zero.

    Args:
      rows: training samples of each step.
      rate: first learning rate.
      copy_at: steps after which to copy the variables; the last one always is.

    Returns:
      The copies; their seconds are those of the steps alone.
    """
    rates = cosine_rates(rate * self.unit, len(rows))
    indices = np.array(rows)
    self.adam.reset(self.start)
    found, done, seconds = [], 0, 0.0
    for end in sorted({*copy_at, len(rows)}):
      if end > done:
        began = time.perf_counter()
        part = slice(done, end)
        self.adam.steps(self.x, self.y, indices[part], rates[part])
        seconds += time.perf_counter() - began
      found.append(Snapshot(end, self.adam.values(), seconds))
      done = end
    return found

  def scored(self, values: Sequence[Floats]) -> tuple[float, float]:
    """Accuracy and loss in nats on the test samples."""
    return self.adam.scored(values, self.test_x, self.test_y)


def cosine_rates(rate: float, steps: int) -> Floats:
  """Keras's cosine decay to zero: the learning rate of each step."""
  quiet_tensorflow()
  import keras

  schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
  return np.asarray(schedule(np.arange(steps)), np.float32)


class Adam:
  """Steps of Keras's Adam; traced once for all rates and samples."""

  def __init__(
    self, forward: Any, variables: Sequence[Any], shape: Sequence[int]
  ) -> None:
    tf = quiet_tensorflow()
    import keras

    self._forward, self._variables = forward, list(variables)
    self._optimizer = keras.optimizers.Adam()
    self._optimizer.build(self._variables)
    signature = [
      tf.TensorSpec([None, *shape], tf.float32),
      tf.TensorSpec([None], tf.int64),
      tf.TensorSpec([None, None], tf.int64),
      tf.TensorSpec([None], tf.float32),
    ]
    self._logits = tf.function(forward, input_signature=signature[:1])
    self.steps = tf.function(self._steps, input_signature=signature)
    self._tf = tf

  def _steps(self, x: Any, y: Any, rows: Any, rates: Any) -> None:
    tf = self._tf
    for i in tf.range(tf.shape(rates)[0]):
      samples, classes = tf.gather(x, rows[i]), tf.gather(y, rows[i])
      with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(self._variables)
        loss = tf.reduce_mean(
          tf.nn.sparse_softmax_cross_entropy_with_logits(
            classes, self._forward(samples)
          )
        )
      gradients = tape.gradient(loss, self._variables)
      self._optimizer.learning_rate.assign(rates[i])
      self._optimizer.apply(gradients, self._variables)

  def reset(self, values: Sequence[Floats]) -> None:
    """Sets the variables to where they start, and the optimizer to zero."""
    for variable, value in zip(self._variables, values):
      variable.assign(value)
    for variable in self._optimizer.variables:
      variable.assign(np.zeros(variable.shape, variable.dtype))

  def values(self) -> list[Floats]:
    """Copies of the variables."""
    return [v.numpy() for v in self._variables]

  def scored(
    self, values: Sequence[Floats], x: Floats, y: Int64
  ) -> tuple[float, float]:
    """Accuracy and loss in nats with some values; the variables keep them."""
    for variable, value in zip(self._variables, values):
      variable.assign(value)
    parts = [
      np.asarray(self._logits(x[i : i + 128]), np.float64)
      for i in range(0, len(x), 128)
    ]
    logits = np.concatenate(parts)
    right = logits.argmax(axis=1) == y
    logits -= logits.max(axis=1, keepdims=True)
    logs = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
    return float(right.mean()), float(logs.mean())


def run(cell: Cell, task: Episode) -> Measured:
  """Chooses a rate on a part of the training samples, then trains on all."""
  net = net_of(cell, task)
  rate = best_rate(net, cell)
  found = trained(net, cell, rate, NUM_SCORES)
  scores = [net.scored(snapshot.values) for snapshot in found]
  return Measured(
    accuracy_before=scores[0][0],
    accuracy_after=scores[-1][0],
    loss_before=scores[0][1],
    loss_after=scores[-1][1],
    forward_passes=cell.passes,
    seconds=found[-1].seconds,
    chosen=f"rate {rate:g}",
    curve=tuple((s.step, a) for s, (a, _) in zip(found, scores)),
  )


def trained(net: Net, cell: Cell, rate: float, copies: int) -> list[Snapshot]:
  """Trains a cell's network on all samples.

  Args:
    net: the network.
    cell: how many steps, of which samples.
    rate: first learning rate.
    copies: of the variables, evenly over the run, with the first and the last.
  """
  batches = Batches(len(net.y), cell.batch, cell.seed)
  rows = [batches.at(step) for step in range(cell.passes)]
  steps = np.rint(np.linspace(0, cell.passes, copies)).astype(int)
  return net.trained(rows, rate, [int(step) for step in steps])


def best_rate(net: Net, cell: Cell) -> float:
  """The rate that does best on samples kept aside of the training ones."""
  fit, kept = hold_out(net.y, learning_rates.KEPT_FRACTION, cell.seed)
  if not len(kept):  # a sample a class: nothing to compare by
    return RATES[cell.trainable][1]
  part = dataclasses.replace(net, test_x=net.x[kept], test_y=net.y[kept])
  batches = Batches(len(fit), cell.batch, cell.seed)
  steps = min(cell.passes, learning_rates.BACKPROP_STEPS)
  rows = [fit[batches.at(step)] for step in range(steps)]
  found = {}
  for rate in RATES[cell.trainable]:
    accuracy, loss = part.scored(part.trained(rows, rate)[-1].values)
    found[rate] = learning_rates.Found(1 - accuracy, loss)
  return min(found, key=lambda rate: found[rate])


def net_of(cell: Cell, task: Episode) -> Net:
  """The float network that a cell trains, with its samples."""
  quiet_tensorflow()
  if cell.trainable in ("head", "wide-head"):
    return _head(cell, task)
  return float_net(task.model, cell.trainable, task.train, task.test)


def float_net(model: bytes, trainable: str, train: Part, test: Part) -> Net:
  """The float counterpart of a whole model, with some samples."""
  spec = input_spec(model)
  x, test_x = (dequantized(part[0], spec) for part in (train, test))
  y, test_y = (np.asarray(part[1], np.int64) for part in (train, test))
  adam, start = _whole(model, trainable)
  unit = float(x.std()) if trainable == "prompt" else 1.0
  return Net(adam, start, x, y, test_x, test_y, unit)


def _head(cell: Cell, task: Episode) -> Net:
  """A linear layer on what the int8 layers in front of it give."""
  marked = integer.marked_of(cell, task)
  graph = SplitModel(marked.data, marked.mark, RUNTIME_OPTIONS)
  spec = tensor_spec(marked.data, marked.mark.head_input)
  x, test_x = (
    features_of(graph, part, spec)[:, :-1].astype(np.float32)
    for part in (task.train, task.test)
  )
  start = head_start(marked).astype(np.float32)
  y, test_y = (
    np.asarray(part[1], np.int64) for part in (task.train, task.test)
  )
  adam = _linear(*start[:-1].shape)
  return Net(adam, [start[:-1], start[-1]], x, y, test_x, test_y)


@functools.lru_cache(maxsize=4)
def _linear(inputs: int, outputs: int) -> Adam:
  tf = quiet_tensorflow()
  kernel = tf.Variable(tf.zeros([inputs, outputs]))
  bias = tf.Variable(tf.zeros([outputs]))
  return Adam(lambda x: x @ kernel + bias, [kernel, bias], [inputs])


@functools.lru_cache(maxsize=4)
def _whole(model: bytes, trainable: str) -> tuple[Adam, list[Floats]]:
  """The float network whole, and where its variables start."""
  tf = quiet_tensorflow()
  shape = input_spec(model).shape
  if trainable == "prompt":
    net = to_keras(model)
    offset = tf.Variable(tf.zeros(channels_of(shape)))
    forward = lambda x: net(x + offset, training=False)  # noqa: E731
    return Adam(forward, [offset], shape[1:]), [offset.numpy()]
  marked = mark_trainable(model, trainable)
  net = to_keras(strip(marked.data))
  variables = [v for _, v in variables_of(net, marked)]
  start = [v.numpy() for v in variables]
  forward = functools.partial(net, training=False)
  return Adam(forward, variables, shape[1:]), start


def variables_of(
  net: Any, marked: MarkedModel
) -> list[tuple[TrainableTensor, Any]]:
  """The marked tensors with the network's variables that stand for them."""
  operators = marked.file.subgraph.operators
  found = []
  for tensor in marked.mark.trainable:
    kernel = int(operators[tensor.operator].inputs[1])
    held = net.get_layer(f"t{kernel}").variables
    found.append((tensor, held[tensor.role == "bias"].value))
  return found
