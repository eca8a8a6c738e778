"""The programs of wake words, as a shell runs them."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from apps.kws.audio import files
from tests import programs
from tests.apps.wake import speech

WAKE = "apps.wake.__main__"
MODEL = "--model=hey_jarvis.tflite"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """What a user has; tests write nothing but new files into it."""
  speech.require()
  made = tmp_path_factory.mktemp("wake")
  speech.write_folder(made)
  return made


def done(folder, *arguments):
  result = programs.run(folder, WAKE, *arguments)
  assert result.returncode == 0, result.stderr
  return result.stdout


def refused(folder, *arguments):
  """The one line of a refusal."""
  result = programs.run(folder, WAKE, *arguments)
  assert result.returncode == 1, result.stdout + result.stderr
  (line,) = programs.own_lines(result.stderr)
  return line


def test_evaluate_counts_what_is_heard_and_names_what_is_missed(folder):
  printed = done(
    folder, "evaluate", MODEL, "--positive=mine", "--negative=family",
    "--report_dir=report",
  )  # fmt: skip
  assert "recall: 0 of 3 recordings of mine" in printed
  assert "missed: 0.wav, " in printed
  assert "false accepts: 2 in 0.1 minutes of family" in printed
  report = json.loads((folder / "report/report.json").read_text())
  assert report["recall"][0]["heard_after"] == 0
  assert [row["file"] for row in report["events"]] == ["0.wav", "1.wav"]
  assert 0 < report["events"][0]["seconds"] < 4.5
  assert len(report["model_sha256"]) == 64
  assert (report["cutoff"], report["window"]) == (0.97, 5)
  page = (folder / "report/index.html").read_text()
  assert "The DET curve" in page and "Probability over time" in page
  assert (folder / "report/det.png").read_bytes()[1:4] == b"PNG"
  assert (folder / "report/det.csv").read_text().count("\n") == 256


def test_a_folder_of_negatives_that_holds_the_word_is_told(folder):
  three = folder / "three"
  three.mkdir()
  for number in range(3):
    sound = files.read(str(folder / "family" / f"{number % 2}.wav"))
    files.write(str(three / f"{number}.wav"), sound[number:])
  printed = done(folder, "evaluate", MODEL, "--negative=three")
  assert "note: --negative=three: the model hears 'Hey Jarvis' in most" in (
    printed
  )


def test_another_cutoff_hears_more(folder):
  printed = done(
    folder, "evaluate", MODEL, "--positive=family", "--cutoff=0.2", "--window=1"
  )
  assert "cutoff 0.2, sliding window of 1 steps" in printed
  assert "recall: 2 of 2" in printed


def test_listen_tells_when_the_word_was_said(folder):
  printed = done(
    folder, "listen", MODEL, "--wav=family/0.wav", "--out=heard.csv"
  )
  assert "1 detection of 'Hey Jarvis' in " in printed
  head, row, *rest = (folder / "heard.csv").read_text().splitlines()
  assert head == "seconds,probability" and not rest
  seconds, probability = map(float, row.split(","))
  assert 0.5 < seconds < 4.5 and 0.97 < probability <= 1
  printed = done(folder, "listen", MODEL, "--wav=mine/0.wav")
  assert "0 detections" in printed


@pytest.mark.parametrize(
  ("arguments", "told"),
  [
    (["evaluate", MODEL], "--positive=FOLDER is missing"),
    (["evaluate", MODEL, "--positive=none"], "none: no such file or folder"),
    (["evaluate", MODEL, "--positive=empty"], "empty: holds no recordings"),
    (
      ["evaluate", MODEL, "--positive=mine", "--negative=mine"],
      "mine: named by --positive and by --negative",
    ),
    (
      ["evaluate", "--model=lone.tflite", "--positive=mine"],
      "lone.tflite: no manifest lone.json stands beside it; name one with "
      "--manifest",
    ),
    (
      ["evaluate", "--model=spotter.tflite", "--positive=mine"],
      "spotter.tflite: has 12 outputs; say with --output",
    ),
    (
      [
        "adapt",
        "--model=spotter.tflite",
        "--output=0",
        "--cutoff=0.9",
        "--window=1",
        "--positive=mine",
        "--out=out.tflite",
      ],
      "the model ends in no LOGISTIC or SOFTMAX",
    ),
    (["evaluate", "--model=none.tflite", "--positive=mine"], "none.tflite"),
    (["evaluate", "--model=text.tflite", "--positive=mine"], "text.tflite"),
    (["listen", MODEL], "give either --wav=LONG.wav or --device=N"),
    (["listen", MODEL, "--wav=text.tflite"], "not a sound file"),
  ],
  ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_that_says_what_to_do(folder, arguments, told):
  (folder / "empty").mkdir(exist_ok=True)
  shutil.copy(folder / "hey_jarvis.tflite", folder / "lone.tflite")
  spotter = pathlib.Path("apps/kws/ds_cnn.tflite")
  shutil.copy(spotter, folder / "spotter.tflite")
  (folder / "text.tflite").write_text("no model at all, and no sound")
  assert told in refused(folder, *arguments)


def test_a_spotter_of_several_words_is_played_too(folder):
  shutil.copy("apps/kws/ds_cnn.tflite", folder / "words.tflite")
  rng = np.random.default_rng(0)
  noise = rng.normal(0, 100, 48_000).astype(np.int16)
  files.write(str(folder / "noise.wav"), noise)
  printed = done(
    folder, "evaluate", "--model=words.tflite", "--output=0", "--cutoff=0.9",
    "--negative=noise.wav", "--wake_word=down",
  )  # fmt: skip
  assert "words.tflite (down): cutoff 0.9" in printed
