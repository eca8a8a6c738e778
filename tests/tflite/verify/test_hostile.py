"""Damaged models end in a refusal or run: no traceback, no signal, no hang."""

import os
import subprocess
import sys

import pytest

from tests import hostile, zoo
from tflm_fg.runtimes import trial
from tflm_fg.tflite.model_file import ModelFile
from tools import fuzz_models
from tools.fuzzing import mutations, pipeline

ENGINE = ("litert",)


@pytest.mark.parametrize("what", list(hostile.KEPT))
def test_what_once_failed_ends_in_one_line_or_runs(what):
  ending = pipeline.tried(hostile.KEPT[what].data(), 0, ENGINE)
  assert ending.outcome != pipeline.FAILED, ending.words


def test_one_seed_gives_the_same_mutants():
  for number in (0, 77, 1234):
    data = mutations.drawn(5, number).data()
    mutations.drawn.cache_clear()
    assert mutations.drawn(5, number).data() == data
    assert data != mutations.drawn(6, number).data()


def test_a_small_search_finds_nothing(capsys, monkeypatch):
  """The large one is told of in docs/reliability.md."""
  command = ["fuzz_models.py", "--mutants=45", "--seed=3"]
  monkeypatch.setattr(sys, "argv", command)
  with pytest.raises(SystemExit) as end:
    fuzz_models.main()
  out = capsys.readouterr().out
  assert end.value.code in (0, False), out
  total = out.splitlines()[-1 if out.splitlines()[-1] else -2]
  assert total.startswith("| all | 45 |") and total.endswith("| 0 |")


def test_a_signal_in_the_parent_is_told_as_one(monkeypatch):
  """A worker that ends in a signal at a mutant, and the next one goes on."""
  own = subprocess.Popen
  code = (
    "import os, sys; first = int(sys.argv[1])\n"
    "for n in range(first, 3):\n"
    "  print(f'[{n}, \"bytes\"]', flush=True)\n"
    "  if n == 1: os.kill(os.getpid(), 11)\n"
    '  print(f\'[{n}, "bytes", "ran to the end", "", 0.0]\', flush=True)\n'
  )

  def popen(command, **given):
    return own([sys.executable, "-c", code, command[4]], **given)

  monkeypatch.setattr(fuzz_models.subprocess, "Popen", popen)
  given = fuzz_models.argparse.Namespace(
    seed=0, first=0, mutants=3, jobs=1, engines="litert", turns=1, rows=None
  )
  rows = fuzz_models.all_rows(given)
  assert [row[2] for row in rows] == [
    pipeline.RAN,
    pipeline.FAILED,
    pipeline.RAN,
  ]
  assert "SIGSEGV in the parent" in rows[1][3]
  assert "| bytes | 3 | 0 | 0 | 0 | 0 | 2 | 1 |" in fuzz_models.table(rows)


def test_an_exception_that_is_no_refusal_is_told_with_its_place(monkeypatch):
  def broken(*_):
    raise KeyError("a bug")

  monkeypatch.setattr(pipeline, "_tried", broken)
  ending = pipeline.tried(b"", 0, ENGINE)
  assert ending.outcome == pipeline.FAILED and "KeyError" in ending.words


def test_outputs_that_hang_on_fresh_memory_are_refused():
  """TFLM reads constants that lie behind the flatbuffer as it finds them."""
  if not trial.can_run("tflm") or not os.path.exists("/proc/self/statm"):
    pytest.skip("needs tflm and the GNU C library")
  file = ModelFile.open(zoo.BUILDERS["outside"](), "m")
  assert "memory that nothing has written" in trial.verdict(file, "tflm").fault
