"""Clips and features of the domains, and the model that ships with them."""

import pathlib

import numpy as np
import pytest

import tflm_fg
from apps.kws.model import shipped
from apps.kws.synthetic import features, voices
from tflm_fg.types import TflmFgError

_MODEL = pathlib.Path(shipped.shipped_path())


def _plans(split: str, name: str = "whisper", count: int = 40, seed: int = 0):
  return [
    voices.plan(voices.get(name), split, label, index, seed)
    for index in range(count)
    for label in range(len(voices.CLASSES))
  ]


def _spoken(split: str, name: str) -> set:
  plans = _plans(split, name, count=200)
  return {plan.utterance for plan in plans if plan.utterance is not None}


@pytest.mark.parametrize("name", list(voices.DOMAINS))
def test_no_split_shares_an_utterance_with_another(name):
  """What a model adapts to is never what it is tested on."""
  train, adapt, test = (_spoken(split, name) for split in voices.SPLITS)
  assert train.isdisjoint(adapt)
  assert train.isdisjoint(test)
  assert adapt.isdisjoint(test)


def test_unseen_source_voices_are_not_in_the_training_voices():
  """The source's test speakers are new to the trained model."""
  source = voices.get("source")
  assert set(source.voices).isdisjoint(source.train_voices)


@pytest.mark.parametrize("name", list(voices.DOMAINS))
def test_a_clip_is_one_second_of_int16(name):
  """16000 samples, within full scale, and never empty."""
  for clip in features.clips(_plans("test", name, count=1)):
    assert clip.shape == (16_000,)
    assert clip.dtype == np.int16
    assert np.abs(clip.astype(int)).max() > 5


def test_a_clip_does_not_depend_on_which_others_are_made():
  """The address (seed, domain, split, class, index) is the clip."""
  plans = _plans("adapt", count=2)
  together = list(features.clips(plans))
  alone = list(features.clips(plans[::-5]))
  for clip, same in zip(together[::-5], alone, strict=True):
    assert np.array_equal(clip, same)


def test_another_seed_is_another_corpus():
  """No clip of seed 0 comes back in seed 1."""
  first = {clip.tobytes() for clip in features.clips(_plans("test", count=1))}
  plans = _plans("test", count=1, seed=1)
  assert first.isdisjoint(clip.tobytes() for clip in features.clips(plans))


def test_silence_and_unknown_are_present_and_the_classes_balanced():
  """Twelve classes take turns; the last two are silence and unknown."""
  x, y = features.make("source", "test", 2, progress=False)
  assert x.shape == (24, 49, 40, 1)
  assert (x.dtype, y.dtype) == (np.float32, np.int32)
  assert y.tolist() == list(range(12)) * 2
  assert voices.CLASSES[-2:] == ("silence", "unknown")


def test_silence_has_no_words_and_unknown_none_of_the_keywords():
  """Each label is what its clip holds."""
  for plan in _plans("train", "source", count=60):
    label = plan.address[3]
    if label == voices.SILENCE:
      assert plan.utterance is None
    elif label == voices.UNKNOWN:
      assert plan.utterance.text not in voices.CLASSES
    else:
      assert plan.utterance.text == voices.CLASSES[label]


def test_a_set_goes_on_where_another_ends():
  """first_index continues a smaller set to a larger one."""
  whole, _ = features.make("child", "adapt", 2, progress=False)
  rest, _ = features.make("child", "adapt", 1, first_index=1, progress=False)
  assert np.array_equal(whole[12:], rest)


def test_an_unknown_domain_is_refused_in_one_line():
  """The error lists the domains there are."""
  with pytest.raises(TflmFgError) as caught:
    features.make("martian", "test", 1)
  assert str(caught.value) == (
    "domain: need one of source, whisper, child, hungarian, accent, "
    "microphone; got 'martian'"
  )


def test_an_unknown_split_is_refused_in_one_line():
  """The error lists the splits there are."""
  with pytest.raises(TflmFgError, match="need one of train, adapt, test; got"):
    features.make("child", "holdout", 1)


def _accuracy(name: str, clips_per_class: int) -> float:
  x, y = features.make(name, "test", clips_per_class, 7, progress=False)
  return float(tflm_fg.evaluate(_MODEL.read_bytes(), x, y)["accuracy"])


def test_the_shipped_model_knows_voices_it_never_heard():
  """At least 90 % on unseen source voices, on another corpus's clips."""
  assert _accuracy("source", 10) >= 0.90


def test_the_shipped_model_has_something_to_learn():
  """A whisper into a cheap microphone is at least 10 points harder."""
  assert _accuracy("whisper", 20) <= _accuracy("source", 20) - 0.10
