"""Episodes of a name and a seed are disjoint, counted and repeatable."""

import json
import pathlib
import sys

import numpy as np
import pytest

import tflm_fg
from apps.compare.data import digits, episodes, sampling, voices
from apps.compare.data.cache import cached
from tests.refusals import refused
from tflm_fg.types import TflmFgError

pytest.importorskip("sklearn")

NUMBERS = "digits-blur-3-5shot"


@pytest.fixture
def few(monkeypatch):
  """One test sample a word instead of forty."""
  monkeypatch.setattr(voices, "TEST_SAMPLES_PER_WORD", 1)


ROOT = pathlib.Path(__file__).parents[4]


def _rows(part) -> set[bytes]:
  return {clip.tobytes() for clip in part[0]}


@pytest.mark.parametrize(
  "name, classes", [("child-1shot", 12), ("words3-1shot", 3), (NUMBERS, 10)]
)
def test_training_and_test_samples_are_disjoint_and_counted(few, name, classes):
  made = episodes.episode(name, 1)
  shots = int(name.split("-")[-1].removesuffix("shot"))
  x, y = made.train
  assert np.bincount(y, minlength=classes).tolist() == [shots] * classes
  assert (x.dtype, y.dtype) == (np.float32, np.int64)
  assert set(made.test[1]) == set(range(classes))
  assert _rows(made.train).isdisjoint(_rows(made.test))
  report = tflm_fg.evaluate(made.model, *made.test)
  assert 0 <= report["accuracy"] <= 1


@pytest.mark.parametrize("name", ["robot-1shot", NUMBERS])
def test_a_seed_is_an_episode_and_another_seed_has_other_samples(few, name):
  one, same, other = (episodes.episode(name, seed) for seed in (1, 1, 2))
  assert one.model == same.model
  for part, again in ((one.train, same.train), (one.test, same.test)):
    assert np.array_equal(part[0], again[0])
    assert np.array_equal(part[1], again[1])
  assert _rows(one.train) != _rows(other.train)
  assert np.array_equal(one.test[0], other.test[0])


def test_a_seed_chooses_the_words():
  one, same, other = (
    [voices.NEW_WORDS[c] for c in sampling.choose(np.arange(10), 5, seed)]
    for seed in (1, 1, 2)
  )
  assert one == same != other


def test_every_built_in_name_is_understood(monkeypatch):
  """Without speaking: who is asked for what."""
  nothing = ((np.zeros((0, 1)), np.zeros(0)),) * 2
  monkeypatch.setattr(voices, "split_of", lambda *unused: nothing)
  monkeypatch.setattr(voices, "words_of", lambda *unused: nothing)
  assert len(set(episodes.NAMES)) == len(episodes.NAMES) >= 30
  for name in episodes.NAMES:
    assert episodes.episode(name, 0).name == name


@pytest.mark.parametrize(
  "name", ["", "child", "martian-5shot", "child-0shot", "digits-blur-6-5shot"]
)
def test_an_unknown_name_is_refused_with_the_forms_there_are(name):
  refused(lambda: episodes.episode(name, 0), "is unknown; need VOICE")


def test_more_words_or_images_than_there_are_are_refused():
  refused(lambda: episodes.episode("words11-1shot", 0), "ways=11")
  refused(lambda: episodes.episode("digits-blur-1-99shot", 0), "99 shots")
  refused(lambda: episodes.episode(NUMBERS, -1), "seed=-1")


def test_kept_samples_are_read_again_and_damaged_ones_made_again(tmp_path):
  calls = []

  def make():
    calls.append(1)
    return np.ones((2, 3), np.float32), np.arange(2)

  folder = str(tmp_path / "kept")
  for _ in range(2):
    x, y = cached(folder, "a", make)
    assert x.tolist() == [[1] * 3] * 2
    assert y.tolist() == [0, 1]
  assert len(calls) == 1
  (tmp_path / "kept" / "a.npz").write_bytes(b"half a file")
  cached(folder, "a", make)
  cached(folder, "a", make)
  assert len(calls) == 2
  cached(None, "a", make)
  assert len(calls) == 3


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / "file").write_bytes(b"")
  make = lambda: (np.ones((1, 1)), np.zeros(1, int))  # noqa: E731
  with pytest.raises(TflmFgError, match="no folder; name another"):
    cached(str(tmp_path / "file" / "kept"), "a", make)


def test_an_episode_from_the_cache_is_the_same(few, tmp_path):
  spoken, _, read = (
    episodes.episode("words2-1shot", 3, cache)
    for cache in (None, str(tmp_path), str(tmp_path))
  )
  for part in ("train", "test"):
    for array, again in zip(getattr(spoken, part), getattr(read, part)):
      assert array.dtype == again.dtype
      assert np.array_equal(array, again)


def test_the_three_parts_of_the_digits_share_no_image():
  held = digits.parts(*digits.images())
  assert sum(len(part[1]) for part in held) == 1797
  train, adapt, test = (_rows(part) for part in held)
  assert train.isdisjoint(adapt)
  assert train.isdisjoint(test)
  assert adapt.isdisjoint(test)


def test_the_digits_network_has_its_stated_accuracy():
  about = ROOT / "apps" / "compare" / digits.ABOUT
  known = json.loads(about.read_text())["accuracy"]["test"]
  held = digits.parts(*digits.images())
  model = digits.shipped_model()
  measured = tflm_fg.evaluate(model, *held.test)["accuracy"]
  assert known["images"] == len(held.test[1])
  # Other kernels round otherwise: an image or two.
  assert abs(measured - known["int8"]) < 0.01
  assert known["int8"] > 0.97
  assert len(model) < 60_000


def _pool(classes=(0, 1, 3), each=6):
  y = np.repeat(classes, each)
  x = np.random.default_rng(0).random((len(y), 8, 8, 1), np.float32)
  return x, y


def test_a_users_samples_keep_the_numbers_of_the_models_outputs():
  made = episodes.sampled("mine", digits.shipped_model(), _pool(), 2, 3, 0)
  assert np.bincount(made.train[1]).tolist() == [2, 2, 0, 2]
  assert np.bincount(made.test[1]).tolist() == [3, 3, 0, 3]
  assert made.model == digits.shipped_model()


def test_ways_of_a_users_samples_get_a_fresh_head():
  model = digits.shipped_model()
  made = episodes.sampled("mine", model, _pool(), 2, None, 0, ways=2)
  assert np.bincount(made.train[1]).tolist() == [2, 2]
  assert np.bincount(made.test[1]).tolist() == [4, 4]
  assert tflm_fg.evaluate(made.model, *made.test)["accuracy"] <= 1
  refused(lambda: episodes.sampled("mine", model, _pool(), 2, 9, 0), "need 11")


def test_missing_scikit_learn_is_refused_with_the_cure(monkeypatch):
  monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
  refused(
    lambda: episodes.episode(NUMBERS, 0), "pip install 'tflm-fg[compare]'"
  )
