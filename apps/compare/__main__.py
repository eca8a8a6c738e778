"""tflm-fg-compare: forward gradients against backpropagation, at equal passes.

  tflm-fg-compare --preset=smoke --out_dir=smoke
  tflm-fg-compare --preset=full --out_dir=full --workers=2
  tflm-fg-compare --preset=backprop --domains=child-20shot --out_dir=child
  tflm-fg-compare --preset=backprop --model=kws.tflite --domains=mine.npz
    --methods=zero-shot,backprop,auto --trainable=head,all --out_dir=mine
  tflm-fg-compare --preset=accuracy --domains=whisper,child --out_dir=voices
  tflm-fg-compare --preset=timing --model=kws.tflite --out_dir=timing
  tflm-fg-compare --preset=forward-only --domains=digits --out_dir=scratch

Runs a grid of method, precision, what trains, domain and seed. Every run may
take the same number of forward passes; backpropagation, in Keras and floats,
takes that many steps. Both choose their learning rates on a part of the
training samples. Writes into --out_dir: runs.csv with a row a run, tables.md
with means and 95 % intervals, and PNGs. A command that was stopped goes on
where it was when it is given again. A preset's surfaces, cosines and memory
table are made only where no flag changes its axes.

--preset=accuracy adapts as tflm-fg-adapt does, by its defaults and by single
methods, next to float backpropagation, and measures what that costs: passes,
seconds, bytes, what is forgotten of the source, and whether TFLM answers the
same. Its data sets may also be voices of the demo that speak new training and
test samples for every seed: whisper, child, hungarian, words (ten new words),
source (voices as in training). Half a minute a data set and seed; the methods
fit-head and fit-all, which need Keras, take minutes more and are left out by
default. --preset=timing times steps: against the engine alone, in place against
rebuilt, one worker against two. --preset=growth times steps of models made
here, over trainable weights, samples and layers. --preset=pictures compares
heads and the default with float logistic regression on pictures of the MNIST
family, plain, noisy and of low contrast, resized for the network that --model
names (tools/efficientnet_lite.py makes one); --ways=10 gives it a fresh head.
Rows of these four presets are in rows.csv and rows.png. --preset=forward-only
trains networks from scratch by PEPITA, Forward-Forward and TinyFoA, in floats,
beside backpropagation, then quantizes them and adapts them to shifts; its data
are digits and idx:FOLDER, its rows in scratch.csv.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from apps import cli
from apps.compare import forward_only, jobs, output_folder, workers
from apps.compare.cell_settings import require_known
from apps.compare.data import registry
from apps.compare.data.registry import UserData
from apps.compare.grid import (
  METHODS,
  PRECISIONS,
  TRAINABLE,
  VARIANTS,
  Cell,
  cells_of,
  chosen,
)
from apps.compare.presets import PRESETS, Preset
from apps.compare.results.analysis_rows import ADAPTATIONS
from apps.compare.results.rows import Measured
from tflm_fg import files, methods, plots
from tflm_fg.runtimes import NAMES
from tflm_fg.types import TflmFgError, one_line

cli.section(cli.NEEDED)
_PRESET = flags.DEFINE_enum(
  "preset",
  "smoke",
  list(PRESETS),
  "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items()),
)
_OUT_DIR = flags.DEFINE_string("out_dir", None, "folder for all results")
cli.section(cli.OFTEN)
_METHODS = flags.DEFINE_list(
  "methods",
  None,
  f"in place of the preset's: {', '.join(METHODS)}; of preset accuracy: "
  + "; ".join(f"{name}, {about}" for name, about in ADAPTATIONS.items())
  + "; of preset forward-only: "
  + "; ".join(f"{name}, {m.about}" for name, m in forward_only.METHODS.items()),
)
_VARIANTS = flags.DEFINE_list(
  "variants", None, f"in place of the preset's: {', '.join(VARIANTS)}"
)
_PRECISIONS = flags.DEFINE_list(
  "precisions", None, f"in place of the preset's: {', '.join(PRECISIONS)}"
)
_TRAINABLE = flags.DEFINE_list(
  "trainable", None, f"in place of the preset's: {', '.join(TRAINABLE)}"
)
_DOMAINS = flags.DEFINE_list(
  "domains",
  None,
  "in place of the preset's: episodes as child-20shot, words10-5shot or "
  "digits-blur-5-20shot, .npz files with x and y, or data sets as "
  "cifar10:/path, cifar10-c:/path:gaussian_noise:3, speech-commands:/path, "
  "esc50:/path, omniglot:/path, idx:/path:test:noise:3 (the MNIST family); of "
  "CIFAR, IDX files and Speech Commands their test parts, which the model may "
  "not know: cifar10:/path:all for everything",
)
_SEEDS = flags.DEFINE_list("seeds", None, "in place of the preset's")
_PASSES = flags.DEFINE_integer(
  "passes", None, "forward passes a run, in place of the preset's", 1
)
cli.section(cli.SOMETIMES)
_BATCH = flags.DEFINE_integer(
  "batch", None, "samples a pass, in place of the preset's", 1
)
_MODEL = flags.DEFINE_string(
  "model",
  None,
  "the .tflite that .npz files, data sets and the demo's voices are for; by "
  "default the demo's",
)
_TRAIN_SAMPLES = flags.DEFINE_integer(
  "train_samples", 300, "samples of an .npz to train on", 1
)
_TEST_SAMPLES = flags.DEFINE_integer(
  "test_samples", 200, "samples of an .npz or a data set to score on", 1
)
flags.DEFINE_alias("train_clips", "train_samples")
flags.DEFINE_alias("test_clips", "test_samples")
_SHOTS = flags.DEFINE_integer(
  "shots", 20, "samples a class to train on, of a data set or a demo's voice", 1
)
_PLAIN_METHOD = flags.DEFINE_enum(
  "plain_method",
  "sign-m-spsa",
  [m for m in methods.registered() if m not in ("auto", "statistics")],
  "of preset accuracy: what the methods plain and self-set are",
)
_PLAIN_STEPS = flags.DEFINE_integer(
  "plain_steps", None, "their steps; by default their method's own", 1
)
_EPOCHS = flags.DEFINE_integer(
  "epochs", 20, "of preset forward-only: how often each sample is seen", 1
)
_RUNTIME = flags.DEFINE_enum(
  "runtime",
  "litert",
  list(NAMES),
  "of preset accuracy: the engine that runs the passes",
)
_ROWS = flags.DEFINE_list(
  "rows",
  [],
  "rows.csv of earlier commands, to print and draw together; runs nothing",
)
_WAYS = flags.DEFINE_integer(
  "ways", 0, "classes of a data set, on a fresh head; 0 for all", 0
)
_PEAK = flags.DEFINE_float(
  "peak", 1.0, "brightest pixel of a data set, in the model's units"
)
_WORKERS = flags.DEFINE_integer(
  "workers",
  os.cpu_count() or 1,
  "processes side by side; changes no result",
  1,
)

flags.mark_flag_as_required("out_dir")


def main() -> None:
  """Runs what is not finished yet, then writes tables and pictures."""
  plots.require_matplotlib()
  if _ROWS.value:
    files.make_folder(_OUT_DIR.value)
    print(output_folder.joined(_ROWS.value, _OUT_DIR.value))
    return
  began = time.perf_counter()
  cells, analyses = planned(PRESETS[_PRESET.value])
  user_data = _user_data()
  domains = [
    job.domain for job in (*cells, *analyses) if hasattr(job, "domain")
  ]
  registry.require_known(list(dict.fromkeys(domains)), user_data)
  folder = output_folder.Folder(_OUT_DIR.value, cells, analyses, user_data)
  todo = jobs.longest_first(folder.unfinished())
  work = functools.partial(jobs.do, user_data=user_data)
  print(_plan(folder, todo), file=sys.stderr)
  refused: list[TflmFgError] = []
  for number, (job, found) in enumerate(
    workers.run_all(work, todo, _WORKERS.value), 1
  ):
    if isinstance(found, TflmFgError):
      refused.append(found)
    else:
      folder.take(job, found)
    minutes = (time.perf_counter() - began) / 60
    print(
      f"{number} of {len(todo)}, {minutes:.1f} min: {_summary(job, found)}",
      file=sys.stderr,
    )
  print(folder.finish(cli_line(), time.perf_counter() - began))
  if refused:
    raise TflmFgError(
      f"{len(refused)} of {folder.count} jobs could not be done and are in no "
      f"table; the first: {refused[0]}"
    )


def planned(preset: Preset) -> tuple[list[Cell], list[jobs.Analysis]]:
  """The preset's cells and analyses, with the user's axes in place of its own.

  Raises:
    TflmFgError: for a value that no axis has, or where nothing is left.
  """
  axes = _axes()
  if preset.adaptations is not None:
    return [], _adaptations(preset, axes)
  grids = [chosen(grid, axes) for grid in preset.grids]
  cells = cells_of(grids)
  require_known(cells)
  analyses = [] if axes else list(preset.analyses)
  if not cells and not analyses:
    raise TflmFgError(
      f"--preset={_PRESET.value}: nothing to run with these methods and axes"
    )
  return cells, analyses


def _adaptations(preset: Preset, axes: dict[str, Any]) -> list[jobs.Analysis]:
  """The jobs of a preset that has axes of its own.

  Raises:
    TflmFgError: for an axis that it does not have, or an unknown method.
  """
  own = preset.adaptations
  assert own is not None
  known = [field.name for field in dataclasses.fields(own)]
  for axis in axes:
    if axis not in known:
      raise TflmFgError(
        f"--{axis}: preset {_PRESET.value} has no such axis, only "
        f"{', '.join(known)}; leave it out"
      )
  given = {
    "plain_method": _PLAIN_METHOD.value,
    "plain_steps": _PLAIN_STEPS.value or 0,
    "runtime": _RUNTIME.value,
  }
  for flag in (_EPOCHS, _TRAIN_SAMPLES, _TEST_SAMPLES, _SHOTS):
    if flag.present:
      given[flag.name] = flag.value
  own = dataclasses.replace(own, **axes)
  return [*own.jobs({k: v for k, v in given.items() if k in own.options})]


def _axes() -> dict[str, Any]:
  """The axes that the user gave; with one, analyses are left out."""
  given: dict[str, Any] = {
    "methods": _METHODS.value,
    "variants": _VARIANTS.value,
    "precisions": _PRECISIONS.value,
    "trainable": _TRAINABLE.value,
    "domains": _DOMAINS.value,
  }
  for flag in (_METHODS, _VARIANTS, _PRECISIONS, _TRAINABLE, _DOMAINS, _SEEDS):
    if flag.present and not flag.value:
      raise TflmFgError(f"--{flag.name} is empty; name some, or leave it out")
  axes = {k: tuple(v) for k, v in given.items() if v}
  if _SEEDS.value:
    axes["seeds"] = tuple(map(_seed, _SEEDS.value))
  numbers = {"passes": _PASSES.value, "batch": _BATCH.value}
  return axes | {k: v for k, v in numbers.items() if v}


def _seed(text: str) -> int:
  if not text.isdecimal() or int(text) >= 1 << 64:
    raise TflmFgError(f"--seeds: {text!r} is no whole number from 0 to 2^64-1")
  return int(text)


def _user_data() -> UserData:
  cache = os.path.join(_OUT_DIR.value, "samples")
  files.make_folder(_OUT_DIR.value)
  files.make_folder(cache)
  return UserData(
    model=_MODEL.value or "",
    train_samples=_TRAIN_SAMPLES.value,
    test_samples=_TEST_SAMPLES.value,
    shots=_SHOTS.value,
    ways=_WAYS.value,
    peak=_PEAK.value,
    cache=cache,
  )


def _plan(folder: output_folder.Folder, todo: Sequence[Any]) -> str:
  finished = folder.count - len(todo)
  return f"{len(todo)} jobs to do, {finished} done before"


def _summary(job: jobs.Job, found: Measured | jobs.Files | TflmFgError) -> str:
  if isinstance(found, TflmFgError):
    own = one_line(found).removeprefix(f"{job.title}: ")
    return f"{job.title}: not done: {own}"
  if isinstance(found, Measured):
    return f"{job.title}: {100 * found.accuracy_after:.1f} %"
  return f"{job.title}: {', '.join(found)}"


def cli_line() -> str:
  """The command, as it can be given again."""
  return " ".join(["tflm-fg-compare", *sys.argv[1:]])


def run() -> int:
  """The console script."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
