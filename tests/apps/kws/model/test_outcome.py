"""What is said of clips that nobody recorded, and of those of before."""

import dataclasses

import numpy as np
import pytest

from apps.kws.features.examples import Examples
from apps.kws.model import adaptation, outcome, saved_clips
from apps.kws.model.spotter import load
from tflm_fg.types import TflmFgError

SPOTTER = load(None)
SHAPE = SPOTTER.input().shape[1:]


def _clips(classes, each=6):
  y = np.repeat(np.array(classes), each)
  x = np.random.default_rng(0).uniform(0, 3, (len(y), *SHAPE))
  return Examples(x.astype(np.float32), y, np.arange(len(y)), np.zeros(len(y)))


def _job(**given):
  return adaptation.Job(
    spotter=SPOTTER,
    train=_clips([1, 2]),
    method=adaptation.method_of("closed-form", steps=5),
    trainable="head",
    **given,
  )


def _kept(classes, layer):
  clips = _clips(classes)
  return saved_clips.of(SPOTTER, clips.x, clips.y, layer)


def test_words_that_nobody_said_are_named_and_free_outputs_are_not(capsys):
  outcome.print_gaps(_job())
  said = capsys.readouterr().out
  others = [w for n, w in enumerate(SPOTTER.classes) if n not in (1, 2)]
  assert said == f"no clips of 10 of 12 classes: {', '.join(others)}\n"
  outcome.print_gaps(_job(replay=_kept(range(12), "input")))
  assert capsys.readouterr().out == ""
  free = dataclasses.replace(SPOTTER, classes=(*SPOTTER.classes[:11], "_free_"))
  outcome.print_gaps(dataclasses.replace(_job(), spotter=free))
  assert "_free_" not in capsys.readouterr().out


@pytest.mark.parametrize("layer", ["input", "head"])
def test_old_clips_are_replayed_and_scored_by_the_library(layer):
  job = _job(replay=_kept([3, 4], layer), old=_clips([5, 6]), layer=layer)
  result = adaptation.adapt(job)
  report = result.report
  rows = {row["name"]: row for row in report["classes"]}
  words = SPOTTER.classes
  assert rows[words[3]]["replay_samples"] == 6
  assert rows[words[3]]["train_samples"] == 0
  assert rows[words[1]]["train_samples"] == 6
  told = report["forgetting"]
  assert told["measured_on"] == "old_data"
  scored = {r["class"] for r in told["classes"] if r["scored_samples"]}
  assert scored == {5, 6}
  before, _ = result.scores["old"]
  assert told["accuracy_before"] == pytest.approx(before.accuracy)


def test_clips_of_one_word_leave_the_others_as_they_were_heard(capsys):
  job = dataclasses.replace(_job(), train=_clips([1], 8))
  result = adaptation.adapt(job)
  outcome.print_outcome(result)
  said = capsys.readouterr().out
  assert "ESTIMATE of what is forgotten, from imagined inputs" in said
  told = result.report["forgetting"]
  lost = told["accuracy_before"] - told["accuracy_after"]
  assert lost < 0.2 and len(result.report["absent_classes"]) == 11
  assert result.report["classes"][1]["name"] == SPOTTER.classes[1]


def test_clips_of_one_word_are_refused_where_nothing_keeps_the_others():
  job = dataclasses.replace(_job(absent_classes="ignore"), train=_clips([1], 8))
  with pytest.raises(TflmFgError, match="clips of one class"):
    adaptation.adapt(job)
