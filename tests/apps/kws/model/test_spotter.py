"""A model's sound and words travel with it, or their absence is reported."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

import tflm_fg
from apps.kws.features import examples
from apps.kws.features.registry import named
from apps.kws.model import head_model, replay_set, saved_clips, shipped
from apps.kws.model.spotter import load
from apps.kws.synthetic import voices
from tests import models
from tests.apps.kws import corpora
from tflm_fg.tflite import training_metadata
from tflm_fg.types import TflmFgError


def test_the_shipped_model_is_known_from_the_json_beside_it():
  found = load(None)
  assert found.classes == voices.CLASSES
  assert found.frontend == named("micro")
  assert found.words == voices.CLASSES[:10]


def test_front_end_and_classes_travel_in_the_mark(tmp_path):
  path = tmp_path / "alone.tflite"
  path.write_bytes(load(None).to_bytes())
  found = load(str(path))
  assert (found.frontend, found.classes) == (named("micro"), voices.CLASSES)
  plain = tflm_fg.strip(found.model)
  assert plain == shipped.shipped_model()
  marked = tflm_fg.mark_trainable(
    found.model, "all"
  ).mark  # marking anew keeps them
  assert marked.classes == voices.CLASSES
  assert marked.frontend == named("micro").to_json()


def test_a_model_without_a_description_needs_flags(tmp_path):
  path = str(tmp_path / "plain.tflite")
  shutil.copy(shipped.shipped_path(), path)
  with pytest.raises(TflmFgError, match="--frontend=micro or mfcc or logmel"):
    load(path)
  with pytest.raises(TflmFgError, match="--classes=WORD,WORD"):
    load(path, "micro")
  assert load(path, "micro", voices.CLASSES).words


@pytest.mark.parametrize(
  ("frontend", "classes", "words"),
  [
    ("mfcc", voices.CLASSES, "mfcc 49x10 gives"),
    ("micro", ("yes", "no"), "has 12 outputs, 2 classes"),
    ("micro", ("yes",) * 12, "'yes' is named twice"),
  ],
)
def test_what_does_not_fit_the_model_is_refused(
  tmp_path, frontend, classes, words
):
  path = str(tmp_path / "plain.tflite")
  shutil.copy(shipped.shipped_path(), path)
  with pytest.raises(TflmFgError, match=words):
    load(path, frontend, classes)


@pytest.mark.parametrize("beside", ["[]", "no json", '{"frontend": 3}'])
def test_an_invalid_json_beside_a_model_is_ignored(tmp_path, beside):
  path = tmp_path / "plain.tflite"
  shutil.copy(shipped.shipped_path(), path)
  path.with_suffix(".json").write_text(beside)
  with pytest.raises(TflmFgError, match="does not say what makes its input"):
    load(str(path))


def test_a_mark_keeps_its_description_and_old_marks_can_be_read():
  marked = tflm_fg.mark_trainable(models.dense_model()).data
  old = training_metadata.read_mark(marked)
  assert (old.frontend, old.classes) == (None, None)
  described = training_metadata.describe_input(
    marked, {"a": [1.5, "ü"]}, ("x", "y")
  )
  found = training_metadata.read_mark(described)
  assert (found.frontend, found.classes) == ({"a": [1.5, "ü"]}, ("x", "y"))
  assert training_metadata.describe_input(described, None, None) == marked
  assert tflm_fg.strip(described) == models.dense_model()


@pytest.mark.parametrize("key", ["frontend", "classes"])
@pytest.mark.parametrize("wrong", [3, "x", [1]])
def test_a_mark_with_an_invalid_front_end_or_classes_is_refused(key, wrong):
  described = training_metadata.describe_input(
    tflm_fg.mark_trainable(models.dense_model()).data, {"q": 1}, ("qq",)
  )
  old = {"frontend": b'{"q":1}', "classes": b'["qq"]'}[key]
  new = json.dumps(wrong).encode().ljust(len(old))
  with pytest.raises(TflmFgError, match="training mark is broken"):
    training_metadata.read_mark(described.replace(old, new))


def test_describing_needs_a_mark():
  with pytest.raises(TflmFgError, match="no training mark"):
    training_metadata.describe_input(models.dense_model(), None, None)


# Features in files.


def _examples(spotter):
  return examples.read(
    str(corpora.speech()), spotter.frontend, spotter.classes, progress=False
  )


@pytest.mark.parametrize("layer", saved_clips.LAYERS)
def test_a_replay_set_comes_back_within_its_size(tmp_path, layer):
  spotter = load(None)
  found = _examples(spotter)
  kept = saved_clips.of(spotter, found.x, found.y, layer)
  limit = len(kept.to_bytes()) * 2 // 3
  few = saved_clips.largest(kept, limit)
  assert len(few.to_bytes()) <= limit
  counts = np.bincount(few.y)
  assert counts[counts > 0].max() - counts[counts > 0].min() <= 1
  path = tmp_path / "r.npz"
  path.write_bytes(few.to_bytes())
  assert path.read_bytes() == saved_clips.largest(kept, limit).to_bytes()
  read = saved_clips.load(str(path), spotter)
  assert np.array_equal(read.x, few.x)
  assert np.array_equal(read.y, few.y)
  assert read.x.dtype == np.int8
  assert read.num_bytes == path.stat().st_size


def test_a_set_for_other_classes_layers_or_sound_is_refused(tmp_path):
  spotter = load(None)
  found = _examples(spotter)
  path = tmp_path / "r.npz"
  kept = saved_clips.of(spotter, found.x, found.y, "head")
  for change, words in (
    ({"classes": ("lamp", *spotter.classes[1:])}, "holds clips of 'lamp'"),
    ({"digest": "0" * 16}, "made by other layers"),
    ({"frontend": named("mfcc")}, "made by the front end mfcc 49x10"),
  ):
    path.write_bytes(dataclasses.replace(kept, **change).to_bytes())
    with pytest.raises(TflmFgError, match=words):
      saved_clips.load(str(path), spotter)
  np.savez(path, x=found.x, y=found.y)
  with pytest.raises(TflmFgError, match="does not say its classes"):
    saved_clips.load(str(path), spotter)


NO_SETS = {
  "no clips": {"x": np.zeros((0, 64), np.int8), "y": np.zeros(0, np.int64)},
  "0-d x": {"x": np.int8(1)},
  "other width": {"x": np.zeros((4, 3), np.int8)},
  "NaN": {"x": np.full((4, 64), np.nan, np.float32)},
  "words in x": {"x": np.full((4, 64), "a")},
  "short y": {"y": np.zeros(2, np.int64)},
  "no y": {"y": np.zeros(0, np.int64)},
  "2-d y": {"y": np.zeros((4, 2), np.int64)},
  "large y": {"y": np.full(4, 99)},
  "floats in y": {"y": np.zeros(4)},
  "0-d classes": {"classes": np.array("yes")},
  "numbers for classes": {"classes": np.arange(12)},
  "list for a front end": {"frontend": np.array("[1]")},
  "no JSON": {"frontend": np.array("{")},
  "deep JSON": {"frontend": np.array("[" * 100_000)},
  "other layer": {"layer": np.array("middle")},
}


@pytest.mark.parametrize("kind", NO_SETS)
def test_a_damaged_set_is_refused_by_its_name_with_the_cure(tmp_path, kind):
  spotter = load(None)
  path = tmp_path / "r.npz"
  clips = np.zeros((4, *spotter.frontend.shape), np.int8)
  kept = saved_clips.of(spotter, clips, np.arange(4), "head")
  path.write_bytes(kept.to_bytes())
  assert len(saved_clips.load(str(path), spotter).y) == 4
  np.savez(path, **{**np.load(path), **NO_SETS[kind]})
  with pytest.raises(TflmFgError) as fault:
    saved_clips.load(str(path), spotter)
  assert str(fault.value).startswith(f"{path}: ")
  assert "make it again with tflm-fg-kws features" in str(fault.value)
  path.write_bytes(path.read_bytes()[:-99])
  with pytest.raises(TflmFgError, match="make it again with tflm-fg-kws"):
    saved_clips.load(str(path), spotter)


def test_a_limit_that_holds_nothing_is_refused():
  spotter = load(None)
  found = _examples(spotter)
  kept = saved_clips.of(spotter, found.x, found.y, "head")
  with pytest.raises(TflmFgError, match="need one or more of each of 5"):
    saved_clips.largest(kept, 100)
  with pytest.raises(TflmFgError, match="--replay_kb=1: 1000 bytes hold 0"):
    replay_set.packed(spotter, None, kept, 1)


def test_old_clips_at_the_input_join_new_ones_at_the_head():
  spotter = load(None)
  found = _examples(spotter)
  old, new = (
    saved_clips.of(spotter, found.x, found.y, layer)
    for layer in saved_clips.LAYERS
  )
  both = replay_set.packed(spotter, old, new, 90)
  assert both == replay_set.packed(spotter, new, new, 90)


def test_the_replay_set_is_found_beside_its_model(tmp_path):
  spotter = dataclasses.replace(load(None), name=str(tmp_path / "m.tflite"))
  assert replay_set.find(None, spotter) is None
  found = _examples(spotter)
  new = saved_clips.of(spotter, found.x, found.y, "head")
  path = pathlib.Path(replay_set.beside(spotter.name))
  path.write_bytes(replay_set.packed(spotter, None, new, 90))
  kept = replay_set.find(None, spotter)
  assert len(kept.y) == len(found)
  assert replay_set.find("none", spotter) is None


def test_the_head_alone_gives_the_logits_of_the_model():
  spotter = load(None)
  found = _examples(spotter)
  head = head_model.cut_off(spotter)
  alone = dataclasses.replace(spotter, model=head.model)
  inputs = head.inputs(spotter.quantized(found.x))
  assert inputs[0].nbytes == 64
  assert np.array_equal(
    alone.open().logits_of(inputs), spotter.open().logits_of(found.x)
  )
  assert tflm_fg.strip(head.graft(head.model)) == shipped.shipped_model()
