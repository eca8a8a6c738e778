"""Turn utterances into int16 PCM with espeak-ng, clip by clip.

espeak-ng keeps state from one call to the next (noise, flutter, the phase of
the voice), so a clip would depend on every clip before it, and it seeds its
noise from the clock. Each clip is therefore spoken by a fork of a fresh child
process and from a seed of its own: the same utterance is the same bytes in any
order, in any batch and in any run on the same machine. The child is
`espeak_child.py`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from tflm_fg.types import TflmFgError

SAMPLE_RATE_HZ = 22050

_LENGTH = struct.Struct("<I")
_LIMITS = {
  "rate_wpm": (80, 450),
  "pitch": (0, 99),
  "pitch_range": (0, 99),
  "volume": (0, 200),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
  """One text, and how it is spoken.

  Attributes:
    text: What is said.
    voice: An espeak-ng language and variant, such as "en-us+f3".
    rate_wpm: Words a minute, 80 to 450.
    pitch: Base pitch, 0 to 99; 50 is the voice's own.
    pitch_range: Intonation, 0 (monotone) to 99; 50 is the voice's own.
    volume: Amplitude, 0 to 200; 100 is normal.

  Raises:
    TflmFgError: A number is outside its limits.
  """

  text: str
  voice: str = "en-us"
  rate_wpm: int = 170
  pitch: int = 50
  pitch_range: int = 50
  volume: int = 100

  def __post_init__(self) -> None:
    for name, (low, high) in _LIMITS.items():
      value = getattr(self, name)
      if not low <= value <= high:
        raise TflmFgError(f"{name}: need {low} to {high}, got {value}")


def synthesize(utterances: Sequence[Utterance]) -> Iterator[bytes]:
  """Speaks the utterances in a child process, while the caller goes on.

  Args:
    utterances: What to say, in order.

  Yields:
    For each utterance its mono int16 PCM, little-endian, at SAMPLE_RATE_HZ.

  Raises:
    TflmFgError: espeakng-loader is missing, the system cannot fork, or
      espeak-ng refused an utterance.
  """
  _check_installed()
  with _start_child() as child:
    assert child.stdin and child.stdout and child.stderr
    try:
      _send_plan(child.stdin, utterances)
      for _ in utterances:
        yield _receive_clip(child.stdout, child.stderr)
    finally:
      child.kill()  # A caller that stops early must not leave it speaking.


def _check_installed() -> None:
  if importlib.util.find_spec("espeakng_loader") is None:
    raise TflmFgError("speech needs: pip install 'tflm-fg[kws]'")
  if not hasattr(os, "fork"):
    raise TflmFgError(
      f"speech: {sys.platform} has no fork, which keeps clips reproducible; "
      "use Linux, macOS or WSL"
    )


def _start_child() -> subprocess.Popen[bytes]:
  # The child sees the caller's import path, however that came about.
  path = os.pathsep.join(entry for entry in sys.path if entry)
  return subprocess.Popen(
    [sys.executable, "-m", "apps.kws.synthetic.espeak_child"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**os.environ, "PYTHONPATH": path},
  )


def _send_plan(stream: IO[bytes], utterances: Sequence[Utterance]) -> None:
  # Breath and roughness are random, and seeded by the clock if not here.
  plan = [
    {**dataclasses.asdict(u), "seed": zlib.crc32(repr(u).encode()) | 1}
    for u in utterances
  ]
  try:
    stream.write(json.dumps(plan).encode())
    stream.close()
  except BrokenPipeError:
    pass  # The child died early; reading its first clip tells why.


def _receive_clip(stream: IO[bytes], errors: IO[bytes]) -> bytes:
  head = stream.read(_LENGTH.size)
  if len(head) == _LENGTH.size:
    (length,) = _LENGTH.unpack(head)
    pcm = stream.read(length)
    if len(pcm) == length:
      return pcm
  lines = errors.read().decode(errors="replace").strip().splitlines()
  raise TflmFgError(f"speech: {lines[-1] if lines else 'espeak-ng died'}")
