"""The demo does what it says, small enough for a test."""

import json

import pytest

pytest.importorskip("espeakng_loader", reason="needs the extra kws")

from apps.kws import domains, shipped
from tests import programs

KWS = "apps.kws.__main__"
SMALL = (
  "--domain=hungarian",
  "--clips_per_word=6",
  "--test_clips_per_word=3",
  "--steps=1500",
)


def test_the_demo_adapts_and_leaves_models_a_report_and_a_picture(tmp_path):
  done = programs.run(tmp_path, KWS, "demo", *SMALL, "--out_dir=out")
  assert done.returncode == 0, done.stderr
  assert "a Hungarian voice" in done.stdout
  report = json.loads((tmp_path / "out/report.json").read_bytes())["hungarian"]
  assert report["accuracy_after"] > report["accuracy_before"]
  assert report["trainable_parameters"] == 780
  assert (tmp_path / "out/demo.png").read_bytes()[1:4] == b"PNG"
  assert (tmp_path / "out/hungarian.tflite").read_bytes()[4:8] == b"TFL3"


def test_two_clips_a_word_are_too_few_to_validate_and_still_run(tmp_path):
  few = ("--clips_per_word=2", "--test_clips_per_word=1", "--steps=50")
  done = programs.run(
    tmp_path, KWS, "demo", "--domain=child", *few, "--out_dir=out"
  )
  assert done.returncode == 0, done.stderr


def test_the_demo_offers_voices_that_there_are_but_the_trained_ones():
  assert {*shipped.TARGETS} < {*domains.DOMAINS} - {"source"}
  assert {*shipped.TITLES} == {*shipped.TARGETS}


@pytest.mark.parametrize(
  ("flags", "status", "words"),
  [
    (("demo", "--domain=martian"), 1, "--domain='martian' is unknown"),
    (("demo", "--clips_per_word=0"), 1, "clips_per_"),
    (("demo", "--steps=0"), 1, "steps=0"),
    (("demo", "--sseed=0"), 2, "sseed"),
    (("dance",), 2, "no command 'dance'"),
  ],
)
def test_wrong_words_are_refused_in_one_line(tmp_path, flags, status, words):
  done = programs.run(tmp_path, KWS, *flags)
  assert done.returncode == status
  assert words in done.stderr.splitlines()[-1]
  assert "Traceback" not in done.stderr
