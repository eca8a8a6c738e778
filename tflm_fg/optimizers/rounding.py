"""Round updates in fractions of a unit to whole units.

Where steps fall under one unit, rounding to the nearest loses them. Rounding
stochastically moves by a unit as often as the fraction says; error feedback
keeps back what rounding took and adds it to the next update.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable

import numpy as np

from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.arithmetic import MASTER_BITS, round_shift
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.random_bits import Noise
from tflm_fg.fixed_point.state import EMPTY, OptimizerState
from tflm_fg.types import Int32, Int64, Params, TflmFgError, Vectors

FINE_BITS = 4
"""Of a unit, in a velocity and in a residue."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rounding:
  """How unrounded updates become whole.

  Attributes:
    layout: the trainable tensors.
    kind: one of `kinds.ROUNDINGS`.
    precision: "16w8a" keeps a kernel's low byte; "8w8a" moves kernels (and
      offsets and gains) by whole int8 steps alone, so that there is no master
      beyond the engine's own int8. Biases are whole numbers either way.
    seed: the run's, for dither.
  """

  layout: Layout
  kind: str = "nearest"
  precision: str = "16w8a"
  seed: int = 0

  def init(self, params: Params) -> Vectors:
    """The residue before the first step; empty where none is kept."""
    if self.kind != "error-feedback":
      return EMPTY
    return Vectors(*(np.zeros(len(p), np.int16) for p in params))

  def __call__(
    self, unrounded: Int64, bits: int, state: OptimizerState, step: int
  ) -> tuple[Vectors, OptimizerState]:
    """Rounds.

    Args:
      unrounded: int64 [K + B] in 2^-bits of a unit.
      bits: 4 to 16.
      state: holds the residue.
      step: the dither's address.

    Returns:
      Updates in units, int64, and the state with the new residue.
    """
    kernels = self.layout.num_kernels
    if self.is_plain:
      whole = round_shift(unrounded, bits)
      return Vectors(whole[:kernels], whole[kernels:]), state
    parts = (unrounded[:kernels], self._coarse), (unrounded[kernels:], 0)
    if self.kind == "nearest":
      return Vectors(*(round_shift(w, bits + c) << c for w, c in parts)), state
    if self.kind == "stochastic":  # all updates of a step share it
      noise = self._noise.at(step, random_bits.UPDATE_DITHER)
      dithers = noise[:kernels], noise[kernels:]
      return Vectors(
        *(_dithered(w, bits + c, d) << c for (w, c), d in zip(parts, dithers))
      ), state
    fed = [_fed_back(w, bits, c, r) for (w, c), r in zip(parts, state.residue)]
    updates, residues = zip(*fed)
    return Vectors(*updates), state._replace(residue=Vectors(*residues))

  @property
  def is_plain(self) -> bool:
    """Whether it rounds every update to the nearest whole unit."""
    return self.kind == "nearest" and not self._coarse

  @property
  def _coarse(self) -> int:
    """Bits of a kernel's update that must be zero."""
    return MASTER_BITS if self.precision == "8w8a" else 0

  @functools.cached_property
  def _noise(self) -> Noise:
    return Noise(self.layout.tensors, self.seed)


def perturbation_dither(layout: Layout, seed: int) -> Callable[[int], Int32]:
  """What all passes of a step round perturbed kernels with.

  Both passes of a pair must share it, or its noise would drown their
  difference; so all passes of a step do.

  Returns:
    Step -> int32 [K] in 0 to 255.
  """
  noise = Noise(layout.tensors, seed)

  def dither(step: int) -> Int32:
    drawn = noise.at(step, random_bits.PERTURBATION_DITHER)
    return (drawn[: layout.num_kernels] >> 8).astype(np.int32)

  return dither


def require_masters(precision: str, layout: Layout) -> None:
  """Refuses whole int8 steps where the engine holds 16 bits.

  Raises:
    TflmFgError: naming a tensor.
  """
  finer = [h.tensor.name for h in layout.slots if h.form in ("whole", "high")]
  if precision == "8w8a" and finer:
    raise TflmFgError(
      f"precision='8w8a': {finer[0]} has 16-bit weights, whose low byte would "
      "never move; use 16w8a, or int8 weights"
    )


def warn_if_rounded_away(
  name: str, steps: float | None, layout: Layout
) -> None:
  """Warns of a move under one int8 step where the engine holds no more."""
  if steps is None or steps >= 1:
    return
  if any(slot.form == "rounded" for slot in layout.slots):
    warnings.warn(
      f"{name}={steps}: int8 weights mostly round away what is under one step; "
      "use 1 or more, or rounding stochastic",
      stacklevel=1,  # one place, so said once however often it is asked
    )


def _dithered(unrounded: Int64, bits: int, noise: Int64) -> Int64:
  """Adds an even draw of 0 to below one, then rounds down."""
  return (unrounded + (noise << bits >> 16)) >> bits


def _fed_back(
  unrounded: Int64, bits: int, coarse: int, residue: Int64
) -> tuple[Int64, Int64]:
  """Rounds update and residue together, and keeps what is left over.

  Halves go up, so that what is kept back never moves a number by itself.
  """
  finer, places = bits - FINE_BITS, bits + coarse
  total = unrounded + (residue.astype(np.int64) << finer)
  whole = (total + (1 << (places - 1))) >> places
  left = (total - (whole << places)) >> finer
  return whole << coarse, left.astype(np.int16)
