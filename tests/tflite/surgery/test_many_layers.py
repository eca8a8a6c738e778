"""A head that joins more layers than TFLM takes in one CONCATENATION."""

from __future__ import annotations

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg.placement.measure import measured
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import (
  RuntimeOptions,
  is_installed,
  open_session,
)
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery import wide_head

SAMPLES = np.random.default_rng(0).integers(-128, 128, (8, 4, 4, 2))
SAMPLES = SAMPLES.astype("int8")


def widened(layers, measure=False):
  data = models.many_layers_model(layers)
  graph_options = GraphOptions()
  if measure:
    graph_options, _ = measured(data, SAMPLES, GraphOptions(), RuntimeOptions())
  return data, mark_file(data, "wide-head", graph_options=graph_options)


def joined(marked):
  return [
    len(op.inputs)
    for op in marked.file.subgraph.operators
    if op.name == "CONCATENATION"
  ]


def head_inputs(marked):
  return SplitModel(marked.file, marked.mark, RuntimeOptions()).features(
    SAMPLES
  )[0]


@pytest.mark.parametrize(
  ("layers", "measure"), [(11, False), (12, True), (25, False)]
)
def test_a_tree_gives_the_head_the_bytes_that_one_operator_would(
  layers, measure, monkeypatch
):
  _, tree = widened(layers, measure)
  assert max(joined(tree)) <= 10
  monkeypatch.setattr(wide_head, "MOST_JOINED", 1000)
  _, flat = widened(layers, measure)
  assert max(joined(flat)) >= layers - 1
  assert head_inputs(tree).tobytes() == head_inputs(flat).tobytes()


@pytest.mark.parametrize("layers", [9, 10])
def test_as_many_as_one_operator_takes_are_joined_by_one(layers):
  assert joined(widened(layers)[1]) == [layers]


@pytest.mark.skipif(not is_installed("tflm"), reason="needs tflite-micro")
@pytest.mark.parametrize(("layers", "measure"), [(12, True), (25, False)])
def test_a_file_that_joins_many_layers_runs_in_tflm(layers, measure):
  data, marked = widened(layers, measure)
  plain = tflm_fg.strip(marked.data)
  before, after = (
    open_session("tflm", whole(file, unmarked(file))).run((SAMPLES,))[0]
    for file in (data, plain)
  )
  assert before.tobytes() == after.tobytes()
