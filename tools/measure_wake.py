"""Adapt wake word models to voices that they miss, and print a table.

  python tools/measure_wake.py run --cache=FOLDER [--models=FOLDER] [--only=...]
  python tools/measure_wake.py table --cache=FOLDER
  python tools/measure_wake.py engines --cache=FOLDER
  python tools/measure_wake.py check

`run` adapts each of the four models of the package pymicro-wakeword to ten
voices that it misses, three times to other recordings, and writes each result
to `results.jsonl` in the cache's folder as a line of JSON. What is there is not
run again, so that a measurement may be stopped and go on. `table` prints what
is there; `engines` compares adapted files over LiteRT, TFLM and
pymicro-wakeword's own library, bit by bit; `check` holds voices and sentences
against those of the stock. All speech is made by espeak-ng; recordings and head
inputs are kept in the cache.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tools.wake import check, engines, learning, results, runs, settings

MODELS = ("okay_nabu", "hey_jarvis", "alexa", "hey_mycroft")


def main() -> None:
  """Runs one of the commands."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("command", choices=("run", "table", "engines", "check"))
  parser.add_argument("--cache", type=pathlib.Path)
  parser.add_argument("--models", type=pathlib.Path, default=_packaged())
  parser.add_argument("--only", default=",".join(MODELS))
  parser.add_argument("--counts", default="10")
  parser.add_argument("--draws", type=int, default=3)
  parser.add_argument("--settings", type=int, default=10)
  given = parser.parse_args()
  if given.command == "check":
    print(check.report())
    return
  if not given.cache:
    parser.error("--cache: name a folder for recordings and results")
  path = given.cache / "results.jsonl"
  if given.command == "run":
    run(given, path)
  if given.command == "engines":
    print(engines.table(given))
  else:
    print(results.table(list(results.read(path).values())))


def run(given: argparse.Namespace, path: pathlib.Path) -> None:
  """Runs what is not in the file yet; a line a run."""
  held = results.read(path)
  for stem in given.only.split(","):
    bench = functools.cache(
      lambda stem=stem: runs.Bench(stem, given.models, given.cache)
    )
    for job in _jobs(given, stem):
      if job.name in held:
        continue
      found = runs.measured(bench(), job, learning.learn)
      path.parent.mkdir(parents=True, exist_ok=True)
      with path.open("a") as file:
        file.write(json.dumps(found) + "\n")
      print(results.line(found), file=sys.stderr, flush=True)


def _jobs(given: argparse.Namespace, stem: str) -> list[runs.Job]:
  """Draw after draw, so that a measurement that is stopped has all voices."""
  return [
    runs.Job(setting=setting, count=int(count), draw=draw)
    for count in given.counts.split(",")
    for draw in range(given.draws)
    for setting in settings.settings(stem)[: given.settings]
  ]


def _packaged() -> pathlib.Path:
  found = importlib.util.find_spec("pymicro_wakeword")
  if found is None or found.origin is None:
    sys.exit("measure_wake: needs: pip install 'tflm-fg[wake]'")
  return pathlib.Path(found.origin).parent / "models"


if __name__ == "__main__":
  main()
