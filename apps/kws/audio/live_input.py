"""Read a microphone's sound, piece by piece."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import files
from tflm_fg.types import TflmFgError, one_line


def microphone(
  device: int, samples: int, seconds: float | None
) -> Iterator[NDArray[np.int16]]:
  """Hears a microphone until Ctrl-C, or for some seconds.

  Args:
    device: its number; below 0 for the system's own.
    samples: samples of a piece.
    seconds: how long; None until Ctrl-C.

  Yields:
    int16 [samples] at 16 kHz.

  Raises:
    TflmFgError: if sounddevice is missing, or there is no such microphone.
  """
  sounddevice = _sounddevice()
  pieces = None if seconds is None else -(-int(seconds * 16_000) // samples)
  try:
    with sounddevice.InputStream(
      samplerate=files.SAMPLE_RATE_HZ,
      channels=1,
      dtype="int16",
      device=None if device < 0 else device,
      blocksize=samples,
    ) as stream:
      while pieces is None or pieces > 0:
        held, overflowed = stream.read(samples)
        if overflowed:
          print("warning: some sound was lost", file=sys.stderr)
        yield held[:, 0].copy()
        pieces = None if pieces is None else pieces - 1
  except KeyboardInterrupt:
    return  # the way to end
  except (sounddevice.PortAudioError, ValueError) as fault:
    raise TflmFgError(
      f"--device={device}: {one_line(fault, 120)}; python -m sounddevice lists "
      "the microphones"
    ) from None


def _sounddevice() -> Any:
  try:
    return importlib.import_module("sounddevice")
  except (ImportError, OSError) as fault:
    raise TflmFgError(
      "a microphone needs: pip install 'tflm-fg[mic]', and the system's "
      f"PortAudio ({one_line(fault, 80)})"
    ) from None
