"""A head is accepted only if it does no harm, and what was wrong is said."""

import dataclasses
import functools

import numpy as np
import pytest

from tests.detection import heads
from tflm_fg.detection import Numbers, Settings, adapt, detections
from tflm_fg.detection.guard import why_not
from tflm_fg.types import TflmFgError

SETTINGS = Settings(
  settle_seconds=0.4, steps=30, refresh=15, hard_steps=600, heavier=(3.0,)
)
SHORT = {"steps": 5, "heavier": ()}
WORD, OTHER = (1, 2, 3), (7, 8)


def model(bias=4000, kernel=40, **changed):
  """A head that hears WORD, and of VOICE too little."""
  weights = np.zeros((1, heads.FEATURES), np.int8)
  weights[0, list(WORD)] = kernel
  # 3 inputs at 68 steps without the word; 128 with it.
  level = -kernel * 3 * 68
  changed = {"weight_scales": (0.05,)} | changed
  own = heads.head(weights=weights, bias=np.int32([level - bias]), **changed)
  return heads.Model(own)


def long(count, word, seed):
  return heads.streams(count, word, steps=300, seed=seed)


VOICE = heads.streams(6, (1, 2), seed=1)  # says less of it
NEGATIVES = long(6, OTHER, 2) + long(6, None, 3)
KEEPERS = heads.streams(6, WORD, seed=4)


def adapted(
  own=None, positives=VOICE, negatives=NEGATIVES, keepers=KEEPERS, **k
):
  settings = dataclasses.replace(SETTINGS, **k.pop("settings", {}))
  return adapt(
    own or model(),
    positives,
    negatives,
    keepers,
    heads.RULE,
    settings,
    **k,
  )


@functools.cache
def usual():
  return adapted()


def heard(own, outcome, streams):
  rule = dataclasses.replace(heads.RULE, cutoff=outcome.cutoff)
  head = outcome.weights, outcome.bias
  found = [detections(own.head_outputs(s, *head), rule) for s in streams]
  return sum(len(f) > 0 for f in found)


def unchanged(outcome, own):
  return (
    (outcome.weights == own.head.weights).all()
    and (outcome.bias == own.head.bias).all()
    and outcome.cutoff == heads.RULE.cutoff
    and not outcome.accepted
  )


def test_a_missed_voice_is_heard_and_others_are_kept():
  own, found = model(), usual()
  assert found.accepted
  assert found.reason.startswith("accepted, with ")
  assert found.before.heard == 0
  assert found.after.heard >= 5
  assert found.after.keepers_heard >= found.before.keepers_heard
  assert found.after.events <= found.before.events
  assert heard(own, found, heads.streams(20, (1, 2), seed=11)) >= 18
  assert heard(own, found, heads.streams(20, WORD, seed=12)) == 20
  assert heard(own, found, long(6, OTHER, 13)) == 0
  assert found.doubts == ()


def test_two_runs_with_a_seed_give_the_same_outcome():
  one, other = adapted(settings=SHORT), adapted(settings=SHORT)
  assert one.weights.tobytes() == other.weights.tobytes()
  assert one.tried == other.tried
  assert (one.reason, one.cutoff) == (other.reason, other.cutoff)


def test_noise_in_place_of_the_word_is_refused():
  own = model()
  found = adapted(own, positives=heads.streams(5, None, seed=21))
  assert unchanged(found, own)
  assert "do not sound like its word" in found.reason


def test_another_word_in_place_of_the_word_is_refused():
  own = model()
  found = adapted(own, positives=heads.streams(5, (9, 10), seed=21))
  assert unchanged(found, own)
  assert "do not sound like its word" in found.reason
  assert not found.tried


def test_a_word_that_is_among_the_negatives_cannot_be_learned():
  own = model()
  found = adapted(
    own,
    negatives=NEGATIVES + heads.streams(12, (1, 2), seed=31, steps=80),
    settings={"least_likeness": 0.0},
  )
  assert unchanged(found, own)
  assert found.reason.startswith("refused, since nothing that was tried is fit")
  assert len(found.tried) == 2
  assert all(a.why_not for a in found.tried)


def test_one_wrong_recording_among_others_is_named():
  positives = VOICE[:4] + [np.full((40, heads.FEATURES), -100, np.int8)]
  found = adapted(positives=positives, settings=SHORT | {"least_likeness": 0.5})
  assert [d for d in found.doubts if d.startswith("positive 4 does not sound")]


def test_a_voice_that_is_heard_already_comes_to_no_harm():
  own = model(bias=2000)
  voice = heads.streams(6, WORD, seed=50)
  found = adapted(own, positives=voice)
  assert found.before.heard == 6
  assert found.after.heard >= 6 or not found.accepted
  assert heard(own, found, heads.streams(20, WORD, seed=51)) == 20


def test_a_voice_that_cannot_be_heard_better_is_told_so():
  own = model(bias=2000)
  voice = heads.streams(6, WORD, seed=50)
  found = adapted(own, positives=voice, settings={"learning_rate": 0.001})
  assert unchanged(found, own)
  assert "hears all 6 recordings already" in found.reason


