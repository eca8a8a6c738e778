"""Compute the frames of TFLM's micro front end, and round them to int8.

The front end gives whole numbers of 1/25.6. Two programs round them to int8 in
ways that differ by one step in a tenth of the values: ESPHome's firmware, in
integers, and the package pymicro-wakeword, which divides by the scale of the
model's input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import TflmFgError

CHANNELS = 40
FRAME_SAMPLES = 160
"""Samples from one frame to the next: 10 ms at 16 kHz; a frame hears 30 ms."""

UNIT = 0.0390625
"""What one step of the front end's whole numbers is worth."""

_GAIN, _RANGE = 256, 666  # ESPHome: 256 / (25.6 * 26), rounded to the nearest


def raw(sound: NDArray[np.int16]) -> NDArray[np.int32]:
  """The front end's own numbers of a stream, from a front end without history.

  Args:
    sound: int16 [n] at 16 kHz.

  Returns:
    int32 [frames, 40], 0 to about 670; a frame every 10 ms, the first after
    30 ms.

  Raises:
    TflmFgError: if pymicro-features is missing.
  """
  return Stream().push(sound)


class Stream:
  """The front end of a stream that comes in pieces.

  Raises:
    TflmFgError: if pymicro-features is missing.
  """

  def __init__(self) -> None:
    try:
      import pymicro_features  # type: ignore[import-untyped]
    except ImportError:
      raise TflmFgError(
        "the audio frontend needs: pip install 'tflm-fg[kws]'"
      ) from None
    self._frontend = pymicro_features.MicroFrontend()
    self._rest = b""

  def push(self, sound: NDArray[np.int16]) -> NDArray[np.int32]:
    """Takes the next piece of sound.

    Args:
      sound: int16 [n] at 16 kHz.

    Returns:
      int32 [frames, 40]: the frames that it completes, as `raw` has them.
    """
    pcm, step = self._rest + sound.astype("<i2").tobytes(), 2 * FRAME_SAMPLES
    whole = len(pcm) - len(pcm) % step
    self._rest = pcm[whole:]
    outputs = (
      self._frontend.process_samples(pcm[start : start + step]).features
      for start in range(0, whole, step)
    )
    frames = np.array([f for f in outputs if f], np.float64)
    return np.rint(frames.reshape(-1, CHANNELS) / UNIT).astype(np.int32)


def esphome(numbers: NDArray[np.int32]) -> NDArray[np.int8]:
  """Rounds as ESPHome's micro_wake_word does, in whole numbers, and clips."""
  wide = (numbers * _GAIN + _RANGE // 2) // _RANGE - 128
  return np.clip(wide, -128, 127).astype(np.int8)


def raw_of_esphome(rounded: NDArray[np.int8]) -> NDArray[np.int32]:
  """The number in the middle of those that ESPHome rounds to the same int8."""
  wide = (rounded.astype(np.int32) + 128) * _RANGE
  return (wide + _GAIN // 2) // _GAIN


def wheel(
  numbers: NDArray[np.int32], scale: float, zero_point: int
) -> NDArray[np.int8]:
  """Rounds as the package pymicro-wakeword does.

  Args:
    numbers: int32, as `raw` gives them.
    scale: of the model's input, 0.10196 for microWakeWord's.
    zero_point: of the model's input, -128 for microWakeWord's.

  Returns:
    int8. What is above 127 wraps around to -128 and above, as in the package: a
    full-scale sound then looks like silence.
  """
  wide = np.rint(numbers * UNIT / float(np.float32(scale)) + zero_point)
  return wide.astype(np.int32).astype(np.int8)
