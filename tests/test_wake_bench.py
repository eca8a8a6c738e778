"""Claims about the corpus of the bench of wake words."""

import json

import numpy as np
import pytest

from tools.wake import check, groups, results, runs, settings
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


def result(**changes):
  """What a run gives, made up."""
  before = {
    "own": 0.1,
    "siblings": 0.2,
    "originals": 0.6,
    "negatives": [4, 2.0],
    "noise": [0, 0.5],
    "ordinary": [1, 1.0],
    "own_negatives": [0, 0.1],
  }
  after = {**before, "own": 0.9, "siblings": 0.8, "negatives": [6, 2.0]}
  return {
    "job": "alexa/en+f3/far/10/0",
    "model": "alexa",
    "kind": "far",
    "count": 10,
    "draw": 0,
    "refused": "",
    "cutoff": [0.9, 0.5],
    "bytes": 300,
    "seconds": 4.0,
    "before": before,
    "after": after,
    **changes,
  }


def test_a_table_has_means_and_false_accepts_of_all_hours_together():
  other = {**result()["after"], "own": 0.7}
  runs = [result(), result(job="alexa/en+f3/far/10/1", draw=1, after=other)]
  first = results.table(runs).split("\n\n")[0].splitlines()[2]
  assert first == (
    "| alexa | 2 | 0.10 to 0.80 | 0.20 to 0.80 | 0.60 to 0.60 | 1.6 to 2.4 | "
    "1.0 to 1.0 | 0.0 to 0.0 | 0 |"
  )
  assert "| 0.70 to 0.90 |" in results.table(runs)


def test_what_was_refused_is_counted():
  refused = result(refused="too few")
  assert results.table([refused]).split("\n\n")[0].endswith("| 1 |")
  assert "REFUSED: too few" in results.line(refused)


def test_results_are_read_by_their_jobs_and_none_is_no_fault(tmp_path):
  path = tmp_path / "results.jsonl"
  assert results.read(path) == {}
  path.write_text(json.dumps(result()) + "\n")
  assert results.read(path) == {"alexa/en+f3/far/10/0": result()}


def test_a_draw_takes_as_many_recordings_as_asked_and_draws_differ():
  voice = settings.settings("alexa")[0]
  chosen = [
    runs.Job(setting=voice, count=10, draw=draw).chosen() for draw in range(3)
  ]
  assert all(len(set(one)) == 10 for one in chosen)
  assert len({tuple(sorted(one)) for one in chosen}) == 3
  assert max(map(max, chosen)) < groups.TRAIN
