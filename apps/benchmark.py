"""tflm-fg-benchmark: what forward passes reach, what they cost, how they grow.

  tflm-fg-benchmark --data=whisper,child --out=rows.csv --plot=bars.png
  tflm-fg-benchmark --model=kws.tflite --data=a.npz,b.npz --train_clips=300
  tflm-fg-benchmark --what=speed,growth

--what=accuracy adapts to every data set with every seed in several ways, next
to float backpropagation, and scores all on samples that none has seen. A data
set is an .npz with x and y, cut into training and test samples in its own order
for seed 0 and in a shuffled one for other seeds, or a voice of the demo, which
speaks anew for every seed: whisper, child, hungarian, words (ten new words),
source (voices as in training). Each adapted file also runs on TFLM, where
installed, next to LiteRT's reference kernels. Half a minute a data set and
seed; the methods fit-head and fit-all, which need Keras, take minutes more and
are left out by default.

--what=speed times steps: against the engine alone, in place against rebuilt,
one worker against two. --what=growth times steps of models made here, over
trainable weights, samples and layers. A minute each.
"""

from __future__ import annotations

import sys

from absl import flags
from tflm_fg.training.defaults import METHODS
from tflm_fg.training.settings import Settings

from apps import (
  benchmark_accuracy,
  benchmark_data,
  benchmark_plots,
  benchmark_tables,
  benchmark_timing,
  cli,
)
from apps.kws.model import shipped
from tflm_fg import files, plots
from tflm_fg.runtimes import NAMES
from tflm_fg.types import TflmFgError

_SECTIONS = ("accuracy", "speed", "growth")
_QUICK = [m for m in benchmark_accuracy.METHODS if not m.startswith("fit-")]

_PLAIN = {"sign-m-spsa": {"epsilon_lsb": 4.0, "learning_rate_lsb": 0.5}}
"""What 'plain' takes: better on the real spotter than what sets itself."""

_WHAT = flags.DEFINE_list(
  "what", list(_SECTIONS), f"any of {', '.join(_SECTIONS)}"
)
_MODEL = flags.DEFINE_string(
  "model", None, "an int8 or int16x8 .tflite; by default the demo's"
)
_DATA = flags.DEFINE_list(
  "data",
  list(shipped.TARGETS),
  "voices of the demo, or .npz files with x and y",
)
_METHODS = flags.DEFINE_list(
  "methods",
  _QUICK,
  "; ".join(f"{k}: {v}" for k, v in benchmark_accuracy.METHODS.items()),
)
_TRAIN_SAMPLES = flags.DEFINE_integer(
  "train_clips", 300, "samples of an .npz to train on"
)
_TEST_SAMPLES = flags.DEFINE_integer(
  "test_clips", 200, "samples of an .npz to score on, behind those"
)
_SAMPLES_PER_WORD = flags.DEFINE_integer(
  "clips_per_word", 20, "samples a word of a demo voice to train on"
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds to run")
_METHOD = flags.DEFINE_enum(
  "method",
  "sign-m-spsa",
  [m for m in METHODS if m != "auto"],
  "what the method 'plain' is",
)
_STEPS = flags.DEFINE_integer(
  "steps", None, "steps of 'plain'; by default its method's own"
)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(NAMES), "the engine that runs the passes"
)
_ROWS = flags.DEFINE_list(
  "rows", [], "CSVs of earlier runs to print and draw; runs nothing"
)
_OUT = flags.DEFINE_string("out", None, "CSV with a row a run")
_PLOT = flags.DEFINE_string("plot", None, "PNG of what was run")


def main() -> None:
  """Runs the sections, prints tables, writes a CSV and a PNG."""
  _check()
  rows = benchmark_tables.Rows(_OUT.value)
  for path in _ROWS.value:
    rows.read(path)
  if not _ROWS.value:
    run_sections(rows)
  print(benchmark_tables.markdown(rows))
  if _PLOT.value:
    files.write_atomically(_PLOT.value, benchmark_plots.draw(rows))


def _check() -> None:
  """Refuses bad flags before any work."""
  inputs = {f"data={name}": name for name in _DATA.value}
  inputs |= {f"rows={path}": path for path in _ROWS.value}
  files.require_outputs(
    cli.values(_OUT, _PLOT), {**cli.values(_MODEL), **inputs}
  )
  _require_known("what", _WHAT.value, _SECTIONS)
  _require_known("methods", _METHODS.value, tuple(benchmark_accuracy.METHODS))
  for seed in _SEEDS.value:
    if not seed.isdigit():
      raise TflmFgError(f"--seeds: {seed!r} is no whole number from 0")
  if _PLOT.value:
    plots.require_matplotlib()


def _require_known(flag: str, given: list[str], known: tuple[str, ...]) -> None:
  for value in given:
    if value not in known:
      raise TflmFgError(
        f"--{flag}: {value!r} is unknown; choose of {', '.join(known)}"
      )


def run_sections(rows: benchmark_tables.Rows) -> None:
  """Runs what was asked for; every row is written as soon as it is there."""
  model = shipped.shipped_model()
  if _MODEL.value:
    model = files.read_bytes(_MODEL.value)
  if "accuracy" in _WHAT.value:
    run_accuracy(model, rows)
  if "speed" in _WHAT.value:
    for timing in benchmark_timing.speed(model):
      rows.add(timing)
  if "growth" in _WHAT.value:
    for timing in benchmark_timing.growth():
      rows.add(timing)


def run_accuracy(model: bytes, rows: benchmark_tables.Rows) -> None:
  """Every seed, data set and method."""
  sizes = benchmark_data.Sizes(
    _TRAIN_SAMPLES.value, _TEST_SAMPLES.value, _SAMPLES_PER_WORD.value
  )
  for seed in map(int, _SEEDS.value):
    for name in _DATA.value:
      train, test = benchmark_data.split_of(name, seed, sizes)
      job = benchmark_accuracy.Job(
        model=model,
        data=benchmark_tables.title(name),
        seed=seed,
        train=train,
        test=test,
        source=benchmark_data.source_of(name, seed),
        runtime=_RUNTIME.value,
        plain=Settings(
          method=_METHOD.value,
          seed=seed,
          steps=_STEPS.value,
          **_PLAIN.get(_METHOD.value, {}),
        ),
      )
      for run in benchmark_accuracy.run_all(job, _METHODS.value):
        rows.add(run)


def run() -> int:
  """The console script."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
