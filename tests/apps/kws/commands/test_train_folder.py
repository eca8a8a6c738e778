"""From a folder to a marked model of one's own, small: TensorFlow is slow."""

import json

import numpy as np
import pytest

from apps.kws.audio import folders
from apps.kws.model import spotter
from tests import programs
from tests.apps.kws import corpora

pytest.importorskip("espeakng_loader", reason="needs the extra kws")

pytestmark = pytest.mark.tensorflow

KWS = "apps.kws.__main__"


def test_train_gives_a_marked_model_with_spare_outputs_and_a_replay_set(
  tmp_path,
):
  root = corpora.speech(("yes", "no"), 24, "source", "train")
  done = programs.run_keras(
    tmp_path, KWS, "train", f"--data={root}", "--frontend=mfcc", "--epochs=1",
    "--spare_outputs=1", "--replay_kb=2", "--out=own.tflite",
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  own = spotter.load(str(tmp_path / "own.tflite"))
  assert own.classes == ("no", "yes", "silence", folders.FREE)
  assert own.frontend.shape == (49, 10, 1)
  assert own.input().shape == (1, 49, 10, 1)
  report = json.loads((tmp_path / "own.json").read_bytes())
  assert report["clips"]["yes"] == sum(
    folders.split_of(p.name) != "testing" for p in (root / "yes").iterdir()
  )
  kept = np.load(tmp_path / "own.replay.npz")
  assert (tmp_path / "own.replay.npz").stat().st_size <= 2000
  assert kept["x"].dtype == np.int8


def test_a_replay_set_that_does_not_fit_leaves_nothing(tmp_path):
  root = corpora.speech(("yes", "no"), 24, "source", "train")
  flags = ("--frontend=mfcc", "--epochs=1", "--replay_kb=1", "--out=own.tflite")
  done = programs.run_keras(tmp_path, KWS, "train", f"--data={root}", *flags)
  assert done.returncode == 1
  assert "--replay_kb=1: 1000 bytes hold 0" in done.stderr
  assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_trained_on_is_refused_in_one_line(tmp_path):
  root = corpora.speech(("yes", "no"), 24, "source", "train")
  for flags, words in (
    (("--out=own.bin",), "need a .tflite or a .keras"),
    (("--out=own.tflite", "--words=yes,lamp"), "'lamp'"),
  ):
    done = programs.run_keras(tmp_path, KWS, "train", f"--data={root}", *flags)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert words.strip("'") in line
  assert list(tmp_path.iterdir()) == []
