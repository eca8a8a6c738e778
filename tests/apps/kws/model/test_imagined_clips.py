"""Imagined clips are such that the old head takes them for their class."""

import numpy as np
import pytest

from apps.kws.model import head_model, imagined_clips
from apps.kws.model.saved_clips import Kept
from apps.kws.model.spotter import load
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.metrics import logits_of

SPOTTER = load(None)
OLD = [2, 5, 9]


@pytest.fixture(scope="module")
def head():
  return head_model.cut_off(SPOTTER)


@pytest.fixture(scope="module")
def new(head):
  """Clips of two new words, at the head's input."""
  mark = head.marked.mark
  spec = tensor_spec(head.marked.data, mark.head_input)
  random = np.random.default_rng(0)
  shape = (40, *spec.shape[1:])
  x = np.clip(random.normal(-60, 30, shape), -128, 127).astype(np.int8)
  return Kept(
    x=x,
    y=np.arange(40) % 2 + 10,
    classes=SPOTTER.classes,
    frontend=SPOTTER.frontend,
    layer="head",
    digest="",
  )


def test_the_head_takes_every_imagined_clip_for_its_class(head, new):
  made = imagined_clips.clips(head, new, OLD, seed=0)
  assert set(made.y) <= set(OLD)
  assert len(made.y) > 30
  part = whole(head.model, unmarked(head.model))
  heard = logits_of(open_session("litert", part), (made.x,)).argmax(axis=1)
  # On the input's grid a clip at the border may fall to the other side.
  assert (heard == made.y).mean() > 0.97


def test_a_seed_gives_the_same_clips_and_another_seed_others(head, new):
  one, two, other = (
    imagined_clips.clips(head, new, OLD, seed=seed).x for seed in (0, 0, 1)
  )
  assert np.array_equal(one, two)
  assert not np.array_equal(one[:9], other[:9])
