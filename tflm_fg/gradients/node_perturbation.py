"""Turn two passes with shifted pre-activations into a weight gradient.

Node perturbation (activity perturbation) for FULLY_CONNECTED layers: every
layer's bias is moved along one random direction, the same for all samples of
the batch, and each sample's own loss difference times the layer's input gives
its share of the weight gradient. The directions are as many as outputs, not
weights; where a layer's input comes from is one more pass.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import round_divide, round_shift, saturate
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, Passes, TrainState
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.method import CHOSEN, Method, TrainedPart, register
from tflm_fg.losses.base import Loss
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.types import Array, Int64, TflmFgError, TrainableTensor, Vectors

_FACTOR_BITS = 16

_BIAS_SHARE = 1 / 11
"""Of the safe step: as if the bias were an input of 1/10 of all squares."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
  """A FULLY_CONNECTED layer whose bias trains, and its kernel if that does.

  Attributes:
    bias: its bias.
    kernel: its kernel; None where it is frozen.
    source: which of the passes' activations it reads.
    input_scale: of what it reads.
    input_zero_point: of what it reads.
  """

  bias: TrainableTensor
  kernel: TrainableTensor | None
  source: int
  input_scale: float
  input_zero_point: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeSlopes:
  """Slopes of the layers' inputs, one set a direction.

  They are scaled as the closed form's: a learning rate of 1 would be gradient
  descent's longest safe step if the layer were the head.

  Attributes:
    layout: all kernels and biases that train.
    directions: draws z for the biases.
    num_directions: m, pairs a step.
    epsilon_lsb: perturbation, in output steps of each layer.
    layers: where the tensors are; empty where slopes are only replayed.
    loss: on the logits.
  """

  layout: Layout
  directions: Directions
  num_directions: int
  epsilon_lsb: float
  layers: Sequence[Layer]
  loss: Loss | None

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs 2 m + 1 passes.

    Args:
      passes: of the step's batch; they give each layer's input.
      state: where the gradient is taken.

    Raises:
      TflmFgError: if it was made for replaying.
    """
    if self.loss is None:
      raise TflmFgError(REFUSAL)
    params = state.params
    drawn = self.directions.at(state.step, self.num_directions).biases
    drawn = drawn.astype(np.int64)
    inputs = passes.activations(self.layout.weights(params))
    candidates = [
      self.layout.weights(Vectors(params.kernels, params.biases + sign * delta))
      for delta in self._deltas(drawn)
      for sign in (1, -1)
    ]
    logits = passes.logits_at(candidates)
    own = np.array([self.loss.per_sample(z, passes.labels) for z in logits])
    differences = own[0::2] - own[1::2]
    slope = self.loss.residual_of_unit(logits[0].shape[1])
    slopes = [
      self._slopes(layer, inputs[layer.source], difference, slope)
      for difference in differences
      for layer in self.layers
    ]
    return Estimate(np.concatenate(slopes), own.sum(axis=1))

  def _deltas(self, drawn: Int64) -> Int64:
    """Perturbations of the biases, in bias units: int64 [m, B]."""
    epsilon = round(self.epsilon_lsb * 256)
    return round_shift(drawn * self.layout.step_units.biases * epsilon, 8)

  def _slopes(
    self, layer: Layer, inputs: Array, difference: Int64, slope: float
  ) -> Int64:
    """What an input's weights and the bias move by where z is 1, Q16."""
    x = inputs.reshape(len(inputs), -1).astype(np.int64)
    x = x - layer.input_zero_point
    step = layer.bias.step_sizes[layer.bias.trains][0]
    residual = slope / (2 * self.epsilon_lsb * step)  # a real unit's
    square = max(1, int((x**2).sum()) // len(x)) * layer.input_scale**2
    safe = 2 / (len(x) * (1 + _BIAS_SHARE))
    bias = _scaled(difference.sum(), residual * safe * _BIAS_SHARE / step)
    if layer.kernel is None:
      return bias
    real = residual * safe * layer.input_scale / square
    kernel = _scaled(difference @ x, real / _trained_scales(layer.kernel).min())
    return np.concatenate([kernel, bias])

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """Outer products of the directions with their slopes.

    Returns:
      int64 [K] and [B] in Q16, in steps of each tensor's grid.
    """
    widths = [_width(kernel) for kernel, _ in self._pairs()]
    m = len(estimate.slopes) // sum(widths)
    drawn = self.directions.at(state.step, m).biases.astype(np.int64)
    rows = estimate.slopes.reshape(m, -1)
    kernels, biases, first, at = [], [], 0, 0
    for (kernel, bias), width in zip(self._pairs(), widths):
      z = drawn[:, first : first + bias.size]
      slopes = rows[:, at : at + width]
      first, at = first + bias.size, at + width
      if kernel is not None:
        share = round_divide(z.T @ slopes[:, :-1], m)
        kernels.append(_by_channel(share, kernel).reshape(-1))
      biases.append(round_divide(z.T @ slopes[:, -1], m))
    return Vectors(
      np.concatenate([_NOTHING, *kernels]), np.concatenate([_NOTHING, *biases])
    )

  def _pairs(
    self,
  ) -> list[tuple[TrainableTensor | None, TrainableTensor]]:
    """Kernel (or None) and bias of each layer, in the layout's order."""
    kernels = {t.operator: t for t in self.layout.tensors if t.role == "kernel"}
    return [
      (kernels.get(t.operator), t)
      for t in self.layout.tensors
      if t.role == "bias"
    ]


_NOTHING = np.zeros(0, np.int64)


def _width(kernel: TrainableTensor | None) -> int:
  """Slopes of a layer: one an input, and one for the bias."""
  return 1 if kernel is None else kernel.shape[-1] + 1


def slopes_of(layout: Layout) -> int:
  """Slopes of all layers, for one direction."""
  biases = {t.operator for t in layout.tensors if t.role == "bias"}
  kernels = [t for t in layout.tensors if t.role == "kernel"]
  return len(biases) + sum(t.shape[-1] for t in kernels)


def _scaled(sums: Int64, real: float) -> Int64:
  """Sums times a real factor of 16 bits, in Q16, rounded and saturated."""
  bits = _FACTOR_BITS - math.ceil(math.log2(real * (1 << 16)))
  factor = round(real * 2.0 ** (16 + bits))
  product = np.atleast_1d(sums * factor)
  shifted = round_shift(product, bits) if bits > 0 else product << -bits
  return saturate(shifted, np.int32).astype(np.int64)


def _trained_scales(kernel: TrainableTensor) -> NDArray[np.float64]:
  return np.array(kernel.scales)[kernel.trains]


def _by_channel(share: Int64, kernel: TrainableTensor) -> Int64:
  """Steps of the finest channel as steps of each channel's own grid."""
  finest = _trained_scales(kernel).min()
  relative = np.where(kernel.trains, finest / np.array(kernel.scales), 0)
  factors = np.rint(relative * (1 << _FACTOR_BITS))
  return round_shift(
    share * factors.astype(np.int64).reshape(-1, 1), _FACTOR_BITS
  )


REFUSAL = (
  "method 'node' trains FULLY_CONNECTED layers with their biases alone; "
  "choose them with --trainable, or another --method"
)


def layers_of(part: TrainedPart) -> tuple[Layer, ...]:
  """The FULLY_CONNECTED layers that train.

  Raises:
    TflmFgError: if anything else trains, or a kernel without its bias.
  """
  tensors: dict[int, dict[str, TrainableTensor]] = {}
  for tensor in part.mark.trainable:
    tensors.setdefault(tensor.operator, {})[tensor.role] = tensor
  return tuple(_layer(part, *of_layer) for of_layer in tensors.items())


def _layer(
  part: TrainedPart, operator: int, tensors: dict[str, TrainableTensor]
) -> Layer:
  activation = part.marked.subgraph.operators[operator].inputs[0]
  spec = tensor_spec(part.marked, activation)
  bias = tensors.get("bias")
  if (
    bias is None
    or bias.op_name != "FULLY_CONNECTED"
    or int(np.prod(spec.shape[:-1])) != 1
  ):
    raise TflmFgError(REFUSAL)
  return Layer(
    bias=bias,
    kernel=tensors.get("kernel"),
    source=list(part.shown).index(activation),
    input_scale=spec.scale,
    input_zero_point=spec.zero_point,
  )


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NodePerturbation(Method):
  """Pre-activations are perturbed, not weights: fewer directions.

  Attributes:
    num_directions: m, pairs of passes a step.
    epsilon_lsb: the perturbation, in output steps of each layer.
  """

  num_directions: int = CHOSEN
  epsilon_lsb: float = CHOSEN

  name: ClassVar[str] = "node"
  defaults: ClassVar[Mapping[str, Any]] = {
    "learning_rate_lsb": 0.5,
    "momentum": 0.9,
    "steps": 1500,
    "batch_size": 256,
    "validate_every": 50,
    "num_directions": 1,
    "epsilon_lsb": 2.0,
  }

  def passes_at_once(self) -> int:
    """Passes of a step that do not wait for each other."""
    return 2 * self.num_directions

  def slopes_a_step(self, layout: Layout, step: int) -> range:
    """One slope an input of each layer and one its bias, for a direction."""
    del step
    biases = {t.operator for t in layout.tensors if t.role == "bias"}
    if biases != {t.operator for t in layout.tensors}:
      return range(0)
    width = slopes_of(layout)
    return range(width, 1024 * width + 1, width)

  def taps(self, graph: Subgraph, operators: Sequence[int]) -> list[int]:
    """Each layer's input."""
    return [graph.operators[number].inputs[0] for number in operators]

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> NodeSlopes:
    """Slopes of the layers of a part.

    Raises:
      TflmFgError: if anything but FULLY_CONNECTED layers with biases trains.
    """
    del batch_size
    return NodeSlopes(
      layout=layout,
      directions=Directions(layout, self.seed, "rademacher"),
      num_directions=self.num_directions,
      epsilon_lsb=self.epsilon_lsb,
      layers=() if part is None else layers_of(part),
      loss=None if part is None else part.loss,
    )
