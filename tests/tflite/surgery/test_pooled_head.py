"""A head over positions that is pooled behind it reads one vector instead."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg import journal
from tflm_fg.runtimes.registry import is_installed, open_session
from tflm_fg.tflite.choice.outputs import with_output
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.ready import ready

RANDOM = np.random.default_rng(0)
Y = np.arange(60) % 3
X = RANDOM.normal(2, 1, (3, 6, 5, 2))[Y] + RANDOM.normal(0, 0.5, (60, 6, 5, 2))
X = X.clip(0, 4).astype(np.float32)
KINDS = ("average", "mean", "mean-kept")
KEEP = GraphOptions(pooled_head="keep")


def pooled_model(
  kind, wide=False, per_channel=True, relu=False, size=1, window=(6, 5)
):
  """x [1, 6, 5, 2] -> two conv -> a head of 3 at positions, pooled."""
  net = models.Network(6, wide, per_channel)
  x = net.activation("x", (1, 6, 5, 2), 4.0, models.IMAGE)
  flow = net.convolution(net.convolution(x, 4, "first"), 6, "second")
  reach = 4.0 if kind == "average" else 6.0  # a MEAN has a scale of its own
  flow = net.convolution(flow, 3, "head", size=size, relu=relu, reach=reach)
  if kind != "average":
    flow = net.mean(flow, keep=kind == "mean-kept")
  else:
    pooled = net.activation("pooled", (1, 1, 1, 3), 4.0, flow.zero_point)
    pool = schema.Pool2DOptionsT()
    pool.filterHeight, pool.filterWidth = window
    pool.strideH, pool.strideW = 6, 5
    pool.padding = schema.Padding.VALID
    net.operator("AVERAGE_POOL_2D", [flow.index], pooled.index, pool, 3)
    flow = pooled
  if kind != "mean":
    scale, zero = flow.scale, flow.zero_point
    shape = net.tensor("shape", (2,), "int32", data=np.array([1, 3]))
    index = net.tensor("flat", (1, 3), net.flow_type, scale, zero)
    shaping = schema.ReshapeOptionsT()
    net.operator("RESHAPE", [flow.index, shape], index, shaping, 1)
    flow = models.Flow(index, (1, 3), scale, zero)
  return net


def finished(kind, **settings):
  net = pooled_model(kind, **settings)
  return net.finish([0], [int(net.graph.operators[-1].outputs[0])])


def logits(data, runtime="litert-reference"):
  file = ModelFile.of(data)
  session = open_session(runtime, whole(file, unmarked(file)))
  (found,) = session.run((grid(file, X),))
  return found.reshape(len(X), -1).astype(int)


def grid(file, x):
  tensor = file.subgraph.tensors[file.subgraph.inputs[0]]
  limits = np.iinfo(tensor.dtype)
  steps = np.rint(x / tensor.scales[0]) + tensor.zero_points[0]
  return steps.clip(limits.min, limits.max).astype(tensor.dtype)


def ready_of(data, graph_options=None):
  file = ModelFile.open(data, "m.tflite")
  return file, ready(file, graph_options or GraphOptions())


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("wide", [False, True], ids=["int8", "int16x8"])
@pytest.mark.parametrize("kind", KINDS)
def test_pooling_first_is_the_same_function_in_every_engine(
  kind, wide, per_channel
):
  data = finished(kind, wide=wide, per_channel=per_channel)
  file, (after, notes) = ready_of(data)
  names = [op.name for op in after.subgraph.operators]
  assert names[2] in ("MEAN", "AVERAGE_POOL_2D")
  assert names[3:] == ["CONV_2D", "RESHAPE"]
  assert "at 6x5 positions" in notes[0]
  want, got = logits(file), logits(after)
  assert np.ptp(want, axis=0).min() > 5
  assert np.abs(want - got).max() <= 2
  if is_installed("tflm"):
    assert np.abs(logits(after, "tflm") - got).max() <= 1
  again = ready(after, GraphOptions())
  assert again.file is after and not again.notes


def with_axes(axes):
  net = pooled_model("mean")
  tensor = next(t for t in net.graph.tensors if t.name == b"axes")
  raw = np.array(axes, np.int32).tobytes()
  net.model.buffers[tensor.buffer].data = np.frombuffer(raw, np.uint8)
  return net.finish([0], [len(net.graph.tensors) - 1])


def also_given():
  net = pooled_model("mean")
  made = int(net.graph.operators[2].outputs[0])
  return net.finish([0], [len(net.graph.tensors) - 1, made])


def read_twice():
  net = pooled_model("mean")
  made = models.Flow(int(net.graph.operators[2].outputs[0]), (1, 6, 5, 3), 1, 0)
  net.mean(made)
  return net.finish([0], [int(net.graph.operators[3].outputs[0])])


LEFT = {
  "activation": finished("mean", relu=True),
  "kernel of 3x3": finished("mean", size=3),
  "part of the map": finished("average", window=(3, 5)),
  "other axes": with_axes([1, 3]),
  "read twice": read_twice(),
}


def test_a_legacy_uint8_file_is_rewritten_and_then_pooled_first():
  legacy = models.uint8_model(finished("average", per_channel=False))
  marked = tflm_fg.mark_trainable(legacy, "head")
  notes = " ".join(marked.notes)
  assert "uint8 rewritten" in notes and "were pooled" in notes
  assert re.search(r"by at most [0-4] steps of the logits, on", notes)
  away = tflm_fg.mark_trainable(legacy, "bias")
  assert "were pooled" not in " ".join(away.notes)


@pytest.mark.parametrize("kind", LEFT)
def test_other_ends_are_left_as_they_are(kind):
  file, (after, notes) = ready_of(LEFT[kind])
  assert after is file and not notes


def test_outputs_that_the_file_gives_at_positions_are_not_pooled_away():
  given = with_output(ModelFile.open(also_given()), 0)
  assert ready(given, GraphOptions()).file is given


@pytest.mark.parametrize("trainable", ["head", "wide-head", "all", "^head"])
def test_a_head_that_trains_is_rewritten_and_the_change_is_measured(trainable):
  marked = tflm_fg.mark_trainable(finished("average"), trainable)
  notes = " ".join(marked.notes)
  assert "were pooled" in notes
  assert "steps of the logits" in notes


@pytest.mark.parametrize(
  "trainable", ["bias", "first-bias", "inner-bias", "prompt", "^first"]
)
def test_what_trains_no_head_leaves_the_order(trainable):
  data = finished("average")
  marked = tflm_fg.mark_trainable(data, trainable)
  names = [op.name for op in marked.file.subgraph.operators]
  assert names[-3:] == ["CONV_2D", "AVERAGE_POOL_2D", "RESHAPE"]
  assert "pooled" not in " ".join(marked.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_such_a_head_is_fitted_exactly_and_replayed(kind):
  data = finished(kind)
  result = tflm_fg.adapt(data, X, Y, trainable="head")
  assert result.report.method == "closed-form"
  assert result.report.forward_passes < 130
  assert result.report.loss_after < result.report.loss_before
  assert tflm_fg.replay(result.journal, data) == result.marked_model
  if is_installed("tflm"):
    away = logits(result.model, "tflm") - logits(result.model)
    assert np.abs(away).max() <= 1


def test_layers_before_it_are_replayed_on_the_file_as_it_was():
  data = finished("mean")
  quick = options(method="sign-m-spsa", steps=3)
  result = tflm_fg.adapt(data, X, Y, trainable="first-bias", **quick)
  kept = journal.parse(result.journal.to_bytes())
  assert kept.plan.graph_options.pooled_head == "keep"
  assert tflm_fg.replay(kept, data) == result.marked_model


def test_keeping_needs_a_known_word_and_a_choice_of_layers():
  refused(lambda: GraphOptions(pooled_head="no"), "'no'", "rewrite, keep")
  refused(
    lambda: tflm_fg.adapt(finished("mean"), X, Y, graph_options=KEEP),
    "keep",
    "trainable",
  )
  kept = tflm_fg.mark_trainable(finished("mean"), "head", graph_options=KEEP)
  assert kept.file.subgraph.operators[-1].name == "MEAN"
