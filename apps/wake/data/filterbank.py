"""Compute the log mel energies that MLPerf Tiny's wake word model is fed.

Windows of 64 ms every 32 ms, an emphasis of what is high, 40 triangles from 0
to 8 kHz, decibels brought to 0 to 1. The parameters are those of the benchmark
(mlcommons/tiny, streaming_wakeword).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.kws.features import mel

CHANNELS, WINDOW = 40, 30
"""Columns of a frame, and frames of an input."""

STEP_MS = 32

_PARAMETERS = mel.Parameters(
  window_ms=64,
  step_ms=STEP_MS,
  channels=CHANNELS,
  low_hz=0.0,
  high_hz=8000.0,
  coefficients=0,
)
_EMPHASIS = 1 - 2**-5
_FRAMES_AT_A_TIME = 2048  # an hour at once would take a gigabyte
_OFFSET_DB, _RANGE_DB, _FLOOR = 52.0, 64.0, 1e-30


def features(sound: NDArray[np.int16]) -> NDArray[np.float32]:
  """The frames of a stream.

  Args:
    sound: int16 [n] at 16 kHz; full scale counts as 1, as on the device.

  Returns:
    float32 [frames, 40], 0 to 1; none of a sound that is shorter than 64 ms.
  """
  width, hop = _PARAMETERS.window, _PARAMETERS.step
  samples = sound.astype(np.float64) / 32768
  if len(samples) < width:
    return np.zeros((0, CHANNELS), np.float32)
  samples[1:] -= _EMPHASIS * samples[:-1]
  seen = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop]
  pieces = [
    _scaled(seen[start : start + _FRAMES_AT_A_TIME])
    for start in range(0, len(seen), _FRAMES_AT_A_TIME)
  ]
  return np.concatenate(pieces)


def _scaled(seen: NDArray[np.float64]) -> NDArray[np.float32]:
  """Energies of windows float64 [frames, samples], 0 to 1."""
  width = seen.shape[1]
  spectrum = np.abs(np.fft.rfft(seen * np.hamming(width))) ** 2 / width
  energies = np.maximum(spectrum, _FLOOR) @ mel.filters(_PARAMETERS)
  decibels = 10 * np.log10(energies)
  return np.clip((decibels + _OFFSET_DB) / _RANGE_DB, 0, 1).astype(np.float32)


def rounded(
  frames: NDArray[np.float32], scale: float, zero_point: int
) -> NDArray[np.int8]:
  """Cuts fractions off towards 0, as the benchmark's C code does, and clips."""
  units = frames / np.float32(scale) + np.float32(zero_point)
  return np.clip(np.trunc(units), -128, 127).astype(np.int8)
