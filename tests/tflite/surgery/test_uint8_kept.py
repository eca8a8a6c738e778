"""A legacy uint8 file that stays uint8: its biases and a prompt train."""

from __future__ import annotations

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.class_outputs import add_rows

X, Y = models.separable(samples=96)
LEGACY = models.uint8_model(models.deep_model(per_channel=False), (150, 90))
KEEP = GraphOptions(uint8="keep")


def adapt(trainable, model=LEGACY, **given):
  settings = options(method="sign-m-spsa", steps=12, seed=1) | given
  return tflm_fg.adapt(
    model, X, Y, trainable=trainable, graph_options=KEEP, **settings
  )


def logits(data):
  x = np.random.default_rng(0).integers(0, 256, (16, 8)).astype("uint8")
  return open_session("litert", whole(data, unmarked(data))).run((x,))[0]


@pytest.mark.parametrize("trainable", ["bias", "first-bias", "inner-bias"])
def test_biases_train_and_no_other_byte_changes(trainable):
  result = adapt(trainable)
  before, after = ModelFile.open(LEGACY), ModelFile.open(result.model)
  assert len(after.data) == len(before.data)
  changed = np.flatnonzero(
    np.frombuffer(before.data, np.uint8) != np.frombuffer(after.data, np.uint8)
  )
  spans = [
    before.span(i)
    for i, tensor in enumerate(before.subgraph.tensors)
    if tensor.dtype == "int32" and tensor.is_constant
  ]
  assert changed.size
  assert all(any(a <= at < a + n for a, n in spans) for at in changed)
  assert (
    tflm_fg.replay(result.journal.to_bytes(), LEGACY) == result.marked_model
  )


def test_biases_learn():
  method = options(method="sign-m-spsa", steps=60, seed=1)
  report = adapt("bias", **method).report
  assert report.accuracy_after >= 2 * report.accuracy_before > 0


@pytest.mark.parametrize("gain", [False, True])
def test_a_prompt_stands_between_quantizes_and_changes_nothing(gain):
  keep = GraphOptions(uint8="keep", gain=gain)
  marked = tflm_fg.mark_trainable(LEGACY, "prompt", graph_options=keep)
  assert np.array_equal(logits(marked.data), logits(LEGACY))
  names = [op.name for op in marked.file.subgraph.operators]
  assert names[0] == names[2 + gain] == "QUANTIZE"
  assert set(names[1 : 2 + gain]) <= {"MUL", "ADD"}


def test_a_prompt_trains_and_replays():
  result = adapt("prompt")
  assert (
    tflm_fg.replay(result.journal.to_bytes(), LEGACY) == result.marked_model
  )
  assert not np.array_equal(logits(result.model), logits(LEGACY))


def test_a_file_that_was_marked_so_stays_so():
  marked = tflm_fg.mark_trainable(LEGACY, "bias", graph_options=KEEP).data
  result = adapt(None, marked)
  assert len(result.model) == len(LEGACY)


@pytest.mark.parametrize("trainable", ["head", "all", "wide-head", "kernel"])
def test_kernels_are_refused_with_what_can_train(trainable):
  refused(lambda: adapt(trainable), "uint8 weights", "--trainable=bias")


@pytest.mark.parametrize("trainable", [None, "auto"])
def test_a_choice_must_be_made(trainable):
  refused(
    lambda: adapt(trainable, method=None), "--uint8=keep needs --trainable"
  )


def test_a_class_is_added_to_the_rewritten_file():
  grown = ModelFile.open(add_rows(LEGACY, 1))
  index = grown.subgraph.outputs[0]
  assert grown.subgraph.tensors[index].shape == (1, 5)
  assert grown.subgraph.tensors[index].dtype == "uint8"
