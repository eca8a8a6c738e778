"""The keyword programs do what they say, and refuse in one line what's wrong.

One folder of whispers serves all; each program runs as a shell would run it.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import soundfile

from apps.kws.audio import files
from apps.kws.audio.augment import Augment
from apps.kws.features import examples
from apps.kws.model import adaptation, head_model, shipped
from apps.kws.model.spotter import load
from apps.kws.synthetic import recordings
from tests import programs
from tests.apps.kws import corpora
from tflm_fg.types import TflmFgError

pytest.importorskip("espeakng_loader", reason="needs the extra kws")
pytest.importorskip("soundfile", reason="needs the extra kws")

KWS = "apps.kws.__main__"
SPOTTER = load(None)


def _run(folder: pathlib.Path, *arguments: str) -> str:
  done = programs.run(folder, KWS, *arguments)
  assert done.returncode == 0, done.stderr
  assert "Traceback" not in done.stderr
  assert not list(folder.rglob(".tflm_fg-*"))
  return done.stdout


def test_adapt_reads_what_people_record_and_keeps_the_mark(tmp_path):
  """8 bit, stereo, 44.1 kHz, a long take, spaces and Unicode: all at once."""
  data = tmp_path / "meine Wörter, neu"
  shutil.copytree(corpora.speech(), data)
  first, second, third = sorted((data / "yes").iterdir())[:3]
  for path, options in (
    (first, {"subtype": "PCM_U8"}),
    (second, {"subtype": "PCM_24"}),
    (third, {"subtype": "PCM_16"}),
  ):
    samples, rate = soundfile.read(path)
    if path is third:
      samples = np.repeat(samples, 3)[:, None].repeat(2, axis=1)
      rate = 48_000
    soundfile.write(path, samples, rate, **options)
  takes = [files.read(str(p)) for p in sorted((data / "go").iterdir())]
  soundfile.write(data / "go" / "alle ä.wav", np.concatenate(takes), 16_000)
  flags = ("--trainable=head", "--out=a.tflite", "--report_dir=r", "--seed=1")
  printed = _run(tmp_path, "adapt", f"--data={data}", *flags)
  assert "clips that were not trained on" in printed
  assert (tmp_path / "r" / "index.html").is_file()
  adapted = load(str(tmp_path / "a.tflite"))
  assert adapted.classes == SPOTTER.classes
  report = json.loads((tmp_path / "r" / "report.json").read_bytes())
  assert report["clips"]["go"] >= 6
  once = (tmp_path / "a.tflite").read_bytes()
  _run(tmp_path, "adapt", f"--data={data}", *flags)
  assert (tmp_path / "a.tflite").read_bytes() == once


def test_five_clips_a_word_raise_the_accuracy():
  """Adapted to 5 whispers of each word, others of them are heard better."""
  words = ("left", "no", "on", "stop", "down", "off")
  train = examples.read(
    str(corpora.speech(words, 5)),
    SPOTTER.frontend,
    SPOTTER.classes,
    augment=Augment(copies=2),
    progress=False,
  )
  test = examples.read(
    str(corpora.speech(words, 10, split="test")),
    SPOTTER.frontend,
    SPOTTER.classes,
    progress=False,
  )
  job = adaptation.Job(
    spotter=SPOTTER,
    train=train,
    test=test,
    method=adaptation.method_of(None),
    trainable="head",
  )
  before, after = adaptation.adapt(job).scores["test"]
  assert after.accuracy > before.accuracy + 0.1


def test_dry_run_says_what_it_would_do_and_writes_nothing(tmp_path):
  printed = _run(
    tmp_path,
    "adapt",
    f"--data={corpora.speech()}",
    "--trainable=head",
    "--out=a.tflite",
    "--report_dir=r",
    "--dry_run",
  )
  assert "would train 780 numbers" in printed
  assert list(tmp_path.iterdir()) == []


def _estimated(model, trainable, method=None, **given):
  """What a dry run says of some clips of noise."""
  spotter = dataclasses.replace(SPOTTER, model=model)
  shape = (24, *spotter.input().shape[1:])
  x = np.random.default_rng(0).uniform(0, 3, shape)
  train = examples.Examples(
    x.astype(np.float32), np.arange(24) % 12, np.arange(24), np.zeros(24)
  )
  job = adaptation.Job(
    spotter=spotter,
    train=train,
    method=adaptation.method_of(method, **given),
    trainable=trainable,
  )
  estimate = adaptation.estimate(job)
  return estimate["trainable_parameters"], estimate["steps"]


def test_what_is_not_named_is_chosen_and_reported():
  """A wide head; a head where there are no layers to join, or as asked."""
  model = SPOTTER.model
  assert _estimated(model, None) == ((64 + 512) * 12 + 12, 42)
  assert _estimated(head_model.cut_off(SPOTTER).model, None) == (780, 42)
  assert _estimated(model, None, "sign-m-spsa", steps=9) == (780, 9)
  assert _estimated(model, "prompt") == (40, 80)


def test_features_then_enrol_then_listen_then_evaluate(tmp_path):
  """The way of a new word: replay set, enrolment, a long recording, scores."""
  old = corpora.speech(("go", "yes", "left", "stop"), 10, "source", "train")
  new = corpora.speech(("lamp", "kitchen"), 8, "hungarian")
  shipped_ = shipped.shipped_path()
  _run(
    tmp_path,
    "features",
    f"--data={old}",
    f"--model={shipped_}",
    "--layer=head",
    "--max_kb=4",
    "--out=old.npz",
  )
  assert (tmp_path / "old.npz").stat().st_size <= 4000
  printed = _run(
    tmp_path,
    "enrol",
    f"--data={new}",
    "--words=lamp,kitchen",
    "--replay=old.npz",
    "--steps=120",
    "--out=new.tflite",
  )
  assert "outputs added" in printed
  assert "the replay set (" in printed
  plan = load(str(tmp_path / "new.tflite"))
  assert plan.classes[-2:] == ("lamp", "kitchen")
  kept = np.load(tmp_path / "new.replay.npz")
  assert set(kept["y"]) >= {12, 13}
  sound, spoken = recordings.make(
    ("lamp", "kitchen", "yes"),
    (),
    minutes=0.4,
    count=6,
    domain="hungarian",
    split="test",
    seed=0,
  )
  files.write(str(tmp_path / "long.wav"), sound)
  (tmp_path / "long.csv").write_bytes(recordings.to_csv(spoken))
  printed = _run(
    tmp_path,
    "listen",
    "--model=new.tflite",
    "--wav=long.wav",
    "--threshold=0.5",
    "--out=heard.csv",
    "--report=heard.json",
  )
  counted = json.loads((tmp_path / "heard.json").read_bytes())
  assert counted["hits"] + counted["misses"] == 6
  assert counted["hits"] >= 3
  rows = list(csv.DictReader((tmp_path / "heard.csv").open()))
  assert len(rows) == counted["hits"] + counted["false_accepts"]
  printed = _run(
    tmp_path,
    "evaluate",
    "--model=new.tflite",
    f"--data={new}",
    "--recording=long.wav",
    "--report=e.json",
  )
  assert "said (rows), heard (columns)" in printed
  report = json.loads((tmp_path / "e.json").read_bytes())
  assert np.trace(report["confusion"]) / report["clips"] == report["accuracy"]
  assert report["recording"]["false_accepts_an_hour"] >= 0


# What Ctrl-C does: the process gets SIGINT from inside its sixth step.
INTERRUPT = """
import os, signal
from tflm_fg.training.trainer import StepRule
advance = StepRule.advance
def interrupted(self, state, estimate):
  if state.step == 5:
    os.kill(os.getpid(), signal.SIGINT)
  return advance(self, state, estimate)
