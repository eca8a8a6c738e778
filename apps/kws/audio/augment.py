"""Make augmented copies of a clip: shifted, louder or softer, and noisy.

Everything drawn comes from (seed, clip, copy) alone, so a clip's copies do not
depend on which others are made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import TflmFgError

_QUIET = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
  """How far a copy may stray from its clip.

  Attributes:
    copies: copies of every clip, beside the clip itself.
    shift_ms: the most that a copy is moved, either way.
    gain_db: the most that it is made louder or softer.
    snr_db: range of the ratio of the clip to the noise mixed into it.
    seed: of all that is drawn.

  Raises:
    TflmFgError: if a number is out of its range.
  """

  copies: int = 0
  shift_ms: float = 60.0
  gain_db: float = 6.0
  snr_db: tuple[float, float] = (15.0, 40.0)
  seed: int = 0

  def __post_init__(self) -> None:
    for name, low, high in (
      ("copies", 0, 1000),
      ("shift_ms", 0, 500),
      ("gain_db", 0, 40),
    ):
      if not low <= getattr(self, name) <= high:
        raise TflmFgError(f"{name}={getattr(self, name)}: need {low} to {high}")
    low_db, high_db = self.snr_db
    if not -40 <= low_db <= high_db <= 120:
      raise TflmFgError(
        f"noise_snr_db={low_db:g},{high_db:g}: need two numbers from -40 to "
        "120, the smaller first"
      )

  def copy(
    self,
    clip: NDArray[np.int16],
    number: int,
    copy: int,
    noises: Sequence[NDArray[np.int16]] = (),
  ) -> NDArray[np.int16]:
    """Makes one copy.

    Args:
      clip: int16 [n] at 16 kHz.
      number: which clip it is.
      copy: which copy of it, from 0.
      noises: recordings to mix in; noise of our own where there are none.

    Returns:
      int16 [n].
    """
    rng = np.random.default_rng([self.seed, number, copy])
    most = round(self.shift_ms * 16)
    moved = _moved(clip, int(rng.integers(-most, most + 1)))
    samples = moved.astype(np.float64)
    samples *= 10 ** (rng.uniform(-self.gain_db, self.gain_db) / 20)
    noise = _noise(len(clip), noises, rng)
    ratio = 10 ** (rng.uniform(*self.snr_db) / 20)
    samples += noise * (_rms(samples) / (ratio * max(_rms(noise), _QUIET)))
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def _moved(clip: NDArray[np.int16], by: int) -> NDArray[np.int16]:
  """Moves a clip; what is uncovered repeats the edge, turned round."""
  if not by:
    return clip
  wide = np.pad(clip, abs(by), mode="reflect")
  start = abs(by) - by
  return wide[start : start + len(clip)]


def _noise(
  length: int, noises: Sequence[NDArray[np.int16]], rng: np.random.Generator
) -> NDArray[np.float64]:
  """A window of one of the recordings, or pink noise."""
  if noises:
    noise = noises[rng.integers(len(noises))].astype(np.float64)
    start = int(rng.integers(max(1, len(noise) - length + 1)))
    return np.resize(noise[start : start + length], length)
  spectrum = np.fft.rfft(rng.standard_normal(length))
  spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
  spectrum[0] = 0
  return np.asarray(np.fft.irfft(spectrum, length))


def _rms(samples: NDArray[np.float64]) -> float:
  return float(np.sqrt(np.mean(samples**2)))
