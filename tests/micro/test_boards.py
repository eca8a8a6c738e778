"""What boards compute, under an emulator, is what Python computes."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.micro import write_vectors
from tflm_fg import runtimes

ROOT = pathlib.Path(__file__).parents[2]
BOARDS = ("mps2-an385", "mps2-an386", "mps2-an500", "mps3-an547")
GCC, QEMU = "arm-none-eabi-gcc", "qemu-system-arm"
TOOLS = {
  "host": ("gcc",),
  "budget": (GCC,),
  **dict.fromkeys(BOARDS, (GCC, QEMU)),
}

pytestmark = pytest.mark.xdist_group("boards")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
  if not runtimes.is_installed("tflm"):
    pytest.skip("tflite-micro is not installed: nothing to compare with")
  folder = tmp_path_factory.mktemp("vectors")
  write_vectors.main(folder / "vectors.h")
  return folder


def told(name, folder):
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


@pytest.mark.parametrize("name", list(TOOLS))
def test_the_trainer_in_c_is_pythons_bit_for_bit_and_small(name, vectors):
  for tool in TOOLS[name]:
    if shutil.which(tool) is None:
      pytest.skip(f"{tool} is not on PATH")
  lines = told(name, vectors).splitlines()
  if name == "budget":
    assert len(lines) == len(BOARDS)
    return
  counted = [line for line in lines if line.endswith("differ")]
  assert len(counted) == write_vectors.CASES
  assert all(": 0 of " in line for line in counted), lines


def test_a_difference_is_told_and_is_no_success(vectors, tmp_path):
  if shutil.which("gcc") is None:
    pytest.skip("gcc is not on PATH")
  text = (vectors / "vectors.h").read_text()
  start = text.index("logits_wanted[")
  at = text.index("{", start) + 4
  wrong = text[:at] + "77, " + text[text.index(",", at) + 2 :]
  (tmp_path / "vectors.h").write_text(wrong)
  with pytest.raises(AssertionError, match="spotter: 1 of 24 logits differ"):
    told("host", tmp_path)
