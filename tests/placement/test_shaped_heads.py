"""A head is one layer on one vector, whatever shapes stand around it."""

import functools

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.refusals import refused
from tests.tflite.test_outputs import run
from tflm_fg.gradients.dense_passes import DensePasses, dense_layer
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples import Dataset
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import exact_tensors
from tflm_fg.training.objective import loss_of

RANDOM = np.random.default_rng(0)
Y = np.arange(60) % 3
X = RANDOM.normal(0, 1.2, (3, 6, 5, 2))[Y] + RANDOM.normal(0, 1, (60, 6, 5, 2))
X = X.astype(np.float32)
ONE = ("flattened", "reshaped")


@pytest.mark.parametrize("kind", ONE)
def test_a_head_with_shaping_around_it_has_a_closed_form(kind):
  data = models.shaped_head_model(kind)
  marked = mark_file(data, "head")
  assert len(exact_tensors(marked.file, marked.mark)) == 2
  result = tflm_fg.adapt(data, X, Y, trainable="head")
  assert result.report.method == "closed-form"
  assert result.report.forward_passes < 200  # once more, with room
  assert result.report.loss_after < result.report.loss_before


@pytest.mark.parametrize("kind", ONE)
def test_its_logits_can_be_computed_without_an_engine(kind):
  marked = mark_file(models.shaped_head_model(kind), "head")
  options = RuntimeOptions(runtime="litert-reference")
  graph = SplitModel(marked.file, marked.mark, options)
  samples = graph.samples(Dataset(X, Y), "x")
  layer = dense_layer(graph.suffix_part, marked.mark.trainable)
  passes = DensePasses(
    layer=layer,
    inputs=samples.inputs,
    labels=samples.labels,
    loss=loss_of(graph.logits),
  )
  held = graph.suffix.params()
  (engine,) = graph.suffix.run(samples.inputs)
  away = passes.logits(held).astype(int) - engine.reshape(len(X), -1)
  assert np.abs(away).max() <= 1


@pytest.mark.parametrize("kind", ONE)
def test_its_wide_head_loads_and_gives_the_same_outputs(kind):
  data = models.shaped_head_model(kind)
  marked = mark_file(data, "wide-head")
  assert "more inputs" in " ".join(marked.notes)
  before, after = (run(d, X[:8])[0] for d in (data, tflm_fg.strip(marked.data)))
  assert np.array_equal(before, after)
  result = tflm_fg.adapt(data, X, Y, trainable="wide-head")
  assert result.report.method == "closed-form"
  assert result.report.loss_after < result.report.loss_before


def test_a_head_over_positions_is_not_taken_for_one_vector():
  data = models.shaped_head_model("pooled")
  keep = GraphOptions(pooled_head="keep")
  marked = mark_file(data, "head", graph_options=keep)
  assert exact_tensors(marked.file, marked.mark) == ()
  refused(
    lambda: tflm_fg.mark_trainable(
      data, "wide-head", name="m.tflite", graph_options=keep
    ),
    "m.tflite",
    "position by position",
    "--trainable=head",
  )


def test_auto_widens_a_head_over_positions_once_pooling_stands_before_it():
  method = tflm_fg.methods.Auto(steps=3)
  data = models.shaped_head_model("pooled")
  result = tflm_fg.adapt(data, X, Y, method=method)
  assert "wide-head" not in {d["candidate"] for d in result.report.dropped}
  assert result.report.loss_after < result.report.loss_before
  assert tflm_fg.replay(result.journal, data) == result.marked_model


def test_outputs_that_stay_at_positions_are_refused_when_a_file_is_marked():
  net = models.Network(6)
  x = net.activation("x", (1, 6, 5, 2), 4.0, models.IMAGE)
  flow = net.convolution(x, 3, "head", size=1, relu=False)
  data = net.finish([x.index], [net.softmax(flow).index])
  for call in (tflm_fg.mark_trainable, tflm_fg.inspect):
    refused(
      functools.partial(call, data, name="m.tflite"),
      "m.tflite",
      "[1, 6, 5, 3]",
      "positions",
    )