def test_what_is_scored_was_not_trained_on():
  """Names keep streams together: a voice is in one part."""
  names = ["a"] * 6 + ["b"] * 6
  found = adapted(negative_names=names, keeper_names=["c"] * 6, settings=SHORT)
  assert "there is but one voice to keep" in found.doubts[-1]
  with pytest.raises(TflmFgError, match="2 names for 12 streams"):
    adapted(negative_names=["a", "b"])


def test_phrases_alike_are_trained_on_and_counted_apart():
  """They are heard by the file, and would hide false accepts in other sound."""
  near = long(4, (1, 2, 3), 60)
  found = adapted(alike=near, settings=SHORT)
  assert found.before.alike_events == 4
  assert 0.03 < found.before.alike_hours < 0.04
  apart = {"alike_events": 0, "alike_hours": 0.0}
  assert dataclasses.replace(found.before, **apart) == usual().before
  assert found.after != adapted(settings=SHORT).after
  with pytest.raises(TflmFgError, match="2 names for 4 streams"):
    adapted(alike=near, alike_names=["a", "b"])


def test_one_recording_is_enough_and_said_to_be_little():
  found = adapted(positives=VOICE[:1], settings=SHORT)
  assert found.before.positives == 1
  assert any("but one recording" in d for d in found.doubts)


def test_equal_recordings_count_as_one():
  found = adapted(positives=[VOICE[0]] * 4, settings=SHORT)
  assert any("but one recording" in d for d in found.doubts)


def test_one_long_stream_of_negatives_is_cut():
  found = adapted(negatives=[np.concatenate(NEGATIVES)])
  assert found.accepted
  # 3600 steps of 0.1 s, less the warm-up of each piece
  assert 0.08 < found.before.hours < 0.1


def test_without_keepers_it_says_that_nothing_looked_after_them():
  found = adapted(keepers=[], settings=SHORT)
  assert np.isnan(found.after.keepers_recall)
  assert any("no other voices to keep" in d for d in found.doubts)


def test_progress_is_told():
  lines = []
  adapted(progress=lines.append, settings={"heavier": ()})
  assert lines[0] == "scoring the model as it is"
  assert any(line.startswith("training on everything") for line in lines)


@pytest.mark.parametrize(
  "changed, text",
  [
    ({"positives": []}, "no positives"),
    ({"negatives": []}, "no negatives"),
    ({"positives": [VOICE[0][:3]]}, "positive 0: it has 3 steps"),
    ({"own": model(output_dtype="float32", output_scale=0.0)}, "gives float32"),
    ({"own": model(output_scale=1 / 128)}, "a scale of 0.0078125"),
  ],
)
def test_what_cannot_be_guarded_is_refused_in_one_line(changed, text):
  with pytest.raises(TflmFgError, match=text) as caught:
    adapted(**changed)
  assert "\n" not in str(caught.value)


BEFORE = Numbers(
  cutoff=0.9,
  heard=2,
  positives=10,
  keepers_heard=8,
  keepers=10,
  events=1,
  hours=1.0,
  estimated_an_hour=1.5,
  shortfall=3.0,
)
BETTER = dataclasses.replace(BEFORE, heard=9, shortfall=1.0)


@pytest.mark.parametrize(
  "changed, text",
  [
    ({}, ""),
    ({"events": 2}, "2 false accepts in 1.00 hours, 1 before"),
    ({"estimated_an_hour": 2.5}, ""),
    ({"estimated_an_hour": 2.6}, "near misses say 2.6 false accepts an hour"),
    ({"estimated_an_hour": float("nan")}, ""),
    ({"alike_events": 15, "alike_hours": 1.0}, ""),
    (
      {"alike_events": 16, "alike_hours": 1.0},
      "16 false accepts in 1.00 hours of phrases that sound like the word",
    ),
    ({"heard": 3, "estimated_an_hour": 2.5}, ""),
    ({"heard": 2, "estimated_an_hour": 1.6}, "near misses say 1.6"),
    (
      {"heard": 2, "alike_events": 1, "alike_hours": 1.0},
      "1 false accepts in 1.00 hours of phrases",
    ),
    ({"keepers_heard": 7}, "7 of 10 voices that it should keep"),
    ({"heard": 0}, "none of the 10 recordings is heard"),
    ({"heard": 1}, "1 of 10 recordings are heard, 2 before"),
    ({"heard": 2, "shortfall": 3.0}, "2 of 10 recordings are heard, 2 before"),
    ({"heard": 2, "shortfall": 2.9}, ""),
  ],
)
def test_the_guard_says_what_speaks_against_a_head(changed, text):
  after = dataclasses.replace(BETTER, **changed)
  assert why_not(BEFORE, after, SETTINGS).startswith(text)
  assert bool(why_not(BEFORE, after, SETTINGS)) == bool(text)


def test_every_weight_of_negatives_is_tried_and_what_hears_most_is_taken():
  found = adapted(settings={"heavier": (3.0, 10.0)})
  assert len({a.negative_seconds for a in found.tried}) == 3
  assert found.after.heard == max(a.numbers.heard for a in found.tried)


def test_the_cutoff_goes_down_as_far_as_nothing_speaks_against_it():
  found = usual()
  assert found.accepted
  assert found.cutoff < heads.RULE.cutoff
  assert "in place of" in found.reason
  assert not why_not(found.before, found.after, SETTINGS)
  assert found.cutoff >= 0.1