StepRule.advance = interrupted
"""


def test_control_c_keeps_what_is_best_so_far(tmp_path):
  flags = (
    f"--data={corpora.speech()}",
    "--trainable=head",
    "--method=closed-form",
    "--steps=100000000",
    "--out=a.tflite",
  )
  done = programs.run(tmp_path, KWS, "adapt", *flags, before=INTERRUPT)
  assert done.returncode == 130, done.stderr
  assert "interrupted; a.tflite holds what was best by then" in done.stderr
  assert "note: interrupted: what was best by then is kept" in done.stdout
  assert load(str(tmp_path / "a.tflite")).words == SPOTTER.words


# What is refused.


@pytest.fixture
def shelf(tmp_path: pathlib.Path) -> pathlib.Path:
  """A folder with folders that are each wrong in their own way."""
  for name, words in (
    ("one", ("yes",)),
    ("strange", ("lamp", "kettle")),
    ("good", ("yes", "no")),
    ("broken", ("yes", "no")),
    ("blank", ("yes", "no")),
  ):
    for place, word in enumerate(words):
      (tmp_path / name / word).mkdir(parents=True)
      for number in range(2):
        path = tmp_path / name / word / f"{number}.wav"
        files.write(str(path), corpora.tone(1, 300 + 200 * place + 50 * number))
  (tmp_path / "broken" / "no" / "0.wav").write_bytes(b"no sound at all")
  soundfile.write(tmp_path / "blank" / "no" / "0.wav", np.zeros(0), 16_000)
  shutil.copy(shipped.shipped_path(), tmp_path / "plain.tflite")
  (tmp_path / "half.tflite").write_bytes(shipped.shipped_model()[:999])
  return tmp_path


REFUSED = {
  "no wav": (("adapt", "--data=broken", "--strict"), "0.wav: not a sound file"),
  "of no length": (("adapt", "--data=blank", "--strict"), "holds no sound"),
  "no folder": (("adapt", "--data=none"), "none: no such folder"),
  "no classes": (("adapt", "--data=strange"), "are no classes of"),
  "no model": (("adapt", "--data=good", "--model=no.tflite"), "no such file"),
  "half a model": (("adapt", "--data=good", "--model=half.tflite"), "half"),
  "no front end": (("adapt", "--data=good", "--model=plain.tflite"), "--front"),
  "other front end": (("adapt", "--data=good", "--frontend=mfcc"), "49x10"),
  "word not there": (
    ("enrol", "--data=good", "--words=lamp"),
    "clips of 'lamp'",
  ),
  "known word": (
    ("enrol", "--data=good", "--words=yes"),
    "knows 'yes' already",
  ),
  "fraction": (("adapt", "--data=good", "--test_fraction=nan"), "--test_frac"),
  "fraction to enrol": (
    ("enrol", "--data=strange", "--words=lamp", "--test_fraction=nan"),
    "--test_fraction=nan: need 0 <= f < 1",
  ),
  "small replay set": (
    ("enrol", "--data=strange", "--words=lamp", "--replay_kb=1"),
    "--replay_kb=1: 1000 bytes hold 0 clips",
  ),
  "noise": (("adapt", "--data=good", "--noise_snr_db=a,b"), "two numbers"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_what_does_not_fit_is_refused_in_one_line(kind, shelf):
  (command, *flags), words = REFUSED[kind]
  before = sorted(p.name for p in shelf.iterdir())
  done = programs.run(shelf, KWS, command, *flags, "--out=out.tflite")
  assert done.returncode == 1, done.stderr
  (line,) = done.stderr.strip().splitlines()
  assert words in line
  assert line.startswith(f"tflm-fg-kws {command}: ")
  assert sorted(p.name for p in shelf.iterdir()) == before


def test_recordings_that_cannot_be_read_are_named_and_the_others_learned_from(
  shelf,
):
  for name, reason in (("broken", "no/0.wav ("), ("blank", "(holds no sound)")):
    done = programs.run(
      shelf, KWS, "adapt", f"--data={name}", "--trainable=head",
      "--out=out.tflite", "--report_dir=r",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"warning: {name}: 1 recording cannot be read" in done.stderr
    assert reason in done.stderr
    report = json.loads((shelf / "r" / "report.json").read_bytes())
    assert any(reason in note for note in report["data_notes"])
    scored = programs.run(shelf, KWS, "evaluate", f"--data={name}")
    assert scored.returncode == 0, scored.stderr
    assert reason in scored.stderr


@pytest.mark.parametrize(
  ("flags", "status", "words"),
  [
    (("listen",), 1, "give either --wav=LONG.wav or --device=N"),
    (("listen", "--wav=half.tflite"), 1, "half.tflite: not a sound file"),
    (("evaluate",), 1, "--data=FOLDER is missing"),
    (
      ("features", "--data=good", "--frontend=mfcc", "--layer=head", "--out=f"),
      1,
      "--layer=head needs --model",
    ),
    (("adapt", "--out=a.tflite"), 2, "--data is missing"),
  ],
)
def test_missing_and_wrong_flags_are_one_line(flags, status, words, shelf):
  done = programs.run(shelf, KWS, *flags)
  assert done.returncode == status
  assert words in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1


def test_words_of_a_table_that_the_model_does_not_spot_are_named(tmp_path):
  files.write(str(tmp_path / "long.wav"), corpora.tone())
  (tmp_path / "said.csv").write_text("seconds,word\n0.5,zebra\n")
  printed = _run(tmp_path, "listen", "--wav=long.wav", "--labels=said.csv")
  assert "does not spot 'zebra'" in printed


def test_an_output_never_replaces_the_model(tmp_path):
  shutil.copy(shipped.shipped_path(), tmp_path / "m.tflite")
  with pytest.raises(TflmFgError):
    load(str(tmp_path / "m.tflite"))
  done = programs.run(
    tmp_path, KWS, "adapt", f"--data={corpora.speech()}",
    "--model=m.tflite", "--out=./m.tflite",
  )  # fmt: skip
  assert done.returncode == 1
  assert "named by --out and by --model" in done.stderr
  assert os.listdir(tmp_path) == ["m.tflite"]
