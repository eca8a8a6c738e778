"""A model is adapted by the program: what is written, told and refused."""

import json
import re
import shutil

import pytest

from tests import programs
from tests.apps.wake import speech
from tests.apps.wake.test_programs import MODEL, WAKE, done, refused
from tflm_fg.tflite import model_file

ADAPT = ("adapt", MODEL, "--positive=mine", "--out=out.tflite")

SMALL = """
import dataclasses
from apps.wake.data import stock
from tflm_fg import detection

whole = stock.steps

def steps(manifest, frontend, *, seed=0):
  word = [s for s in stock.shipped() if s.texts == ("alexa",)][:1]
  sounds = [
    *stock.shipped()[:3], *word, *stock.keepers(manifest.wake_word)[:4]
  ]
  made = [frontend.steps(s.sound) for s in sounds]
  names = [s.voice for s in sounds]
  parts = slice(0, 3), slice(3, 4), slice(4, None)
  return stock.Steps(
    *[made[part] for part in parts],
    *[names[part] for part in parts],
    ("a stock",),
  )

stock.steps = steps
"""
"""A stock of three streams: few of negatives and of keepers."""

FAKE = (
  SMALL
  + """
def trained(model, positives, negatives, keepers, rule, settings, **more):
  head = model.head
  weights, bias = head.weights.copy(), head.bias + {shift}
  before = detection.Numbers({numbers})
  return detection.Outcome(
    weights, bias, {cutoff}, {accepted}, {reason!r}, (), before,
    dataclasses.replace(before, heard=3, cutoff={cutoff}),
    *[detection.det_curve([], [], rule)] * 2, (1.0,) * 3, ("positive 0 doubt",),
  )

detection.adapt = trained
"""
)
"""What training gives, without training."""


def fake(accepted=True, reason="accepted, as it was", cutoff=0.97, shift=1500):
  return FAKE.format(
    accepted=accepted,
    reason=reason,
    cutoff=cutoff,
    shift=shift,
    numbers="0.97, 0, 3, 2, 4, 1, 0.03, float('nan'), 1.0",
  )


@pytest.fixture
def folder(tmp_path):
  speech.require()
  speech.write_folder(tmp_path)
  return tmp_path


def adapted(folder, *more, before):
  result = programs.run(folder, WAKE, *ADAPT, *more, before=before)
  assert result.returncode == 0, result.stderr
  return result.stdout


def test_a_model_learns_and_is_written_with_its_manifest(folder):
  printed = adapted(folder, "--report_dir=report", before=fake(cutoff=0.981))
  old = (folder / "hey_jarvis.tflite").read_bytes()
  new = (folder / "out.tflite").read_bytes()
  report = json.loads((folder / "report/report.json").read_text())
  different = sum(a != b for a, b in zip(old, new))
  assert len(old) == len(new) and 0 < different <= 4
  assert report["changed"]["bytes"] == different
  undone = bytearray(new)
  for run in report["changed"]["runs"]:
    held = bytes.fromhex(run["before"])
    undone[run["offset"] : run["offset"] + len(held)] = held
  assert undone == old
  before = (folder / "hey_jarvis.json").read_text()
  changed = before.replace("hey_jarvis.tflite", "out.tflite")
  assert (folder / "out.json").read_text() == changed.replace("0.97", "0.981")
  assert f"{different} of 52272 bytes of the file changed" in printed
  assert "0 of 3       3 of 3" in printed
  assert "note: a stock" in printed and "note: 0.wav doubt" in printed
  page = (folder / "report/index.html").read_text()
  assert "The cutoff was moved" in page and report["out_sha256"] in page


def test_a_file_that_is_written_anew_is_told_with_the_bytes_behind_it(folder):
  """Its last layer has no bias, so one of zeros is put back."""
  path = folder / "hey_jarvis.tflite"
  model = model_file.read(path.read_bytes())
  for op in model.subgraphs[0].operators:
    if model_file.op_name(model, op) == "FULLY_CONNECTED":
      op.inputs = [*op.inputs[:2], -1]
  path.write_bytes(model_file.pack(model))
  printed = adapted(folder, "--report_dir=report", before=fake())
  report = json.loads((folder / "report/report.json").read_text())
  assert 0 < report["changed"]["bytes"] <= 4
  assert "a bias of zeros put back" in printed
  assert "written anew" in " ".join(report["notes"])


def test_test_sets_are_scored_apart(folder):
  shutil.copytree(folder / "family", folder / "others")
  printed = adapted(
    folder, "--test_positive=others", "--test_negative=mine/1.wav",
    "--report_dir=report", before=fake(),
  )  # fmt: skip
  assert re.search(r"heard of other recordings +2 of 2 +2 of 2\n", printed)
  assert "other sound (0." in printed
  report = json.loads((folder / "report/report.json").read_text())
  assert report["recordings_are"] == "not learned from"
  assert [row["file"] for row in report["recordings"]] == ["0.wav", "1.wav"]
  assert report["det"]["positives"] == 2


