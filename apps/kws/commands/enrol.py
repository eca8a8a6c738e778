"""tflm-fg-kws enrol: teach a keyword model new words, on the device.

  tflm-fg-kws enrol --data=mine --words=lamp,kitchen --out=mine.tflite
  tflm-fg-kws enrol --model=kws.tflite --data=mine --words=lamp
    --old_data=speech --out=mine.tflite --report_dir=report
  tflm-fg-kws enrol --model=kws.tflite --data=mine --words=lamp
    --out=mine.tflite --dry_run

A new word takes a free output of the model, or an output is added; until it is
taught, the model says of the old words what it said. Then the last layer learns
from mine/lamp/*.wav and mine/kitchen/*.wav with forward passes alone. --replay
(by default the file of the model's name that ends in .replay.npz) keeps it from
forgetting the old words; of a word that has no clips there it imagines some:
what the old head takes for it. Ctrl-C, or SIGTERM, keeps what is best by then;
twice, it ends at once.
"""

from __future__ import annotations

import dataclasses
import functools
import sys

import numpy as np
from absl import flags

from apps import cli, outputs
from apps.flags import sound_flags, target_flags
from apps.kws.audio import folders
from apps.kws.audio.augment import Augment
from apps.kws.features import examples
from apps.kws.features.registry import NAMES
from apps.kws.model import adaptation, enrolment, outcome, report_page, spotter
from apps.kws.model.replay_set import beside, find, packed
from tflm_fg import files, runtimes
from tflm_fg.callbacks import ProgbarLogger, StopOnInterrupt
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "an int8 or int16x8 .tflite; by default the one that ships"
)
_DATA = flags.DEFINE_string(
  "data", None, "a folder with WORD/*.wav of the new words", required=True
)
_WORDS = flags.DEFINE_list("words", None, "the new words", required=True)
_OUT = flags.DEFINE_string(
  "out", None, "the .tflite that knows them", required=True
)
cli.section(cli.OFTEN)
_TEST = flags.DEFINE_string("test_data", None, "a folder to score on")
_TEST_FRACTION = flags.DEFINE_float(
  "test_fraction",
  0.2,
  "share set apart to score on without --test_data",
  0,
  0.9,
)
_OLD = flags.DEFINE_string(
  "old_data", None, "a folder of the old words, to score on"
)
_REPLAY = flags.DEFINE_string(
  "replay", None, "an .npz of old clips, from features --max_kb; or none"
)
_REPLAY_KB = flags.DEFINE_integer(
  "replay_kb",
  96,
  "size of the replay set that is written beside --out, old clips and new; 0 "
  "writes none",
  0,
)
cli.section(cli.SOMETIMES)
_FRONTEND = flags.DEFINE_enum(
  "frontend", None, list(NAMES), "by default what the model says"
)
_CLASSES = flags.DEFINE_list(
  "classes", None, "names of the outputs; by default what the model says"
)
_COPIES = flags.DEFINE_integer(
  "copies",
  5,
  "augmented copies of every clip: moved, louder or softer, noisy",
  0,
)
cli.section(cli.OFTEN)
_REPORT_DIR = flags.DEFINE_string(
  "report_dir",
  None,
  "folder for index.html, a page that needs no other file, and report.json",
)
_DRY_RUN = flags.DEFINE_boolean(
  "dry_run", False, "say what would be trained and how long it takes"
)
cli.section(cli.SELDOM)
_STEPS = flags.DEFINE_integer(
  "steps", adaptation.REPLAY_STEPS, "steps, of one pass each", 1
)
_ANCHOR = flags.DEFINE_float(
  "anchor",
  0.0,
  "fraction of the distance back to the old weights that every step goes",
)
_SEED = flags.DEFINE_integer("seed", 0, "same seed, same bytes", 0)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(runtimes.NAMES), "the engine that runs the passes"
)


def main() -> None:
  """Makes room, reads, adapts, saves, reports."""
  aside = beside(_OUT.value)
  files.require_outputs(
    {**cli.values(_OUT), "out's replay set": aside}
    | report_page.paths(_REPORT_DIR),
    cli.values(_MODEL, _REPLAY),
    [_REPORT_DIR.value],
  )
  known = spotter.load(_MODEL.value, _FRONTEND.value, _CLASSES.value)
  room = enrolment.make_room(known, new_words())
  job = job_of(room.spotter, known)
  print(enrolment.describe(room))
  if _DRY_RUN.value:
    outcome.print_estimate(adaptation.estimate(job))
    return
  kept = replay_set(job)  # may not fit: before anything is written
  with StopOnInterrupt() as stop:
    result = adaptation.adapt(job, [ProgbarLogger("enrolling")], stop)
    with stop.deferred():
      told = report_page.contents(_REPORT_DIR.value, result)
    told |= {aside: kept} if kept else {}
    contents = {**told, _OUT.value: result.spotter.model}
    outputs.save(stop, contents, [_REPORT_DIR.value])
    with stop.deferred():
      if kept:
        print(f"{aside}: {len(kept)} bytes, for the next time")
      outcome.print_outcome(result)
      report_page.print_path(_REPORT_DIR.value)
    cli.end(stop, _OUT.value)


def new_words() -> list[str]:
  """The words of the flag, as folders are named."""
  return [folders.composed(word.strip()) for word in _WORDS.value]


def replay_set(job: adaptation.Job) -> bytes:
  """The clips that the new model must not forget, a file; empty for none."""
  if not _REPLAY_KB.value:
    return b""
  new = dataclasses.replace(job, train=job.train.take(job.train.copy == 0))
  return packed(job.spotter, job.replay, new.fresh(), _REPLAY_KB.value)


def job_of(model: spotter.Spotter, known: spotter.Spotter) -> adaptation.Job:
  """Reads the folders that the flags name."""
  augment = Augment(copies=_COPIES.value, seed=_SEED.value)
  seed, strict = _SEED.value, sound_flags.STRICT.value
  read = functools.partial(model.read_folder, seed=seed, strict=strict)
  train = read(_DATA.value, augment=augment)
  train = only(train, model, _DATA.value)
  test = None
  if _TEST.value:
    test = read(_TEST.value).told_apart(train, _TEST.value)
    test = only(test, model, _TEST.value)
  elif _TEST_FRACTION.value:
    train, test = train.parted(_TEST_FRACTION.value, seed)
  job = adaptation.Job(
    spotter=model,
    train=train,
    test=test,
    old=read(_OLD.value) if _OLD.value else None,
    replay=find(_REPLAY.value, known),
    method=enrolment.method(_STEPS.value, _ANCHOR.value, seed),
    runtime=_RUNTIME.value,
    target=target_flags.TARGET.value,
    came=known,
    layer="head",
  )
  return enrolment.anchored(job, new_words())


def only(
  found: examples.Examples, model: spotter.Spotter, root: str
) -> examples.Examples:
  """The clips of the new words.

  Raises:
    TflmFgError: naming a word without clips.
  """
  labels = [model.classes.index(word) for word in new_words()]
  missing = [w for w, i in zip(new_words(), labels) if i not in found.y]
  if missing:
    raise TflmFgError(
      f"{root}: holds no clips of {missing[0]!r}; need "
      f"{root}/{missing[0]}/*.wav"
    )
  return found.take(np.isin(found.y, labels))


def run() -> int:
  """The subcommand."""
  also = [sound_flags.__name__, target_flags.__name__]
  return cli.launch(main, __name__, also=also)


if __name__ == "__main__":
  sys.exit(run())
