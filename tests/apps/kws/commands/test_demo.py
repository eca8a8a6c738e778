"""The demo does what it says, small enough for a test."""

import json

import pytest

from apps.kws.model import shipped
from apps.kws.synthetic import voices
from tests import programs

pytest.importorskip("espeakng_loader", reason="needs the extra kws")

KWS = "apps.kws.__main__"
SMALL = ("--clips_per_word=6", "--test_clips_per_word=3", "--out_dir=out")


def _demo(folder, *flags):
  done = programs.run(folder, KWS, "demo", *SMALL, *flags)
  assert done.returncode == 0, done.stderr
  return done.stdout, json.loads((folder / "out/report.json").read_bytes())


def test_the_demo_adapts_and_leaves_models_a_report_and_a_picture(tmp_path):
  printed, reports = _demo(tmp_path, "--domain=hungarian")
  assert "a Hungarian voice" in printed
  assert "(wide-head) by closed-form" in printed
  report = reports["hungarian"]
  assert report["accuracy_after"] > report["accuracy_before"]
  assert report["trainable_parameters"] == (64 + 512) * 12 + 12
  assert (tmp_path / "out/demo.png").read_bytes()[1:4] == b"PNG"
  assert (tmp_path / "out/hungarian.tflite").read_bytes()[4:8] == b"TFL3"
  told = reports["two words misheard"]
  assert len(told["absent_classes"]) == 10 and len(told["misheard"]) == 2
  shown = [row for row in told["classes"] if row["train_samples"]]
  assert [row["train_samples"] for row in shown] == [6, 6]
  assert f"clips of {' and '.join(told['misheard'])} alone" in printed
  assert "the other 10 classes                      30 " in printed
  assert (tmp_path / "out/two_words.tflite").exists()


def test_forward_gradients_on_the_head_are_shown_where_they_are_named(tmp_path):
  printed, reports = _demo(
    tmp_path,
    "--domain=hungarian",
    "--method=sign-m-spsa",
    "--steps=1500",
    "--notwo_words",
  )
  assert "780 numbers (head) by sign-m-spsa" in printed
  report = reports["hungarian"]
  assert report["accuracy_after"] > report["accuracy_before"]
  assert report["forward_passes"] > 3000


def test_candidates_may_be_tried_and_the_chosen_one_is_named(tmp_path):
  printed, reports = _demo(
    tmp_path,
    "--domain=child",
    "--trainable=auto",
    "--steps=20",
    "--notwo_words",
  )
  (taken,) = [c for c in reports["child"]["candidates"] if c["chosen"]]
  assert f"({taken['trainable']})" in printed
  assert len(reports["child"]["phases"]) == len(
    reports["child"]["method"].split("+")
  )


def test_two_clips_a_word_are_too_few_to_validate_and_still_run(tmp_path):
  few = ("--clips_per_word=2", "--test_clips_per_word=1", "--steps=50")
  _demo(tmp_path, "--domain=child", *few)


def test_the_demo_offers_voices_that_there_are_but_the_trained_ones():
  assert {*shipped.TARGETS} < {*voices.DOMAINS} - {"source"}
  assert {*shipped.TITLES} == {*shipped.TARGETS}


@pytest.mark.parametrize(
  ("flags", "status", "words"),
  [
    (("demo", "--domain=martian"), 1, "--domain='martian' is unknown"),
    (("demo", "--clips_per_word=0"), 1, "clips_per_"),
    (("demo", "--steps=0"), 2, "steps=0"),
    (("demo", "--sseed=0"), 2, "sseed"),
    (("dance",), 2, "no command 'dance'"),
  ],
)
def test_wrong_words_are_refused_in_one_line(tmp_path, flags, status, words):
  done = programs.run(tmp_path, KWS, *flags)
  assert done.returncode == status
  assert words in done.stderr.splitlines()[-1]
  assert "Traceback" not in done.stderr
