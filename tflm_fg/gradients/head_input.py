"""Say what the closed form must know of a head's input, and measure it."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tflm_fg.fixed_point.arithmetic import MASTER_UNIT, round_shift
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.spread import spread_of
from tflm_fg.losses.base import Loss
from tflm_fg.types import Array, Int64


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadInput:
  """What the closed form must know of the last layer and of its input.

  Attributes:
    input_scale: of the layer's input.
    input_zero_point: of the layer's input.
    centre: int64 [D], each input's mean over samples, in input steps; zeros
      where no bias trains that could take it up.
    spread_bits: int64 [D], log2 of each input's spread in input steps.
    mean_square: mean over samples of the centred input's squared length, each
      input divided by its spread, in Q16; under a quadratic loss only its
      largest share along one direction.
    loss: on the logits.
    logit_gain: what the gradient takes a logit times.
  """

  input_scale: float
  input_zero_point: int
  centre: Int64
  spread_bits: Int64
  mean_square: int
  loss: Loss
  logit_gain: float = 1.0

  @functools.cached_property
  def magnified(self) -> Loss:
    """The loss whose gradient is taken."""
    return self.loss.magnified(self.logit_gain)

  @property
  def reach(self) -> float:
    """Of 1.0 in a residual: a gain slopes the loss once, and bends it twice."""
    return self.loss.reach / self.logit_gain


def head_of(
  inputs: Array,
  scale: float,
  zero_point: int,
  loss: Loss,
  has_bias: bool,
  logit_gain: float = 1.0,
) -> HeadInput:
  """Measures the layer's input on some samples.

  Args:
    inputs: integers [N, ...], the layer's input.
    scale: its scale.
    zero_point: its zero point.
    loss: on the logits.
    has_bias: whether the layer's bias trains.
    logit_gain: what the gradient takes a logit times.
  """
  x = inputs.reshape(len(inputs), -1).astype(np.int32) - zero_point
  found = spread_of(x, has_bias, loss.is_quadratic)
  return HeadInput(
    input_scale=scale,
    input_zero_point=zero_point,
    centre=found.centre,
    spread_bits=found.bits,
    mean_square=found.mean_square,
    loss=loss,
    logit_gain=logit_gain,
  )


def carried_centre(head: HeadInput | None, layout: Layout) -> tuple[int, ...]:
  """The centre, so that a kernel's move times it is 256 times the bias's.

  That is as the head has it where a bias unit is input scale times kernel
  scale; empty without a head, or where no bias trains beside the kernel.
  """
  tensors = {t.role: t for t in layout.tensors}
  if head is None or set(tensors) != {"kernel", "bias"}:
    return ()
  kernel, bias = tensors["kernel"], tensors["bias"]
  if kernel.dtype == "int8":
    return tuple(int(c) for c in head.centre)
  unit = head.input_scale * kernel.scales[0] * MASTER_UNIT / bias.scales[0]
  units = head.centre * round(unit * (1 << _UNIT_BITS))
  return tuple(int(c) for c in round_shift(units, _UNIT_BITS))


_UNIT_BITS = 16
