"""Read a plan on stdin and write its clips, each by a fork, on stdout.

Run as a module by `speech.synthesize`. It imports the standard library and
espeak-ng alone: a small process starts in 50 ms and forks in one.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import struct
import sys
from typing import Any

# From espeak-ng's public header, speak_lib.h.
_SYNCHRONOUS = 2
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CHARS_UTF8 = 1
_CALLBACK = ctypes.CFUNCTYPE(
  ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)
_LENGTH = struct.Struct("<I")


class _Espeak:
  """The shared library, opened once, before any fork."""

  def __init__(self) -> None:
    import espeakng_loader  # type: ignore[import-untyped]

    data = espeakng_loader.get_data_path()
    self._variants = set(os.listdir(pathlib.Path(data) / "voices" / "!v"))
    self._library = ctypes.CDLL(espeakng_loader.get_library_path())
    if self._library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), 0) < 0:
      sys.exit(f"espeak-ng cannot read its data in {data}")
    # The first voice scans the data folder: 20 ms, paid here and not in forks.
    self._library.espeak_SetVoiceByName(b"en")

  def speak(self, utterance: dict[str, Any]) -> bytes:
    """Returns the utterance as mono int16 PCM."""
    self._set_voice(utterance["voice"])
    self._library.espeak_ng_SetRandSeed(ctypes.c_long(utterance["seed"]))
    for parameter, field in (
      (_RATE, "rate_wpm"),
      (_VOLUME, "volume"),
      (_PITCH, "pitch"),
      (_RANGE, "pitch_range"),
    ):
      self._library.espeak_SetParameter(parameter, utterance[field], 0)
    chunks: list[bytes] = []

    def collect(samples: int, count: int, _events: int) -> int:
      if samples and count > 0:
        chunks.append(ctypes.string_at(samples, 2 * count))
      return 0

    callback = _CALLBACK(collect)  # A name, or it dies before it is called.
    self._library.espeak_SetSynthCallback(callback)
    text = utterance["text"].encode() + b"\0"
    self._library.espeak_Synth(
      text, len(text), 0, 1, 0, _CHARS_UTF8, None, None
    )
    return b"".join(chunks)

  def _set_voice(self, voice: str) -> None:
    # espeak-ng itself silently ignores a variant that it does not know.
    _, _, variant = voice.partition("+")
    known = not variant or variant in self._variants
    if not known or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
      sys.exit(f"no espeak-ng voice {voice!r}; try 'en-us+f3'")


def _serve() -> None:
  """Speaks the plan on stdin, each clip from a fork that writes to stdout."""
  plan = json.load(sys.stdin)
  espeak = _Espeak()
  for utterance in plan:
    fork = os.fork()
    if fork == 0:
      pcm = espeak.speak(utterance)
      with os.fdopen(1, "wb") as out:
        out.write(_LENGTH.pack(len(pcm)) + pcm)
      os._exit(0)
    if os.waitpid(fork, 0)[1] != 0:
      os._exit(1)


if __name__ == "__main__":
  _serve()
