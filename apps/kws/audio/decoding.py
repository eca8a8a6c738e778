"""Decode sound files: by libsndfile, and by FFmpeg what that does not know."""

from __future__ import annotations

import importlib
import io
import os
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg import files, limits
from tflm_fg.types import TflmFgError, one_line

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
"""What libsndfile reads."""

PHONE_SUFFIXES = (
  ".m4a",
  ".3gp",
  ".aac",
  ".amr",
  ".mp4",
  ".3ga",
  ".awb",
  ".caf",
  ".m4b",
  ".mov",
  ".wma",
  ".webm",
  ".mka",
)
"""What phones record beside, which FFmpeg reads through PyAV."""


class UnreadSound(TflmFgError):  # noqa: N818
  """A recording that cannot be read, where others of a folder can.

  Attributes:
    path: of the file.
    reason: why, in a few words.
    needs_extra: whether the extra `audio` would read it.
  """

  def __init__(
    self,
    path: str,
    fault: str,
    cure: str,
    *,
    reason: str = "",
    needs_extra: bool = False,
  ) -> None:
    super().__init__(f"{path}: {fault}; {cure}")
    self.path = path
    self.reason = reason or fault
    self.needs_extra = needs_extra


def decode(path: str) -> tuple[NDArray[np.float64], int]:
  """Reads a sound file.

  Returns:
    float64 [n], the mean of the channels with full scale at 1, and samples a
    second.

  Raises:
    UnreadSound: if it is damaged or no sound file, or needs PyAV.
    TflmFgError: if there is no such file, or no soundfile.
  """
  if path.lower().endswith(PHONE_SUFFIXES):
    av = _av()
    if av is None:
      raise UnreadSound(
        path,
        f"reading {os.path.splitext(path)[1]} needs: pip install "
        "'tflm-fg[audio]' (PyAV)",
        f"or convert it: {ffmpeg(path)}",
        needs_extra=True,
      )
    return _by_ffmpeg(av, path, files.read_bytes(path))
  reader = soundfile()
  content = files.read_bytes(path)  # names its fault
  try:
    said = reader.info(io.BytesIO(content))
    _require_room(path, said.frames, said.samplerate, said.channels)
    samples, rate = reader.read(
      io.BytesIO(content), dtype="float32", always_2d=True
    )
  except (reader.SoundFileError, RuntimeError, OSError, ValueError) as fault:
    av = _av()
    if av is not None and content:
      return _by_ffmpeg(av, path, content)  # a name may be wrong
    reason = one_line(fault, 120).split(": ")[-1]
    raise _no_sound(path, reason.rstrip(".")) from None
  return samples.mean(axis=1, dtype=np.float64), int(rate)


def ffmpeg(path: str) -> str:
  """The command that makes a WAV of a sound file."""
  return f"ffmpeg -i '{path}' '{os.path.splitext(path)[0]}.wav'"


def _by_ffmpeg(
  av: Any, path: str, content: bytes
) -> tuple[NDArray[np.float64], int]:
  """Decodes by FFmpeg, at the rate of the file."""
  av.logging.set_level(av.logging.PANIC)
  pieces, count = [], 0
  try:
    with av.open(io.BytesIO(content)) as container:
      stream = container.streams.audio[0]
      change = av.AudioResampler(format="dblp")
      for frame in container.decode(stream):
        # A mean of the channels, as libsndfile's: FFmpeg's own mix is louder.
        pieces += [p.to_ndarray().mean(axis=0) for p in change.resample(frame)]
        count += frame.samples
        _require_room(path, count, int(stream.rate))
      rate = int(stream.rate)
  except (MemoryError, TflmFgError):
    raise
  except IndexError:
    raise _no_sound(path, "it holds no sound") from None
  except Exception as fault:  # FFmpeg's errors have no common type
    raise _no_sound(path, _plain(fault)) from None
  samples = np.concatenate(pieces) if pieces else np.zeros(0)
  return samples.astype(np.float64), rate


_BYTES_A_SAMPLE = 40
"""Of a sound in float64, brought to another rate, and rounded."""


def _require_room(
  path: str, count: int, rate_hz: int, channels: int = 0
) -> None:
  """Refuses a recording that needs more memory than there is.

  Args:
    path: of the file.
    count: samples of a channel.
    rate_hz: samples a second.
    channels: that are held as float32 beside their mean.

  Raises:
    TflmFgError: in one line.
  """
  minutes = count / max(1, rate_hz) / 60
  limits.require(
    count * (_BYTES_A_SAMPLE + 4 * channels),
    f"{path}: {minutes:.0f} minutes of sound at {rate_hz} Hz",
    "cut it into shorter recordings",
  )


def _plain(fault: Exception) -> str:
  """FFmpeg's reason, without its number and the name of its stream."""
  text = re.sub(r"^\[Errno -?\d+\] ", "", one_line(fault, 120))
  return re.split(r"[:;]", text)[0].strip()


def _no_sound(path: str, reason: str) -> UnreadSound:
  return UnreadSound(
    path,
    f"not a sound file that can be read ({reason})",
    "record it again, as PCM WAV",
    reason=reason,
  )


def _av() -> Any:
  """PyAV; None where it is not installed."""
  try:
    av = importlib.import_module("av")
    importlib.import_module("av.logging")
    return av
  except (ImportError, OSError):
    return None


def soundfile() -> Any:
  """The package soundfile.

  Raises:
    TflmFgError: if it is not installed.
  """
  try:
    return importlib.import_module("soundfile")
  except (ImportError, OSError):
    raise TflmFgError(
      "sound files need: pip install 'tflm-fg[kws]' (soundfile)"
    ) from None
