"""Claims about the corpus of the bench of wake words."""

import numpy as np
import pytest

from tools.wake import check, groups, settings
from tools.wake.corpus import Recording, Store
from tools.wake.rooms import ROOMS

FOUR = ("okay_nabu", "hey_jarvis", "alexa", "hey_mycroft")


def test_no_voice_and_no_sentence_of_the_bench_is_in_the_stock():
  assert check.shared_variants() == set()
  assert check.shared_sentences() == set()


@pytest.mark.parametrize("model", FOUR)
def test_a_model_has_ten_missed_voices_of_four_kinds_and_one_more(model):
  voices = settings.settings(model)
  kinds = {voice.kind for voice in voices}
  assert len({voice.name for voice in voices}) == 10
  assert {"accent", "whisper", "child", "far"} < kinds


def test_the_voices_to_be_kept_and_those_of_other_sounds_are_not_missed_ones():
  missed = {voice.voice for model in FOUR for voice in settings.settings(model)}
  assert missed.isdisjoint(settings.ORIGINALS)
  assert missed.isdisjoint(settings.OTHERS)


def test_no_sibling_speaks_with_the_voice_itself():
  for model in FOUR:
    for voice in settings.settings(model):
      assert voice.voice not in voice.siblings()
      assert voice.siblings()


@pytest.mark.parametrize("place", ROOMS)
def test_a_recording_depends_on_its_name_alone(place):
  spoken = np.arange(-4000, 4000, dtype="<i2").tobytes()
  one, other = (
    Recording(name=name, texts=("a",), voice="en", room=place)
    for name in ("a/0", "a/1")
  )
  assert np.array_equal(one.record([spoken]), one.record([spoken]))
  assert not np.array_equal(
    one.record([spoken])[:8000], other.record([spoken])[:8000]
  )
  assert one.utterances() == one.utterances()


def test_a_room_in_which_nobody_speaks_is_as_long_as_it_says():
  quiet = groups.negatives("noise")[0]
  assert quiet.texts == ()
  assert 60 * 16000 <= len(quiet.record([])) < 61 * 16000


def test_a_store_makes_a_group_once_and_keeps_each_array(tmp_path):
  made = [np.full((n, 2), n, np.int8) for n in (3, 1, 2)]
  asked = []

  def make():
    asked.append(1)
    return made

  for _ in range(2):
    found = Store(tmp_path).get("a/b", make)
    assert all(np.array_equal(a, b) for a, b in zip(found, made))
  assert len(asked) == 1
