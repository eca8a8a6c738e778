"""Make shifted samples of MLPerf Tiny's keyword spotter.

A shift is what a new microphone, room or speaker does to the ten MFCCs of 49
frames. All but A, B and C, which are on disk, are made of the unshifted
samples, here or by a seed, so that whoever has these samples has the same.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np
from numpy.typing import NDArray

SCALE, ZERO_POINT = 0.5847029, 83
"""Of the model's input."""

TRAIN = 300
"""Samples of a split to learn from; the others are for the test."""

Part = tuple[NDArray[np.int8], NDArray[np.int64]]
"""Samples [N, 49, 10, 1] on the model's input grid, and their classes [N]."""


@dataclasses.dataclass(frozen=True)
class Shift:
  """What happens to the samples, in this order.

  Attributes:
    stretch: how many times slower the speaker is.
    gain: factor of all MFCCs.
    offsets: what is added to each coefficient, [10], in the MFCCs' unit.
    noise: standard deviation of what is added to each number, in that unit.
    saved: end of a file's name, for samples that are on disk; else empty.
  """

  stretch: float = 1.0
  gain: float = 1.0
  offsets: tuple[float, ...] = ()
  noise: float = 0.0
  saved: str = ""


def _offsets(seed: int, deviation: float = 3.0) -> tuple[float, ...]:
  random = np.random.default_rng([7, seed])
  return tuple(random.normal(0, deviation, 10).tolist())


SHIFTS = {
  "A": Shift(saved="A"),
  "B": Shift(saved="B"),
  "C": Shift(saved="C"),
  "gain": Shift(gain=0.5),
  "slow": Shift(stretch=1.55),
  "none": Shift(),
}
"""The shifts that settings were looked at with."""

MORE_SHIFTS = {
  "offsets1": Shift(offsets=_offsets(1)),
  "offsets2": Shift(offsets=_offsets(2, 4.0)),
  "gain0.7": Shift(gain=0.7),
  "gain1.5": Shift(gain=1.5),
  "noise": Shift(noise=2.0),
  "fast": Shift(stretch=0.75),
  "mixed1": Shift(offsets=_offsets(3), gain=0.7),
  "mixed2": Shift(offsets=_offsets(4, 2.0), stretch=1.25, noise=1.0),
}
"""Others, to see whether what was chosen holds for them."""


def samples(folder: pathlib.Path, name: str, undo: bool = False) -> Part:
  """All samples under a shift.

  Args:
    folder: holds `clips.npz` and `clips_offset_A.npz`, `_B` and `_C`.
    name: of a shift.
    undo: whether to give those that come of undoing the shift again. Noise,
      what was clipped and what lies outside of the frames cannot be undone.
  """
  shift = (SHIFTS | MORE_SHIFTS)[name]
  x, y = _saved(folder, "")
  if shift.saved:
    plain, (x, _) = _real(x), _saved(folder, f"_offset_{shift.saved}")
    shift = Shift(offsets=_offsets_between(plain, _real(x)))
  else:
    x = _quantized(shifted(_real(x), shift))
  return (_quantized(undone(_real(x), shift)) if undo else x), y


def shifted(real: NDArray[np.float64], shift: Shift) -> NDArray[np.float64]:
  """MFCCs [N, T, 10, 1] under a shift; noise is the same in every run."""
  real = _stretched(real, shift.stretch) * shift.gain
  if shift.offsets:
    real = real + np.array(shift.offsets)[:, None]
  random = np.random.default_rng(11)
  return real + random.normal(0, 1, real.shape) * shift.noise


def undone(real: NDArray[np.float64], shift: Shift) -> NDArray[np.float64]:
  """MFCCs [N, T, 10, 1] with a shift taken back, but for its noise."""
  if shift.offsets:
    real = real - np.array(shift.offsets)[:, None]
  return _stretched(real / shift.gain, 1 / shift.stretch)


def split(part: Part, number: int) -> tuple[Part, Part]:
  """Samples to learn from and others to test with; 0 is the files' order."""
  x, y = part
  order = np.arange(len(x))
  if number:
    order = np.random.default_rng(number).permutation(len(x))
  train, test = order[:TRAIN], order[TRAIN:]
  return (x[train], y[train]), (x[test], y[test])


def few(part: Part, count: int, seed: int) -> Part:
  """As many samples of each class."""
  x, y = part
  random = np.random.default_rng(seed)
  chosen = [
    random.permutation(np.flatnonzero(y == label))[:count]
    for label in np.unique(y)
  ]
  return x[np.concatenate(chosen)], y[np.concatenate(chosen)]


def _stretched(real: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
  """The middle of each sample, read more slowly; the ends are held."""
  if factor == 1:
    return real
  frames = real.shape[1]
  middle = (frames - 1) / 2
  at = (np.arange(frames) - middle) / factor + middle
  at = np.clip(at, 0, frames - 1)
  before = np.clip(np.floor(at).astype(int), 0, frames - 2)
  share = (at - before)[None, :, None, None]
  return real[:, before] * (1 - share) + real[:, before + 1] * share


@functools.cache
def _saved(folder: pathlib.Path, end: str) -> Part:
  with np.load(folder / f"clips{end}.npz") as held:
    return held["x"], held["y"].astype(np.int64)


def _offsets_between(
  plain: NDArray[np.float64], real: NDArray[np.float64]
) -> tuple[float, ...]:
  """The offset of each coefficient, where nothing was clipped."""
  top, bottom = _real(np.array([127, -128], np.int8))
  inside = (real < top) & (real > bottom)
  sums = ((real - plain) * inside).sum(axis=(0, 1, 3))
  return tuple((sums / inside.sum(axis=(0, 1, 3))).tolist())


def _real(x: NDArray[np.int8]) -> NDArray[np.float64]:
  return (x.astype(float) - ZERO_POINT) * SCALE


def _quantized(real: NDArray[np.float64]) -> NDArray[np.int8]:
  steps = np.rint(real / SCALE + ZERO_POINT)
  return np.clip(steps, -128, 127).astype(np.int8)
