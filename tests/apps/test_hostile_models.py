"""A model that ends an engine's process is one line and status 1, everywhere.

No program opens it in its own process: the child that runs it first is ended.
"""

import numpy as np
import pytest

from tests import hostile
from tests.apps.test_programs import Folder
from tflm_fg.runtimes import trial
from tflm_fg.tflite.model_file import ModelFile

ENDING = hostile.ENDING.data()
"""It passes the verifier; LiteRT's BATCH_MATMUL aborts the process."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("hostile")
  own = Folder(path)
  own.write("hostile.tflite", ENDING)
  x = np.random.default_rng(0).uniform(0, 7, (24, 4, 4, 4)).astype(np.float32)
  np.savez(path / "x.npz", x=x, y=np.arange(24) % 3)
  return own


def test_the_file_of_these_tests_passes_the_verifier_and_ends_litert():
  ran = trial.verdict(ModelFile.open(ENDING, "m"), "litert")
  assert ran.crashed and "SIG" in ran.fault


@pytest.mark.parametrize(
  "command",
  [
    "inspect_model",
    "adapt --train=x.npz --out=out.tflite",
    "evaluate --data=x.npz",
    "convert --out=out.tflite",
    "export --target=tflm --out=board",
  ],
  ids=lambda command: command.split()[0],
)
def test_a_program_refuses_it_in_one_line_and_writes_nothing(folder, command):
  program, *flags = command.split()
  line = folder.refused(program, *flags, "--model=hostile.tflite")
  assert "Traceback" not in line
  if program != "export":  # TFLM refuses it
    assert "litert crashes on it: it ended in SIG" in line
