"""The memory table counts every network three ways, and says how sure it is."""

import collections
import sys

import pytest

from apps.compare.analyses import memory, networks, tflm_arena
from apps.kws.model.shipped import shipped_model
from converters import quantize, to_keras
from tests import models
from tflm_fg.memory import arena
from tflm_fg.memory.backward_pass import (
  Training,
  kept_activations,
)
from tflm_fg.memory.dataflow import read_dataflow
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.types import TflmFgError

SMALL = {"DS-CNN": shipped_model, "tiny": models.conv_model}


@pytest.fixture(scope="module")
def rows():
  return memory.memory_rows(SMALL)


@pytest.fixture(scope="module")
def resnet():
  return networks.resnet_8()


def test_rows_are_every_network_with_everything_that_trains(rows):
  pairs = [(row["network"], row["trains"]) for row in rows]
  assert pairs == [(n, t) for n in SMALL for t in ("head", "bias", "all")]
  numbers = [row["numbers"] for row in rows[:3]]
  assert numbers == [780, 588, 22_604]


def test_forward_gradients_add_nothing_to_the_scratch_of_inference(rows):
  for row in rows:
    assert row["forward_scratch"] == row["inference_scratch"]
    assert row["forward_total"] > row["inference_total"]


def test_backpropagation_of_the_whole_spotter_takes_several_times_the_scratch(
  rows,
):
  """The sums of the activations' sizes, done by hand, with 16 bytes of play.

  On its way back from the last 1x1 convolution, a pass at 16 bits holds the
  input, 32,000 numbers of the first layer, seven times 16,000 of the others,
  a bit each of the last one's, and two gradients of 16,000.
  """
  row = rows[2]
  by_hand = 1960 + 2 * (32_000 + 7 * 16_000) + 16_000 // 8 + 2 * 2 * 16_000
  assert abs(row["backprop_float16_scratch"] - by_hand) <= 16
  assert row["ratio_float16"] == row["backprop_float16_scratch"] / 48_000
  assert row["ratio_int8"] > memory.PAPER_RATIO
  assert row["ratio_float32"] > row["ratio_float16"] > row["ratio_int8"]


def test_the_table_has_a_line_a_row_and_says_what_it_shows(rows):
  text = memory.markdown(rows)
  lines = [line for line in text.splitlines() if line.startswith("|")]
  assert len(lines) == 2 + len(rows)
  assert len({line.count("|") for line in lines}) == 1
  assert "| DS-CNN | all | 22,604 | 48.0 / 80.4 | 48.0 / 126.9 |" in text
  assert "our reading" in text


def test_the_table_names_its_error_only_where_tflm_reports_its_arena(rows):
  assert "% of TFLM's own" in memory.markdown(
    [row | {"tflm_arena": row["arena"] / 1.03} for row in rows]
  )
  assert "% of TFLM's own" not in memory.markdown(
    [row | {"tflm_arena": float("nan")} for row in rows]
  )


def test_the_figure_is_a_png_and_the_same_each_time(rows):
  pytest.importorskip("matplotlib")
  png = memory.figure(rows)
  assert png.startswith(b"\x89PNG")
  assert png == memory.figure(rows)
  assert png != memory.figure(rows[:3])


def test_without_tensorflow_a_network_is_refused_with_the_cure(monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow", None)
  with pytest.raises(TflmFgError, match="pip install"):
    memory.memory_rows({"ResNet-8-like": networks.resnet_8})


# The networks themselves.


@pytest.mark.tensorflow
def test_the_mobile_network_has_the_published_count_of_parameters():
  """That of keras.applications.MobileNetV2(alpha=0.35, classes=2)."""
  assert networks.mobilenet_v2_keras().count_params() == 412_770


@pytest.mark.tensorflow
def test_the_residual_network_is_within_5_percent_of_tflms_arena(resnet):
  pytest.importorskip("tflite_micro")
  flow = read_dataflow(resnet)
  counts = collections.Counter(node.name for node in flow.nodes)
  assert (counts["CONV_2D"], counts["ADD"]) == (9, 3)
  reported = tflm_arena.reported(resnet)
  counted = arena.arena_of(flow)
  assert counted.activations == reported["head"]
  assert abs(counted.total / reported["total"] - 1) <= 0.05


@pytest.mark.tensorflow
def test_no_two_of_its_constants_are_one(resnet):
  """Equal numbers are merged by the converter, and would count once."""
  flow = read_dataflow(resnet)
  held = [p.num_bytes for p in flow.pieces if p.is_constant]
  assert flow.constant_bytes == sum(held)


@pytest.mark.parametrize("name", ["DS-CNN", "ResNet-8-like"])
@pytest.mark.tensorflow
def test_tensorflow_keeps_the_same_activations_for_its_gradients(name, resnet):
  """And the output of the last ReLU, of which a bit a number would do."""
  tf = quantize.tensorflow()
  model = shipped_model() if name == "DS-CNN" else resnet
  found = mark_file(model, "all")
  flow = read_dataflow(found.data)
  training = Training(
    trained=frozenset(t.index for t in found.mark.trainable),
    logits=found.mark.logits,
    width=4,
  )
  ours = [flow.pieces[t].shape for t in kept_activations(flow, training)]
  twin = to_keras.to_keras(model)
  spec = tf.TensorSpec((1, *twin.input_shape[1:]))
  function = tf.function(twin).get_concrete_function(spec)
  # What TensorFlow's own gradient function captures of the forward pass.
  _, back = function._delayed_rewrite_functions.forward_backward()
  weights = {tuple(w.shape) for w in twin.weights}
  theirs = [tuple(tensor.shape) for tensor in back.inputs[1:]]
  theirs = [shape for shape in theirs if shape not in weights]
  pooled = next(n for n in flow.nodes if n.name == "MEAN").inputs[0]
  assert sorted(theirs) == sorted([*ours, flow.pieces[pooled].shape])
