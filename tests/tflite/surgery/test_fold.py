"""A prompt goes into the bias behind it where that gives the same sums."""

import numpy as np
import pytest

from tests import models
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite import model_file
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.fold import fold_input_offset
from tflm_fg.tflite.tensors import Patchable
from tflm_fg.tflite.training_metadata import without_mark

PADDED = models.conv_model()


def x_for(model):
  graph = model_file.read(model).subgraphs[0]
  shape = tuple(graph.tensors[graph.inputs[0]].shape[1:])
  return models.int8_samples(shape, 64)


def logits_of(data, x):
  (out,) = open_session("litert-reference", whole(data, unmarked(data))).run(
    (x,)
  )
  return out.reshape(len(out), -1).astype(int)


def operators(data):
  return ModelFile.open(data).operator_names


def prompted(model):
  """A file with offsets at its input, and samples that do not saturate."""
  marked = mark_file(model, "prompt")
  part = Patchable(marked.data, [t.index for t in marked.mark.trainable])
  (zeros,) = part.read()
  values = np.random.default_rng(0).integers(-60, 60, zeros.shape)
  x = (x_for(model) // 2).astype(np.int8)
  return without_mark(part.write([values.astype(np.int8)])), x


@pytest.mark.parametrize("per_channel", [True, False])
def test_an_input_offset_goes_into_a_dense_layers_bias(per_channel):
  data, x = prompted(models.deep_model(per_channel=per_channel))
  folded = fold_input_offset(data)
  assert "ADD" in operators(data) and "ADD" not in operators(folded)
  away = np.abs(logits_of(folded, x) - logits_of(data, x))
  assert away.max() <= 2


def test_an_input_offset_goes_into_a_convolution_that_does_not_pad():
  net = models.Network()
  x = net.activation("x", (1, 6, 5, 2), 4.0)
  flow = net.convolution(x, 4, "point", size=1)
  flow = net.dense(net.mean(flow), 3, "head", reach=8.0)
  data, x = prompted(net.finish([x.index], [flow.index]))
  folded = fold_input_offset(data)
  assert "ADD" not in operators(folded)
  assert np.abs(logits_of(folded, x) - logits_of(data, x)).max() <= 2


def test_an_input_offset_stays_where_the_layer_pads():
  data, _ = prompted(PADDED)
  assert fold_input_offset(data) is data
  assert fold_input_offset(PADDED) is PADDED
