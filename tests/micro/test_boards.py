"""What boards compute, under an emulator, is what Python computes."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.micro import write_vectors
from tflm_fg import micro, runtimes

ROOT = pathlib.Path(__file__).parents[2]
BOARDS = ("mps2-an385", "mps2-an386", "mps2-an500", "mps3-an547")
GCC, QEMU = "arm-none-eabi-gcc", "qemu-system-arm"
QUICK = ("spotter", "exact", "pulled", "signs", "prompt")
WHOLE = ("head's features", "head", "head's scores", "stage", "stage's scores")
TOOLS = {
  "host": ("gcc",),
  "budget": (GCC,),
  "whole": (GCC, QEMU),
  **dict.fromkeys(BOARDS, (GCC, QEMU)),
}

pytestmark = pytest.mark.xdist_group("boards")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
  if not runtimes.is_installed("tflm"):
    pytest.skip("tflite-micro is not installed: nothing to compare with")
  folder = tmp_path_factory.mktemp("vectors")
  return folder, write_vectors.main(folder)


def told(name, folder):
  """What test.sh prints of it; it must end well."""
  done = subprocess.run(
    ["bash", str(ROOT / "tflm_fg/micro/test.sh"), name],
    capture_output=True,
    text=True,
    check=False,
    env={
      **os.environ,
      "FG_VECTORS": str(folder),
      "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
    },
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def need(name):
  for tool in TOOLS[name]:
    if shutil.which(tool) is None:
      pytest.skip(f"{tool} is not on PATH")


def none_differ(lines, count):
  counted = [line for line in lines if line.endswith("differ")]
  assert len(counted) == count, lines
  assert all(": 0 of " in line for line in counted), lines


@pytest.mark.parametrize("name", ["host", *BOARDS])
def test_masters_of_boards_are_pythons_bit_for_bit(name, vectors):
  need(name)
  none_differ(told(name, vectors[0]).splitlines(), len(QUICK))


def test_the_trainer_stays_within_its_budget(vectors):
  need("budget")
  assert len(told("budget", vectors[0]).splitlines()) == len(BOARDS)


def test_a_spotter_learns_on_a_board_from_its_input_on(vectors):
  """Features, masters and scores are Python's, and so is the adapted file."""
  need("whole")
  folder, cases = vectors
  lines = told("whole", folder).splitlines()
  none_differ(lines, len(WHOLE))
  found = [re.findall(r"before (\d+), after (\d+) of", line) for line in lines]
  scores = [tuple(map(int, pairs[0])) for pairs in found if pairs]
  assert len(scores) == 2
  assert all(after > before for before, after in scores), scores
  for case in cases:
    saved = (folder / "whole" / f"{case.name}.saved").read_bytes()
    made = micro.read_saved(saved, case.blob, case.marked.file)
    assert made == case.adapted != case.marked.data


def test_a_difference_is_told_and_is_no_success(tmp_path):
  need("host")
  [*_, small] = write_vectors.cases()
  write_vectors.write(tmp_path / "vectors.h", [small])
  text = (tmp_path / "vectors.h").read_text()
  at = text.index("{", text.index("prompt_masters[")) + 1
  wrong = text[:at] + " 7 +" + text[at:]
  (tmp_path / "vectors.h").write_text(wrong)
  with pytest.raises(AssertionError, match="prompt: 1 of 3 masters differ"):
    told("host", tmp_path)
