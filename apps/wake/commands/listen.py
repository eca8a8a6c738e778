"""tflm-fg-wake listen: detections in a recording, or from a microphone.

  tflm-fg-wake listen --model=mine.tflite --wav=evening.wav
  tflm-fg-wake listen --model=mine.tflite --wav=evening.wav --out=heard.csv
  tflm-fg-wake listen --model=mine.tflite --device=-1

Prints the time and the probability of each detection: the mean over the
sliding window. A microphone is heard until Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from absl import flags
from numpy.typing import NDArray

from apps import cli, streams
from apps.flags import wake_flags
from apps.kws.audio import files as audio
from apps.kws.audio import live_input
from apps.wake import detector, live, sounds
from apps.wake.page import clock
from tflm_fg import files
from tflm_fg.samples import counted
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_WAV = flags.DEFINE_string("wav", None, "a recording of any length")
_DEVICE = flags.DEFINE_integer(
  "device", None, "a microphone's number (-1: the system's own)"
)
cli.section(cli.OFTEN)
_SECONDS = flags.DEFINE_float(
  "seconds", None, "how long to hear a microphone; by default until Ctrl-C", 0.1
)
_OUT = flags.DEFINE_string("out", None, "a .csv with what was heard")


PIECE_SAMPLES = 1600
"""Of sound at a time: 0.1 s."""


def main() -> None:
  """Listens and prints."""
  if (_WAV.value is None) == (_DEVICE.value is None):
    raise TflmFgError("give either --wav=LONG.wav or --device=N")
  files.require_outputs(
    cli.values(_OUT), cli.values(wake_flags.MODEL, wake_flags.MANIFEST, _WAV)
  )
  found = detector.opened(**wake_flags.asked())
  if _WAV.value is None:
    sound = live_input.microphone(_DEVICE.value, PIECE_SAMPLES, _SECONDS.value)
    hits = list(print_hits(live.hear(found, sound)))
  else:
    sound = sounds.whole(_WAV.value)
    hits = list(
      print_hits(live.hear(found, pieces(sound.samples)), sound.lead_seconds)
    )
    print(
      f"{counted(len(hits), 'detection')} of {found.wake_word!r} in "
      f"{_seconds(sound):.1f} s, at a cutoff of "
      f"{found.rule.cutoff:g}"
    )
  if _OUT.value:
    files.write_atomically(_OUT.value, to_csv(hits))


def pieces(samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
  """A recording as a microphone would give it, so that hits print early."""
  for start in range(0, len(samples), PIECE_SAMPLES):
    yield samples[start : start + PIECE_SAMPLES]


def _seconds(sound: sounds.Sound) -> float:
  """How long a recording is, without the noise in front of it."""
  return len(sound.samples) / audio.SAMPLE_RATE_HZ - sound.lead_seconds


def print_hits(
  hits: Iterable[live.Hit], lead_seconds: float = 0.0
) -> Iterator[live.Hit]:
  """Prints each detection as it comes, by the time in the recording."""
  for one in hits:
    hit = one._replace(seconds=one.seconds - lead_seconds)
    print(f"{clock(hit.seconds):>9}  {hit.probability:.3f}", flush=True)
    yield hit
    if streams.is_lost() and _WAV.value is None and not _OUT.value:
      return  # nobody hears of a detection any more


def to_csv(hits: Iterable[live.Hit]) -> bytes:
  """A table: seconds, probability."""
  rows = [f"{hit.seconds:.2f},{hit.probability:.4f}" for hit in hits]
  return "\n".join([",".join(live.Hit._fields), *rows, ""]).encode()


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__, also=[wake_flags.__name__])


if __name__ == "__main__":
  sys.exit(run())
