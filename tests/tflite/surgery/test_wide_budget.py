"""What a wide head joins of a large network, and how fine its weights are."""

from __future__ import annotations

import numpy as np
import pytest

from tests import models
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.surgery import wide_head
from tflm_fg.tflite.surgery.class_outputs import new_rows

MODEL = models.conv_model()
FRESH = new_rows(MODEL, 3)


def kernel_of(marked):
  (kernel,) = (t for t in marked.mark.trainable if t.role == "kernel")
  return kernel


def test_layers_that_only_a_depthwise_one_reads_are_left_out_first(monkeypatch):
  assert wide_head.widths_of(mark_file(MODEL, "wide-head").file) == [4]
  monkeypatch.setattr(wide_head, "MOST_GAINED", 1)
  assert wide_head.widths_of(mark_file(MODEL, "wide-head").file) == [4]
  monkeypatch.undo()
  deep = models.many_layers_model(12)
  every = wide_head.widths_of(mark_file(deep, "wide-head").file)
  monkeypatch.setattr(wide_head, "MOST_GAINED", sum(every) - 1)
  some = wide_head.widths_of(mark_file(deep, "wide-head").file)
  assert some == every[: len(some)]
  assert sum(some) < sum(every)
  monkeypatch.setattr(wide_head, "MOST_GAINED", 1)
  assert wide_head.widths_of(mark_file(deep, "wide-head").file) == every[:1]


def test_named_layers_are_all_joined(monkeypatch):
  monkeypatch.setattr(wide_head, "MOST_GAINED", 1)
  deep = models.many_layers_model(12)
  named = mark_file(deep, "wide-head", graph_options=GraphOptions(layers="."))
  assert len(wide_head.widths_of(named.file)) > 1


def test_a_head_of_zeros_gets_a_finer_scale_by_what_it_gains():
  before = kernel_of(mark_file(FRESH, "head"))
  after = kernel_of(mark_file(FRESH, "wide-head"))
  share = before.shape[-1] / after.shape[-1]
  assert np.allclose(after.scales, np.multiply(before.scales, share))


def test_a_trained_head_keeps_its_scale():
  before = kernel_of(mark_file(MODEL, "head"))
  after = kernel_of(mark_file(MODEL, "wide-head"))
  assert after.scales == before.scales


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_scale_is_never_too_fine_to_move_an_output(per_channel, monkeypatch):
  model = new_rows(models.conv_model(per_channel=per_channel), 3)
  monkeypatch.setattr(wide_head, "_LEAST_REACH", 1e9)
  before = kernel_of(mark_file(model, "head"))
  assert kernel_of(mark_file(model, "wide-head")).scales == before.scales


def test_a_finer_scale_moves_no_output():
  x = np.random.default_rng(0).integers(-128, 128, (5, 6, 5, 2)).astype("int8")
  outputs = []
  for trainable in ("head", "wide-head"):
    marked = mark_file(FRESH, trainable)
    graph = SplitModel(marked.file, marked.mark, RuntimeOptions())
    (logits,) = graph.suffix.run(graph.features(x))
    outputs.append(logits)
  assert np.array_equal(*outputs)
