"""Let files that train themselves learn in every runtime, and print a table.

  python tools/measure_signatures.py FOLDER --work=WORK [--splits=3]
    [--shifts=A,B,C,gain,slow,none] [--runtimes=all] [--adapt]
    [--tflite_runtime=PYTHON] [--cache=FILE]

FOLDER is that of `measure_shifts.py`: MLPerf Tiny's spotter and its samples. A
split takes 300 samples to learn from, and 200 others for the test.

Two files are exported: with a head alone, and with a head and `adapt_input`.
The sample programs in C, Java, Python and for Node then make the same calls
(apps/samples/README.md). For Node, WORK/node needs `npm install` of the web
sample's package.json. --tflite_runtime names a Python with tflite-runtime 2.14.
With --adapt `tflm_fg.adapt` trains the same places, for comparison. A line of
the cache is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tflm_fg
from converters.to_signatures import chosen, to_signatures
from tflm_fg.methods import Auto
from tools import shift_samples, signature_runs
from tools.signature_runs import Ran

FORMS = {"head": "head", "prompt and head": "auto"}
"""Name in the table -> --trainable."""

ADAPTED = {
  "head": ("head", None),
  "prompt and head": (
    "prompt,head",
    tflm_fg.GraphOptions(gain=True, common_gain=True),
  ),
}
"""The same places for `tflm_fg.adapt`."""


def main() -> None:
  """Exports, runs and prints."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("folder", type=pathlib.Path)
  parser.add_argument("--work", type=pathlib.Path, required=True)
  parser.add_argument("--shifts", default=",".join(shift_samples.SHIFTS))
  parser.add_argument("--runtimes", default="all")
  parser.add_argument("--splits", type=int, default=3)
  parser.add_argument("--tflite_runtime", default="")
  parser.add_argument("--adapt", action="store_true")
  parser.add_argument("--cache", type=pathlib.Path)
  given = parser.parse_args()
  given.work.mkdir(parents=True, exist_ok=True)
  models = {form: _exported(given, form) for form in FORMS}
  found = signature_runs.programs(given.work, given.tflite_runtime)
  if given.runtimes != "all":
    wanted = given.runtimes.split(",")
    found = {n: p for n, p in found.items() if any(w in n for w in wanted)}
  held = _held(given.cache)
  runs: dict[tuple[str, ...], list[Ran]] = {}
  for shift, split in itertools.product(
    given.shifts.split(","), range(given.splits)
  ):
    everything = shift_samples.samples(given.folder, shift)
    train, test = shift_samples.split(everything, split)
    data = given.work / f"{shift}{split}"
    signature_runs.write_data(data, train, test)
    for form, name in itertools.product(FORMS, found):
      key = shift, str(split), form, name
      if key not in held:
        program = found[name]
        model = models[form][program.floats]
        held[key] = signature_runs.run(program, model, data, given.work)
        _keep(given.cache, key, held[key])
      runs.setdefault((shift, form, name), []).append(held[key])
    for form in FORMS if given.adapt else ():
      key = shift, str(split), form, "tflm_fg.adapt"
      if key not in held:
        held[key] = _adapted(given, form, train, test)
        _keep(given.cache, key, held[key])
      runs.setdefault((shift, form, key[-1]), []).append(held[key])
  _print(runs)


def _exported(given: argparse.Namespace, form: str) -> dict[bool, pathlib.Path]:
  """The file with the model's own ends, and with float32: False and True."""
  model = given.folder / "kws_ref_model.tflite"
  marked, paths = chosen(str(model), FORMS[form]), {}
  for floats in (False, True):
    data = to_signatures(marked, float_ends=floats).data
    name = f"{FORMS[form]}{'_float32' * floats}.tflite"
    paths[floats] = given.work / name
    paths[floats].write_bytes(data)
    more = len(data) - model.stat().st_size
    print(f"{name}: {len(data):,} bytes, {more:,} more", file=sys.stderr)
  return paths


def _adapted(
  given: argparse.Namespace,
  form: str,
  train: shift_samples.Part,
  test: shift_samples.Part,
) -> Ran:
  """`tflm_fg.adapt` in the same place, with its defaults."""
  trainable, options = ADAPTED[form]
  model = str(given.folder / "kws_ref_model.tflite")
  report = tflm_fg.adapt(
    model,
    *train,
    test=test,
    trainable=trainable,
    method=Auto(seed=0),
    graph_options=options,
  ).report
  scores = report.accuracy_before, report.accuracy_after
  return Ran(*scores, "", 0, 0, 0, 0, 0)  # type: ignore[arg-type]


def _held(cache: pathlib.Path | None) -> dict[tuple[str, ...], Ran]:
  if cache is None or not cache.exists():
    return {}
  lines = map(json.loads, cache.read_text().splitlines())
  return {tuple(key): Ran(*values) for key, values in lines}


def _keep(cache: pathlib.Path | None, key: tuple[str, ...], found: Ran) -> None:
  if cache is not None:
    with cache.open("a") as file:
      file.write(json.dumps([key, list(vars(found).values())]) + "\n")


def _print(runs: dict[tuple[str, ...], list[Ran]]) -> None:
  """A row for each shift, form and runtime, means over the splits."""
  print(
    "| shift | file | runtime | before | after | spread | worst gain | "
    "same bytes | infer | adapt_input | remember | train | peak |"
  )
  print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
  for (shift, form, name), found in runs.items():
    first = next(r for (s, f, _), r in runs.items() if (s, f) == (shift, form))
    same = [a.weights == b.weights for a, b in zip(found, first)]
    after = [ran.after for ran in found]
    times = [
      statistics.mean(getattr(ran, field) for ran in found)
      for field in ("infer_ms", "adapt_ms", "remember_ms", "train_ms")
    ]
    print(
      f"| {shift} | {form} | {name} "
      f"| {statistics.mean(ran.before for ran in found):.3f} "
      f"| {statistics.mean(after):.3f} | {statistics.pstdev(after):.3f} "
      f"| {min(ran.after - ran.before for ran in found):+.3f} "
      f"| {sum(same)} of {len(same)} | "
      + " | ".join(f"{ms:,.2f} ms" for ms in times)
      + f" | {max(ran.peak_mb for ran in found):.0f} MB |",
      flush=True,
    )


if __name__ == "__main__":
  main()
