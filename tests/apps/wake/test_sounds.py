"""Sounds keep their names and times, and belong to one flag alone."""

import numpy as np
import pytest

from apps.kws.audio import files
from apps.wake import scores, sounds
from tflm_fg.detection import Rule
from tflm_fg.types import TflmFgError

RULE = Rule(cutoff=0.5, window=1)


def noise(seconds, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(0, 100, int(seconds * 16_000)).astype(np.int16)


def test_times_in_a_long_file_are_those_of_the_file(tmp_path):
  path = str(tmp_path / "tv.wav")
  files.write(path, noise(130))
  found, notes = sounds.negatives(path, False)
  assert [one.name for one in found] == ["tv.wav", "tv.wav"]
  assert not notes
  # A step that ends as the second part begins, behind what is put before it.
  starts = [
    scores.Played(one.name, np.zeros((1, 1), np.uint8), one.lead_seconds)
    for one in found
  ]
  step = round(1.5 / RULE.step_seconds) - 1
  assert [round(one.seconds(step, RULE)) for one in starts] == [0, 60]


def test_a_file_whose_name_looks_like_a_part_is_not_one(tmp_path):
  files.write(str(tmp_path / "take #2.wav"), noise(3))
  (found,), _ = sounds.negatives(str(tmp_path), False)
  assert (found.name, found.lead_seconds) == ("take #2.wav", 1.5)


def test_recordings_come_with_what_a_user_should_know(tmp_path):
  files.write(str(tmp_path / "a.wav"), noise(2))
  files.write(str(tmp_path / "mute.wav"), np.zeros(16_000, np.int16))
  found, notes = sounds.positives(str(tmp_path), False)
  assert [one.name for one in found] == ["a.wav"]
  assert any("mute.wav" in note for note in notes)


def test_a_folder_belongs_to_one_flag_however_it_is_spelt(tmp_path):
  (tmp_path / "a").mkdir()
  one, other = str(tmp_path / "a"), f"{tmp_path}/./a/"
  sounds.require_apart({"positive": one, "negative": None})
  with pytest.raises(TflmFgError, match="--positive and by --negative"):
    sounds.require_apart({"positive": one, "negative": other})
