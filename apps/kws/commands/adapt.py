"""tflm-fg-kws adapt: a keyword model meets a new speaker or microphone.

  tflm-fg-kws adapt --data=mine --out=adapted.tflite
  tflm-fg-kws adapt --model=kws.tflite --data=mine --test_data=others
    --out=adapted.tflite --report_dir=report
  tflm-fg-kws adapt --model=kws.tflite --data=mine --out=adapted.tflite
    --dry_run

The folder holds WORD/*.wav in any rate, width and count of channels; a long
file is cut into its words. Without --test_data a fifth of the clips is set
apart to score on. --replay keeps the model from forgetting: by default the file
of the model's name that ends in .replay.npz, where there is one. Ctrl-C, or
SIGTERM, keeps what is best by then; twice, it ends at once.
"""

from __future__ import annotations

import functools
import sys

from absl import flags

from apps import cli, outputs
from apps.flags import sound_flags, target_flags
from apps.kws.audio import folders
from apps.kws.audio.augment import Augment
from apps.kws.features.registry import NAMES
from apps.kws.model import adaptation, outcome, replay_set, report_page, spotter
from tflm_fg import files, methods, runtimes
from tflm_fg.callbacks import ProgbarLogger, StopOnInterrupt
from tflm_fg.placement import ABSENT_CLASSES
from tflm_fg.tflite import OPERATORS
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "an int8 or int16x8 .tflite; by default the one that ships"
)
_DATA = flags.DEFINE_string(
  "data", None, "a folder with WORD/*.wav to adapt to", required=True
)
_OUT = flags.DEFINE_string("out", None, "the adapted .tflite", required=True)
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
  "old_data",
  None,
  "a folder of what the model knew: scored before and after; what loses more "
  "than two points of it is trained more gently, or left as it was",
)
_REPLAY = flags.DEFINE_string(
  "replay", None, "an .npz of old clips, from features --max_kb; or none"
)
cli.section(cli.SOMETIMES)
_FRONTEND = flags.DEFINE_enum(
  "frontend", None, list(NAMES), "by default what the model says"
)
_CLASSES = flags.DEFINE_list(
  "classes", None, "names of the outputs; by default what the model says"
)
_SPLIT = flags.DEFINE_enum(
  "split", "all", list(folders.SPLITS), "which part of --data, by names"
)
_COPIES = flags.DEFINE_integer(
  "copies",
  2,
  "augmented copies of every clip: moved, louder or softer, noisy",
  0,
)
_SNR = flags.DEFINE_list(
  "noise_snr_db", ["15", "40"], "range of clip to noise in the copies"
)
_SHIFT = flags.DEFINE_float("shift_ms", 60.0, "the most a copy is moved")
_GAIN = flags.DEFINE_float("gain_db", 6.0, "the most a copy is amplified")
cli.section(cli.OFTEN)
_REPORT_DIR = flags.DEFINE_string(
  "report_dir",
  None,
  "folder for index.html, a page that needs no other file, and report.json",
)
_DRY_RUN = flags.DEFINE_boolean(
  "dry_run", False, "say what would be trained and how long it takes"
)
_ABSENT = flags.DEFINE_enum(
  "absent_classes",
  "keep",
  list(ABSENT_CLASSES),
  "keep what the model knows of words without clips; ignore: let it go",
)
cli.section(cli.SELDOM)
_TRAINABLE = flags.DEFINE_string(
  "trainable",
  None,
  "as for tflm-fg-adapt; by default wide-head, or head where --method is given "
  "or the model has no layers to join",
)
_METHOD = flags.DEFINE_enum(
  "method",
  None,
  list(methods.registered()),
  "as for tflm-fg-adapt; by default auto",
)
_STEPS = flags.DEFINE_integer("steps", None, "by default the method's own", 1)
_ANCHOR = flags.DEFINE_float(
  "anchor",
  None,
  "fraction of the distance back to the old weights that every step goes",
)
_SEED = flags.DEFINE_integer("seed", 0, "same seed, same bytes", 0)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(runtimes.NAMES), "the engine that runs the passes"
)
_OPERATORS = flags.DEFINE_enum(
  "operators",
  "any",
  list(OPERATORS),
  "which operators the file may come to need: any; or same, none that it does "
  "not need as it is",
)


def main() -> None:
  """Reads, adapts, saves, reports."""
  files.require_outputs(
    cli.values(_OUT) | report_page.paths(_REPORT_DIR),
    cli.values(_MODEL, _REPLAY),
    [_REPORT_DIR.value],
  )
  job = job_of(spotter.load(_MODEL.value, _FRONTEND.value, _CLASSES.value))
  outcome.print_gaps(job)
  if _DRY_RUN.value:
    outcome.print_estimate(adaptation.estimate(job))
    return
  with StopOnInterrupt() as stop:
    result = adaptation.adapt(job, [ProgbarLogger()], stop)
    with stop.deferred():
      told = report_page.contents(_REPORT_DIR.value, result)
    contents = {**told, _OUT.value: result.spotter.model}
    outputs.save(stop, contents, [_REPORT_DIR.value])
    with stop.deferred():
      outcome.print_outcome(result)
      report_page.print_path(_REPORT_DIR.value)
    cli.end(stop, _OUT.value)


def job_of(model: spotter.Spotter) -> adaptation.Job:
  """Reads the folders that the flags name."""
  augment = Augment(
    copies=_COPIES.value,
    shift_ms=_SHIFT.value,
    gain_db=_GAIN.value,
    snr_db=cli.two_numbers(_SNR),
    seed=_SEED.value,
  )
  seed, strict = _SEED.value, sound_flags.STRICT.value
  read = functools.partial(model.read_folder, seed=seed, strict=strict)
  train = read(_DATA.value, split=_SPLIT.value, augment=augment)
  test = None
  if _TEST.value:
    test = read(_TEST.value).told_apart(train, _TEST.value)
  elif _TEST_FRACTION.value:
    train, test = train.parted(_TEST_FRACTION.value, seed)
  kept = replay_set.find(_REPLAY.value, model)
  at_head = kept is not None and kept.layer == "head"
  if at_head and _TRAINABLE.value != "head":
    if _REPLAY.value:
      raise TflmFgError(
        f"--replay={_REPLAY.value}: clips at the input of the last layer; add "
        "--trainable=head, or make it again with --layer=input"
      )
    print("note: the replay set beside the model is for --trainable=head")
    kept, at_head = None, False
  steps = _STEPS.value
  if at_head and steps is None and _METHOD.value is None:
    steps = adaptation.REPLAY_STEPS
  return adaptation.Job(
    spotter=model,
    train=train,
    test=test,
    old=read(_OLD.value) if _OLD.value else None,
    replay=kept,
    method=adaptation.method_of(
      _METHOD.value, steps=steps, anchor=_ANCHOR.value, seed=seed
    ),
    trainable=_TRAINABLE.value,
    absent_classes=_ABSENT.value,
    runtime=_RUNTIME.value,
    target=target_flags.TARGET.value,
    operators=_OPERATORS.value,
    layer="head" if at_head else "input",
  )


def run() -> int:
  """The subcommand."""
  also = [sound_flags.__name__, target_flags.__name__]
  return cli.launch(main, __name__, also=also)


if __name__ == "__main__":
  sys.exit(run())
