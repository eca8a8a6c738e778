"""Run the passes of a head on its cached inputs, without an engine.

A head is one dense layer on one vector, and its inputs do not change while it
trains. So its logits can be computed here: heads can be compared over many
folds of the samples, and no pass of an engine is spent. Engines round sums
once or twice, so their logits may differ from these by one step; in tests
up to 1.1 % of them do.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import LIMITS, clipped
from tflm_fg.fixed_point.one_thread import one_thread
from tflm_fg.losses.base import Loss
from tflm_fg.tflite.layers import SHAPING, TRAINABLE_OPS, reads_one_vector
from tflm_fg.tflite.tensors import Part, Patchable, tensor_spec
from tflm_fg.types import (
  Array,
  Int64,
  NotApplicable,
  Tensors,
  TensorSpec,
  TrainableTensor,
  Weights,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseLayer:
  """A last FULLY_CONNECTED or 1x1 CONV_2D of int8 weights.

  Attributes:
    roles: of the tensors that train, "kernel" and "bias", in the mark's order.
    kernel: int8 [C, ...], as the file has it.
    bias: int32 or int64 [C], as the file has it.
    kernel_scales: one, or one a class.
    inputs: what the layer reads.
    outputs: the logits.
  """

  roles: tuple[str, ...]
  kernel: Array
  bias: Array
  kernel_scales: NDArray[np.float64]
  inputs: TensorSpec
  outputs: TensorSpec

  def logits(self, x: NDArray[np.float64], weights: Weights) -> Array:
    """The layer's outputs.

    Args:
      x: [N, D], inputs less their zero point, whole numbers.
      weights: one array a trainable tensor.

    Returns:
      int8 or int16 [N, C], within one step of an engine's.
    """
    held = {"kernel": self.kernel, "bias": self.bias}
    held |= dict(zip(self.roles, weights))
    kernel = held["kernel"].reshape(len(self.kernel), -1)
    # Exact: float64 holds sums of 8 or 16 by 8 bits whole.
    with one_thread():
      product = x @ kernel.T.astype(np.float64)
    sums = product.astype(np.int64)
    sums += held["bias"].reshape(-1).astype(np.int64)
    scaled = _requantized(sums, *self._multipliers)
    low, high = LIMITS[np.dtype(self.outputs.dtype)]
    scaled += self.outputs.zero_point
    return clipped(scaled, low, high).astype(self.outputs.dtype)

  @functools.cached_property
  def _multipliers(self) -> tuple[Int64, Int64]:
    """Factors in Q31 and the shifts to the right behind them."""
    real = self.inputs.scale * self.kernel_scales / self.outputs.scale
    return _multipliers_of(real)


def dense_layer(part: Part, tensors: Sequence[TrainableTensor]) -> DenseLayer:
  """Reads the head from a part of the graph that holds nothing else.

  Args:
    part: one linear layer on one vector; see `split_graph.is_head`.
    tensors: those of its constants that train, in the mark's order.

  Raises:
    NotApplicable: if it is another layer, or its weights are not int8.
  """
  graph = part.file.subgraph
  op = graph.operators[0]
  places = TRAINABLE_OPS.get(op.name)
  roles = tuple(t.role for t in tensors)
  behind = {other.name for other in graph.operators[1:]} - {*SHAPING}
  alone = not behind and not op.has_activation
  if (
    places is None
    or not alone
    or {*roles} - _ROLES
    or not reads_one_vector(graph, 0)
  ):
    raise NotApplicable(
      f"the head is {', '.join(part.file.operator_names)}; only one dense "
      "layer of int8 weights on one vector can be computed without an engine"
    )
  indices = [op.inputs[i] if i < len(op.inputs) else -1 for i in places]
  held = [i for i in indices[1:] if i >= 0]
  kernel, *bias = Patchable(part.file, held).read()
  return DenseLayer(
    roles=roles,
    kernel=kernel,
    bias=bias[0] if bias else np.zeros(len(kernel), np.int32),
    kernel_scales=np.array(graph.tensors[indices[1]].scales),
    inputs=tensor_spec(part.file, indices[0]),
    outputs=tensor_spec(part.file, op.outputs[0]),
  )


_ROLES = {"kernel", "bias"}


def _multipliers_of(real: NDArray[np.float64]) -> tuple[Int64, Int64]:
  """Real factors as TFLite has them: 0.5 to 1 in Q31, and a power of two."""
  share, exponent = np.frexp(real)
  factors = np.rint(share * (1 << 31)).astype(np.int64)
  full = factors == 1 << 31
  factors = np.where(full, factors >> 1, factors)
  return factors, -(exponent.astype(np.int64) + full)


def _requantized(sums: Int64, factors: Int64, shifts: Int64) -> Int64:
  """Sums times real factors, rounded once, half of a step up."""
  bits = shifts + 31
  return (sums * factors + (np.int64(1) << (bits - 1))) >> bits


@dataclasses.dataclass(kw_only=True)
class DensePasses:
  """The passes of one batch, computed and not run.

  Attributes:
    layer: the head.
    inputs: one array, what the head reads: integers [N, ...].
    labels: as the loss takes them.
    loss: on the logits.
  """

  layer: DenseLayer
  inputs: Tensors
  labels: Array
  loss: Loss

  @functools.cached_property
  def _x(self) -> NDArray[np.float64]:
    flat = self.inputs[0].reshape(len(self.inputs[0]), -1)
    return np.subtract(flat, self.layer.inputs.zero_point, dtype=np.float64)

  def logits(self, weights: Weights) -> Array:
    """Integer logits [N, C] at some weights."""
    return self.layer.logits(self._x, weights)

  def logits_at(self, weight_sets: Sequence[Weights]) -> list[Array]:
    """The same at each of the weights."""
    return [self.logits(weights) for weights in weight_sets]

  def losses(self, weight_sets: Sequence[Weights]) -> Int64:
    """The losses at each of the weights: int64 [P] in their units."""
    rows = [self.loss(z, self.labels) for z in self.logits_at(weight_sets)]
    return np.array(rows, np.int64)

  def activations(self, weights: Weights) -> list[Array]:
    """What flows into the head; nothing else flows."""
    del weights
    return list(self.inputs)