def test_a_refusal_is_one_line_and_writes_nothing(folder):
  there = sorted(folder.rglob("*"))
  result = programs.run(
    folder, WAKE, *ADAPT, "--report_dir=report",
    before=fake(accepted=False, reason="refused, since it woke to all"),
  )  # fmt: skip
  assert result.returncode == 1
  (line,) = programs.own_lines(result.stderr)
  assert line == (
    "tflm-fg-wake adapt: hey_jarvis.tflite: refused, since it woke to all; "
    "nothing was written"
  )
  assert sorted(folder.rglob("*")) == there


def test_a_dry_run_tells_what_is_there_and_writes_nothing(folder):
  there = sorted(folder.rglob("*"))
  printed = adapted(folder, "--dry_run", "--keep=family", before=SMALL)
  assert "hears 0 of 3 recordings at a cutoff of 0.97" in printed
  assert "2 of your keepers, 4 keepers of the stock: 300 weights" in printed
  assert sorted(folder.rglob("*")) == there


@pytest.mark.parametrize(
  ("more", "told"),
  [
    (["--out=hey_jarvis.tflite"], "named by --out and by --model"),
    (["--out=hey_jarvis.json"], "hey_jarvis.json"),
    (["--negative=mine"], "mine: named by --positive and by --negative"),
    (["--test_positive=mine"], "named by --positive and by --test_positive"),
    (["--positive=none"], "none: no such file or folder"),
    (["--negative=three"], "the model hears 'Hey Jarvis' in most recordings"),
    (["--model=lone.tflite"], "no manifest lone.json stands beside it"),
    (["--model=hey_jarvis.json"], "hey_jarvis.json"),
    (["--out=nowhere/out.tflite"], "no folder"),
  ],
  ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_that_says_what_to_do(folder, more, told):
  shutil.copy(folder / "hey_jarvis.tflite", folder / "lone.tflite")
  (folder / "three").mkdir()
  for number, sound in enumerate(speech.sounds()[0] + speech.more()):
    speech.write(folder / "three" / f"{number}.wav", sound)
  there = sorted(folder.rglob("*"))
  assert told in refused(folder, *ADAPT, *more)
  assert sorted(folder.rglob("*")) == there


def test_the_demo_needs_its_models(folder):
  result = programs.run(
    folder, WAKE, "demo",
    before="import importlib.util as u; f = u.find_spec\n"
    "u.find_spec = lambda n, *m: None if 'wakeword' in n else f(n, *m)",
  )  # fmt: skip
  assert result.returncode == 1
  (line,) = programs.own_lines(result.stderr)
  assert "pip install 'tflm-fg[wake]'" in line
  assert done(folder, "version")


SHORT = """
from apps.wake import example
from apps.wake.commands import demo

example.ORIGINALS = example.ORIGINALS[:1]
example.TALKERS = example.TALKERS[:1]
example.SENTENCES = example.SENTENCES[:2]
demo.TEST_RECORDINGS = demo.ORIGINALS_EACH = 1
"""


def test_the_demo_adapts_to_two_voices_and_leaves_what_a_device_takes(tmp_path):
  speech.require()
  result = programs.run(
    tmp_path, WAKE, "demo", "--recordings=3", "--out_dir=out",
    before=fake() + SHORT,
  )  # fmt: skip
  assert result.returncode == 0, result.stderr
  assert "all speech is synthetic" in result.stdout
  assert "a German accent, 3 recordings learned from" in result.stdout
  assert "a whisper, 3 recordings learned from" in result.stdout
  assert result.stdout.count("heard of other recordings") == 2
  assert result.stdout.count("heard of voices as it was trained for") == 2
  told = json.loads((tmp_path / "out/report.json").read_text())
  assert sorted(told) == ["a German accent", "a whisper"]
  for name in ("alexa", "german_accent", "whisper"):
    manifest = json.loads((tmp_path / f"out/{name}.json").read_text())
    assert manifest["model"] == f"{name}.tflite"
    assert (tmp_path / f"out/{name}.tflite").stat().st_size == 55856
  assert "The DET curve" in (tmp_path / "out/whisper.html").read_text()


def test_without_a_manifest_none_is_written_and_that_is_said(folder):
  (folder / "hey_jarvis.json").unlink()
  printed = adapted(
    folder, "--cutoff=0.9", "--window=4", "--wake_word=hey jarvis",
    before=fake(cutoff=0.95),
  )  # fmt: skip
  assert "none is written: it counts as heard at a cutoff of 0.95" in printed
  assert (folder / "out.tflite").exists()
  assert not (folder / "out.json").exists()
