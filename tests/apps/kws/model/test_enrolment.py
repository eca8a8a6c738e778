"""New words get outputs, learn them, and leave the old words known."""

import dataclasses
import functools

import numpy as np
import pytest

from apps.kws.audio import folders
from apps.kws.audio.augment import Augment
from apps.kws.features import examples
from apps.kws.model import adaptation, enrolment, saved_clips
from apps.kws.model.spotter import load
from tests.apps.kws import corpora
from tflm_fg.types import TflmFgError

pytest.importorskip("espeakng_loader", reason="needs the extra kws")

WORDS = ("lamp", "kitchen", "coffee")
BASE = load(None)


def _read(spotter, root, **options):
  return examples.read(
    str(root), spotter.frontend, spotter.classes, progress=False, **options
  )


def _old() -> examples.Examples:
  root = corpora.speech(("go", "no", "up", "yes"), 8, "source", "test")
  return _read(BASE, root)


def test_room_is_made_and_the_old_words_sound_as_before():
  room = enrolment.make_room(BASE, WORDS)
  assert (room.taken, room.added) == ((), WORDS)
  assert room.spotter.classes == (*BASE.classes, *WORDS)
  x = _old().x
  assert np.array_equal(
    room.spotter.open().logits_of(x)[:, :12], BASE.open().logits_of(x)
  )


def test_free_outputs_are_taken_first():
  free = dataclasses.replace(
    BASE, classes=(*BASE.classes[:10], folders.FREE, folders.FREE)
  )
  room = enrolment.make_room(free, WORDS)
  assert (room.taken, room.added) == (WORDS[:2], WORDS[2:])
  assert room.spotter.classes == (*BASE.classes[:10], *WORDS)


@pytest.mark.parametrize("words", [[], ["yes"], ["a", "a"], [""], ["silence"]])
def test_words_that_are_known_or_none_are_refused(words):
  with pytest.raises(TflmFgError, match="--words"):
    enrolment.make_room(BASE, words)


@functools.cache
def _enrolled(replayed: bool) -> adaptation.SpotterResult:
  spotter = enrolment.make_room(BASE, WORDS).spotter
  replay = None
  if replayed:
    root = corpora.speech(
      ("go", "no", "up", "yes"), 20, "source", "train", other_clips=20
    )
    found = _read(BASE, root)
    replay = saved_clips.of(BASE, found.x, found.y, "head")
  fresh = _read(
    spotter,
    corpora.speech(WORDS, 10, "hungarian"),
    augment=Augment(copies=3),
  )
  test = _read(spotter, corpora.speech(WORDS, 10, "hungarian", "test"))
  new = [spotter.classes.index(w) for w in WORDS]
  job = adaptation.Job(
    spotter=spotter,
    train=fresh.take(np.isin(fresh.y, new)),
    test=test.take(np.isin(test.y, new)),
    old=_old(),
    replay=replay,
    method=enrolment.method(300, 0.0, 0),
    layer="head",
  )
  return adaptation.adapt(enrolment.anchored(job, WORDS))


@pytest.mark.parametrize("replayed", [True, False], ids=["replay", "imagined"])
def test_new_words_are_learnt_and_the_old_ones_kept(replayed):
  result = _enrolled(replayed)
  before, after = result.scores["test"]
  assert before.accuracy < 0.1 < 0.85 < after.accuracy
  before, after = result.scores["old"]
  assert after.accuracy > before.accuracy - (0.08 if replayed else 0.15)
  # Six of the old classes are in the replay set: the others are imagined.
  (note,) = [n for n in result.report["notes"] if "imagined" in n]
  assert f"no old clips of {6 if replayed else 12} classes" in note


def test_enrolling_twice_gives_the_same_bytes():
  again = _enrolled.__wrapped__(False)
  assert again.spotter.model == _enrolled(False).spotter.model
