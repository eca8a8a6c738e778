"""tflm-fg-kws listen: words in a long recording, or from a microphone.

  tflm-fg-kws listen --model=adapted.tflite --wav=long.wav
  tflm-fg-kws listen --model=adapted.tflite --wav=long.wav --out=heard.csv
  tflm-fg-kws listen --model=adapted.tflite --device=0

Prints each word with its time and confidence. With --labels, or where a .csv
with the columns seconds and word lies beside the recording, it also counts
hits, misses and false accepts. A microphone is heard until Ctrl-C.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from absl import flags

from apps import cli, streams
from apps.kws.audio import live_input
from apps.kws.audio.files import SAMPLE_RATE_HZ, read
from apps.kws.features.registry import NAMES
from apps.kws.model import spotter, streaming
from apps.kws.synthetic import recordings
from tflm_fg import runtimes
from tflm_fg.files import require_outputs, write_set
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "an int8 or int16x8 .tflite; by default the one that ships"
)
_WAV = flags.DEFINE_string("wav", None, "a recording of any length")
_DEVICE = flags.DEFINE_integer(
  "device", None, "a microphone's number (-1: the system's own)"
)
cli.section(cli.OFTEN)
_SECONDS = flags.DEFINE_float(
  "seconds", None, "how long to hear a microphone; by default until Ctrl-C", 0.1
)
_LABELS = flags.DEFINE_string("labels", None, "a .csv with seconds and word")
_HOP = flags.DEFINE_integer("hop_ms", 100, "from one clip to the next")
_SMOOTH = flags.DEFINE_integer("smooth_ms", 300, "averaged over so long")
_THRESHOLD = flags.DEFINE_float("threshold", 0.7, "least mean probability")
_PAUSE = flags.DEFINE_integer("pause_ms", 800, "deaf for so long after a word")
_OUT = flags.DEFINE_string("out", None, "a .csv with what was heard")
_REPORT = flags.DEFINE_string("report", None, "JSON with the counts")
cli.section(cli.SOMETIMES)
_FRONTEND = flags.DEFINE_enum(
  "frontend", None, list(NAMES), "by default what the model says"
)
_CLASSES = flags.DEFINE_list(
  "classes", None, "names of the outputs; by default what the model says"
)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(runtimes.NAMES), "the engine to run"
)


def main() -> None:
  """Listens, prints, counts."""
  if (_WAV.value is None) == (_DEVICE.value is None):
    raise TflmFgError("give either --wav=LONG.wav or --device=N")
  require_outputs(cli.values(_OUT, _REPORT), cli.values(_MODEL, _WAV, _LABELS))
  hearing = streaming.Hearing(
    hop_ms=_HOP.value,
    smooth_ms=_SMOOTH.value,
    threshold=_THRESHOLD.value,
    pause_ms=_PAUSE.value,
  )
  model = spotter.load(_MODEL.value, _FRONTEND.value, _CLASSES.value)
  listener = model.open(_RUNTIME.value)
  contents = {}
  if _WAV.value is None:
    sound = live_input.microphone(_DEVICE.value, hearing.hop, _SECONDS.value)
    heard = list(print_hits(streaming.hear(listener, sound, hearing)))
  else:
    said = words_said(model)
    samples = read(_WAV.value)
    sound = streaming.pieces(samples)
    heard = list(print_hits(streaming.hear(listener, sound, hearing)))
    counted = compare(heard, said, model, len(samples))
    if counted and _REPORT.value:
      contents[_REPORT.value] = cli.to_json(counted.to_json())
  if _OUT.value:
    contents[_OUT.value] = to_csv(heard)
  write_set(contents)


def print_hits(hits: Iterable[streaming.Hit]) -> Iterator[streaming.Hit]:
  """Prints each word as it comes."""
  for hit in hits:
    minutes, seconds = divmod(hit.seconds, 60)
    print(
      f"{int(minutes):3d}:{seconds:05.2f}  {hit.word:12} {hit.confidence:.2f}",
      flush=True,
    )
    yield hit
    if streams.is_lost() and _WAV.value is None and not _OUT.value:
      return  # nobody hears of a word any more


def words_said(model: spotter.Spotter) -> list[recordings.Spoken] | None:
  """What was said in the recording; None where it is not known."""
  labels = _LABELS.value or os.path.splitext(_WAV.value)[0] + ".csv"
  if not _LABELS.value and not os.path.isfile(labels):
    return None
  said = recordings.read_csv(labels)
  others = sorted({s.word for s in said} - set(model.words))
  if others:
    print(
      f"note: {labels}: {model.name} does not spot "
      f"{', '.join(map(repr, others))}; hearing a word there is a false accept"
    )
  return said


def compare(
  heard: Sequence[streaming.Hit],
  said: Sequence[recordings.Spoken] | None,
  model: spotter.Spotter,
  samples: int,
) -> streaming.Count | None:
  """Counts hits and misses where it is known what was said."""
  if said is None:
    print(f"{len(heard)} words heard in {samples / SAMPLE_RATE_HZ:.0f} s")
    return None
  counted = streaming.count(heard, said, model.words, samples)
  print(counted)
  return counted


def to_csv(heard: Sequence[streaming.Hit]) -> bytes:
  """A table: seconds, word, confidence."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(streaming.Hit._fields)
  writer.writerows(heard)
  return text.getvalue().encode()


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
