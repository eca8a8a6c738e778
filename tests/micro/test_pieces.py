"""The pieces that a device holds are the model, and fit what is reserved."""

from __future__ import annotations

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg import micro, runtimes
from tflm_fg.runtimes import open_session
from tflm_fg.tflite import GraphOptions, ModelFile, Part
from tflm_fg.types import TflmFgError

PROMPT = GraphOptions(gain=True, common_gain=True)
CASES = [
  (models.conv_model, "head", None),
  (models.conv_model, "prompt", PROMPT),
  (models.conv_model, "wide-head", None),
  (models.dense_model, "all", None),
  (models.pointwise_model, "head", None),
]


def marked_as(make, trainable, options):
  return tflm_fg.mark_trainable(
    make(), trainable, graph_options=options, name="small"
  )


def run(data, inputs):
  file = ModelFile.open(data)
  graph = file.subgraph
  part = Part(file, graph.inputs, graph.outputs, ())
  session = open_session("litert-reference", part, "in-place")
  rows = [session.run(tuple(x[i : i + 1] for x in inputs)) for i in range(4)]
  return [np.concatenate(parts) for parts in zip(*rows)]


@pytest.mark.parametrize(("make", "trainable", "options"), CASES)
def test_the_pieces_one_after_the_other_are_the_model(make, trainable, options):
  marked = marked_as(make, trainable, options)
  pieces = micro.device_pieces(marked)
  graph = marked.file.subgraph
  shape = graph.tensors[graph.inputs[0]].shape[1:]
  random = np.random.default_rng(0)
  x = random.integers(-128, 128, (4, *shape)).astype(np.int8)
  flowing = [x]
  if pieces.prefix is not None:
    flowing = run(pieces.prefix.data, flowing)
  if pieces.flows:
    flowing += [np.repeat(v, 4, axis=0) for v in pieces.values]
  (logits,) = run(pieces.trained.data, flowing)
  answers = logits.reshape(4, -1).argmax(axis=1)
  (wanted,) = run(marked.data, [x])
  assert np.array_equal(answers, wanted.reshape(4, -1).argmax(axis=1))
  assert pieces.input_bytes == x[0].size
  for place, value in zip(pieces.places, pieces.values):
    held = pieces.trained.data[place : place + value.nbytes]
    assert held == value.tobytes()
    assert place % 4 == 0  # a bias is read and written as int32


@pytest.mark.skipif(
  not runtimes.is_installed("tflm"), reason="tflite-micro is not installed"
)
@pytest.mark.parametrize(("make", "trainable", "options"), CASES)
def test_tflm_runs_in_the_arena_that_is_reserved(make, trainable, options):
  from tflite_micro.python.tflite_micro import runtime

  pieces = micro.device_pieces(marked_as(make, trainable, options))
  for piece in (pieces.prefix, pieces.trained):
    if piece is not None:
      interpreter = runtime.Interpreter.from_bytes(
        piece.data, arena_size=piece.arena_bytes
      )
      interpreter.invoke()


def test_what_a_device_cannot_hold_is_refused_by_name():
  gains = marked_as(models.conv_model, "gain", None)
  with pytest.raises(TflmFgError, match="small: a device trains kernels"):
    micro.device_pieces(gains)
  wide = tflm_fg.mark_trainable(models.conv_model(wide=True), "head", name="w")
  with pytest.raises(TflmFgError, match="--activations=int8"):
    micro.device_pieces(wide)
