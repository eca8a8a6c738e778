"""Numbers of layers flow in as data, and fold back into the layers."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests import models
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite import model_file
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.layers import find_logits, last_head, sites_of
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import cut, whole
from tflm_fg.tflite.surgery.fold import fold, fold_input_offset
from tflm_fg.tflite.surgery.perturbation_inputs import (
  PREFIX,
  constants_to_inputs,
  perturb_layers,
)
from tflm_fg.tflite.surgery.repair import mend
from tflm_fg.tflite.tensors import Patchable
from tflm_fg.tflite.training_metadata import without_mark
from tflm_fg.types import Mark, TflmFgError

KINDS = {
  "int8": models.conv_model(),
  "per tensor": models.conv_model(per_channel=False),
  "int16": models.conv_model(wide=True),
  "dense": models.deep_model(),
  "dense per tensor": models.deep_model(per_channel=False),
  "dense int16": models.deep_model(wide=True),
}

MOST_AWAY = {"int8": 4, "int16": 40}
"""Steps of the logits that folding may move them by; int16's are 256 finer."""


def x_for(model, samples=64):
  graph = model_file.read(model).subgraphs[0]
  tensor = graph.tensors[graph.inputs[0]]
  kind = model_file.TYPE_NAMES[tensor.type]
  return models.int8_samples(tuple(tensor.shape[1:]), samples, dtype=kind)


def inner_sites(unpacked):
  graph = model_file.subgraph_of(unpacked)
  return [site for site in sites_of(graph) if site != last_head(graph)]


def grown(model, gain):
  """The file with perturbed inner layers, and its constants' indices."""
  unpacked = model_file.read(model)
  sites = inner_sites(unpacked)
  mend(unpacked, {s: {"kernel", "bias"} for s in sites}, "model")
  constants = perturb_layers(unpacked, inner_sites(unpacked), gain)
  return model_file.pack(unpacked), constants


def logits_of(data, x, runtime="litert-reference"):
  logits = find_logits(ModelFile.open(data).subgraph)
  mark = Mark(trainable=(), logits=logits, head_input=logits)
  (out,) = open_session(runtime, whole(data, mark)).run((x,))
  return out.reshape(len(out), -1).astype(int)


def operators(data):
  return ModelFile.open(data).operator_names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gain", [True, False])
@pytest.mark.parametrize("runtime", ["litert-reference", "litert-xnnpack"])
def test_a_grown_file_starts_where_the_file_was(kind, gain, runtime):
  model = KINDS[kind]
  x = x_for(model)
  data, constants = grown(model, gain)
  assert len(constants) == 2 * (1 + gain)
  away = np.abs(logits_of(data, x, runtime) - logits_of(model, x, runtime))
  assert away.max() <= (2 if "int16" not in kind else 8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gain", [True, False])
def test_a_folded_file_answers_as_the_grown_one(kind, gain):
  model = KINDS[kind]
  x = x_for(model)
  data, constants = grown(model, gain)
  moved = Patchable(data, constants)
  random = np.random.default_rng(0)
  values = []
  for array, index in zip(moved.read(), constants):
    name = model_file.read(data).subgraphs[0].tensors[index].name.decode()
    unit = 256 if array.dtype == np.int16 else 1
    low, high = (40, 100) if name.endswith("/gain") else (-12, 12)
    values.append(
      (random.integers(low, high, array.shape) * unit).astype(array.dtype)
    )
  data = moved.write(values)
  folded = fold(data)
  assert operators(folded) == operators(model)
  assert not any(
    t.name.decode().startswith(PREFIX) and t.buffer
    for op in model_file.read(folded).subgraphs[0].operators
    for t in [model_file.read(folded).subgraphs[0].tensors[op.inputs[0]]]
  )
  ends = logits_of(data, x), logits_of(folded, x)
  away = np.abs(ends[0] - ends[1])
  assert away.max() <= MOST_AWAY["int16" if "int16" in kind else "int8"]
  assert np.abs(ends[0] - logits_of(model, x)).max() > 2 * away.max()


def test_without_a_change_folding_gives_the_outputs_back_exactly():
  model = KINDS["int8"]
  x = x_for(model)
  data, _ = grown(model, True)
  assert np.array_equal(logits_of(fold(data), x), logits_of(model, x))


def test_inputs_take_a_value_of_their_own_for_every_sample():
  data, constants = grown(KINDS["int8"], True)
  logits = find_logits(ModelFile.open(data).subgraph)
  part = whole(data, Mark(trainable=(), logits=logits, head_input=logits))
  names = [t.name.decode() for t in model_file.read(data).subgraphs[0].tensors]
  place = {t.name: i for i, t in enumerate(part.file.subgraph.tensors)}
  writable = tuple(place[names[index]] for index in constants)
  session = open_session(
    "litert-xnnpack",
    constants_to_inputs(part._replace(writable=writable)),
    "in-place",
  )
  x = x_for(KINDS["int8"], 6)
  random = np.random.default_rng(0)
  rows = [
    random.integers(30, 90, (6, *spec[0])).astype(np.int8)
    for spec in session.input_specs[1:]
  ]
  (together,) = session.run((x, *rows))
  for i in range(6):
    alone = [row[i : i + 1] for row in rows]
    assert np.array_equal(
      session.run((x[i : i + 1], *alone))[0][0], together[i]
    )


def test_a_layer_with_another_activation_function_is_refused():
  model = model_file.read(KINDS["dense"])
  options = model.subgraphs[0].operators[0].builtinOptions
  options.fusedActivationFunction = schema.ActivationFunctionType.TANH
  with pytest.raises(TflmFgError, match=r"operator 0 .* TANH.*RELU6"):
    perturb_layers(model, inner_sites(model)[:1], gain=False)


@pytest.mark.parametrize("kind", ["dense", "dense per tensor"])
def test_an_input_offset_goes_into_a_dense_layers_bias(kind):
  data, x = prompted(KINDS[kind])
  folded = fold_input_offset(data)
  assert "ADD" in operators(data) and "ADD" not in operators(folded)
  away = np.abs(logits_of(folded, x) - logits_of(data, x))
  assert away.max() <= 2


def prompted(model):
  """A file with offsets at its input, and samples that do not saturate."""
  marked = mark_file(model, "prompt")
  part = Patchable(marked.data, [t.index for t in marked.mark.trainable])
  (zeros,) = part.read()
  values = np.random.default_rng(0).integers(-60, 60, zeros.shape)
  x = (x_for(model) // 2).astype(np.int8)
  return without_mark(part.write([values.astype(np.int8)])), x


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
  data, _ = prompted(KINDS["int8"])
  assert fold_input_offset(data) is data
  assert fold_input_offset(KINDS["int8"]) is KINDS["int8"]


def test_a_part_of_a_marked_graph_keeps_its_cut():
  marked = mark_file(
    KINDS["int8"], "prompt", graph_options=GraphOptions(gain=True)
  )
  part = cut(marked.data, marked.mark).suffix
  given = constants_to_inputs(part)
  assert given.inputs == part.inputs and not given.writable
