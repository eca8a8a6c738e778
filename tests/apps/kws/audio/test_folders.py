"""The Speech Commands layout: words, speakers, noise, and what does not fit."""

import pathlib
import unicodedata

import numpy as np
import pytest

from apps.kws.audio import folders
from apps.kws.synthetic import voices
from tflm_fg.types import TflmFgError

CLASSES = ("yes", "no", "silence", "unknown")


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
  for word, count in (
    ("yes", 6),
    ("no", 6),
    ("cat", 9),
    ("_background_noise_", 2),
  ):
    (tmp_path / word).mkdir()
    for number in range(count):
      (tmp_path / word / f"{number:08x}_nohash_0.wav").touch()
  (tmp_path / "yes" / "notes.txt").touch()
  (tmp_path / ".git").mkdir()
  (tmp_path / "empty").mkdir()
  return tmp_path


def _labels(takes):
  return np.bincount([t.label for t in takes], minlength=4).tolist()


def test_the_split_is_that_of_speech_commands():
  """Speakers whose part is published: the split is by the hash alone."""
  for name, part in (
    ("right/a69b9b3e_nohash_0.wav", "validation"),
    ("right/105a0eea_nohash_0.wav", "testing"),
    ("down/0a9f9af7_nohash_2.wav", "training"),
  ):
    assert folders.split_of(f"/any/{name}") == part


def test_a_speaker_is_always_on_one_side():
  for number in range(50):
    speaker = f"{number * 77777:08x}"
    parts = {
      folders.split_of(f"{word}/{speaker}_nohash_{n}.wav")
      for word in ("yes", "no")
      for n in range(3)
    }
    assert len(parts) == 1


def test_the_parts_are_an_eighth_about_as_they_should_be():
  parts = [folders.split_of(f"{n:08x}_nohash_0.wav") for n in range(4000)]
  assert parts.count("validation") == pytest.approx(400, abs=80)
  assert parts.count("testing") == pytest.approx(400, abs=80)


def test_words_others_and_silence_get_their_classes(root):
  takes, notes = folders.takes(str(root), CLASSES)
  assert _labels(takes) == [6, 6, 6, 6]
  assert "6 of 9 recordings of other words" in notes[0]
  assert folders.takes(str(root), CLASSES)[0] == takes
  assert folders.takes(str(root), CLASSES, seed=1)[0] != takes


def test_the_parts_share_nothing_and_are_all(root):
  found = [
    {t.path for t in folders.takes(str(root), ("yes", "no", "cat"), split=s)[0]}
    for s in ("training+validation", "testing")
  ]
  whole = {t.path for t in folders.takes(str(root), ("yes", "no", "cat"))[0]}
  assert not found[0] & found[1]
  assert found[0] | found[1] == whole


@pytest.mark.parametrize(
  "name", ["silence", "_silence_", "unknown", "_unknown_"]
)
def test_folders_of_silence_and_unknown_are_taken_as_they_are(root, name):
  (root / name).mkdir()
  for number in range(4):
    (root / name / f"{number}.wav").touch()
  takes, _ = folders.takes(str(root), CLASSES)
  label = CLASSES.index(name.strip("_"))
  own = [t for t in takes if pathlib.Path(t.path).parent.name == name]
  assert len(own) == 4
  assert {t.label for t in own} == {label}


def test_a_word_that_the_model_does_not_know_is_refused_with_the_cure(root):
  with pytest.raises(TflmFgError, match="enrol --words=cat"):
    folders.takes(str(root), ("yes", "no"), name="m.tflite")


def test_folders_that_are_no_classes_are_refused(root):
  with pytest.raises(TflmFgError, match="are no classes of m"):
    folders.takes(str(root), ("lamp", "unknown"), name="m.tflite")


def test_no_folder_and_an_empty_one_are_refused(tmp_path):
  with pytest.raises(TflmFgError, match="no such folder"):
    folders.scan(str(tmp_path / "none"))
  with pytest.raises(TflmFgError, match="holds no recordings"):
    folders.scan(str(tmp_path))
  (tmp_path / "_background_noise_").mkdir()
  (tmp_path / "_background_noise_" / "a.wav").touch()
  with pytest.raises(TflmFgError, match="holds no recordings"):
    folders.scan(str(tmp_path))


def test_the_classes_of_a_folder_are_its_words_or_the_ten_keywords(root):
  assert folders.classes_of(str(root)) == ("cat", "no", "yes", "silence")
  for word in folders.KEYWORDS:
    (root / word).mkdir(exist_ok=True)
    (root / word / "1.wav").touch()
  assert folders.classes_of(str(root)) == voices.CLASSES


def test_words_with_spaces_and_accents_are_found_however_they_are_stored(
  tmp_path,
):
  for name in ("living room", unicodedata.normalize("NFD", "fény")):
    (tmp_path / name).mkdir()
    (tmp_path / name / "hang 1.WAV").touch()
  takes, _ = folders.takes(str(tmp_path), ("fény", "living room"))
  assert sorted(t.word for t in takes) == ["fény", "living room"]
