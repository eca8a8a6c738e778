"""How a model's graph may change for what shall train."""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import TflmFgError


class Pooled(NamedTuple):
  """What a layer's pooled activations are like on some samples.

  Attributes:
    reach: the largest, as a share of what the layer's output can hold.
    centre: int64 [C], means in steps from zero at that reach; empty if unknown.
    spread: float64 [C], standard deviations in the same steps.
  """

  reach: float = 0.25
  centre: NDArray[np.int64] = np.zeros(0, np.int64)
  spread: NDArray[np.float64] = np.zeros(0)


UINT8 = ("rewrite", "keep")
"""What can become of a legacy uint8 model's layers."""

POOLED_HEAD = ("rewrite", "keep")
"""What can become of a head over positions that is pooled behind it."""

OPERATORS = ("any", "same")
"""Which operators a file may come to need."""

MOST_ROOM = 4
"""Bits of room: an int8 weight of 127 keeps 3 bits and its sign at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphOptions:
  """How the graph may change for what shall train.

  Attributes:
    gain: the prompt multiplies by a gain before it adds its offset.
    common_gain: that gain is one number for all channels.
    layers: a regular expression on output tensors' names, the layers that a
      wide head joins; where it is empty all, or the first that bring 6,144
      channels.
    pooled: what was measured of those layers; empty for nothing.
    weights: what the kernels that shall train are in the engine, as far as
      they are dense or pointwise: "int8", "int16", or "int8x2".
    uint8: what becomes of the layers of a legacy uint8 model: "rewrite" to
      int8, so that all can train; or "keep", so that biases and an input prompt
      can.
    head_room: bits, 0 to 4: the scale of the head's kernel becomes 2**bits as
      large, so that its weights can grow by as much; None chooses them where
      the weights of a head end at -127 or 127, and 0 never changes the scale.
    pooled_head: what becomes of a head that is a 1x1 convolution over
      positions with a mean behind it: "rewrite" puts the mean in front of it,
      so that the head reads one vector; "keep" leaves the order. A choice of
      layers without the head always keeps it.
    operators: "any"; or "same", so that the file comes to need no operator, or
      version of one, that it does not need as it is: for firmware that knows
      a fixed set of operators. What would need others is refused, or dropped
      where candidates are compared. It changes nothing that is allowed.
  """

  gain: bool = False
  common_gain: bool = False
  layers: str = ""
  pooled: tuple[Pooled, ...] = ()
  weights: str = "int8"
  uint8: str = "rewrite"
  head_room: int | None = None
  pooled_head: str = "rewrite"
  operators: str = "any"

  def __post_init__(self) -> None:
    if self.uint8 not in UINT8:
      raise TflmFgError(
        f"--uint8={self.uint8!r} is unknown; choose one of {', '.join(UINT8)}"
      )
    if self.pooled_head not in POOLED_HEAD:
      raise TflmFgError(
        f"pooled_head={self.pooled_head!r} is unknown; choose one of "
        f"{', '.join(POOLED_HEAD)}"
      )
    if self.operators not in OPERATORS:
      raise TflmFgError(
        f"--operators={self.operators!r} is unknown; choose one of "
        f"{', '.join(OPERATORS)}"
      )
    if self.common_gain and not self.gain:
      raise TflmFgError("--common_gain: needs --prompt_gain too (gain=True)")
    room = self.head_room
    whole = isinstance(room, int) and not isinstance(room, bool)
    if room is not None and not (whole and 0 <= room <= MOST_ROOM):
      raise TflmFgError(
        f"--head_room={room!r}: need a whole number of bits, 0 to {MOST_ROOM}"
      )
    try:
      re.compile(self.layers)
    except re.error as fault:
      raise TflmFgError(
        f"--wide_layers={self.layers!r} is not a regular expression: {fault}"
      ) from None


def bits_of_room(graph_options: GraphOptions) -> str:
  """How much room a head's kernel gets, for people."""
  bits = graph_options.head_room
  return f"{bits} bit{'' if bits == 1 else 's'} of room"
