"""Signatures keep their names, and other subgraphs the numbers they read."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

import tflm_fg
from tests import models
from tests.options import options
from tflm_fg.tflite import model_file
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.surgery.class_outputs import add_rows, new_rows
from tflm_fg.tflite.tensors import Patchable

MADE = {
  "dense": models.dense_model,
  "dense, no bias": lambda: models.dense_model(bias=False),
  "dense, int16": lambda: models.dense_model(wide=True),
  "convolutions": models.conv_model,
  "deep": models.deep_model,
  "pointwise": models.pointwise_model,
  "recurrent": models.recurrent_model,
}
CHOICES = {
  "head": {},
  "all": {},
  "wide-head": {},
  "prompt": {"gain": True},
  "gain": {},
  "first-bias": {},
  "head with room": {"head_room": 2},
  "head of int16": {"weights": "int16"},
  "head of two bytes": {"weights": "int8x2"},
}
TAKEN = [
  (name, choice)
  for name in MADE
  for choice in CHOICES
  if not (
    (choice == "wide-head" and name[:5] in ("dense", "recur"))
    or (choice == "prompt" and "int16" in name)
    or (choice[:7] == "head of" and "int16" in name)
    or (choice == "gain" and name == "recurrent")
  )
]
X, Y = models.separable(samples=48)


def held(data, number):
  """What a subgraph says of its tensors, with their bytes."""
  model = model_file.read(data)
  found = []
  for tensor in model.subgraphs[number].tensors:
    content = model.buffers[tensor.buffer].data
    scales = tensor.quantization and tensor.quantization.scale
    found.append(
      (
        tensor.name,
        None if content is None else bytes(content),
        None if scales is None else tuple(scales),
        None if tensor.shape is None else tuple(tensor.shape),
        tensor.type,
      )
    )
  return found


def signatures(data):
  return [
    (
      s.signatureKey,
      s.subgraphIndex,
      [(e.name, e.tensorIndex) for e in s.inputs],
      [(e.name, e.tensorIndex) for e in s.outputs],
    )
    for s in model_file.read(data).signatureDefs
  ]


def with_other_numbers(marked):
  """The plain file in which every number that may train is another one."""
  patchable = Patchable.of(marked.file, marked.mark.trainable)
  weights = [w ^ 1 if w.dtype != np.int16 else w - 3 for w in patchable.read()]
  return tflm_fg.strip(patchable.write(weights))


@pytest.mark.parametrize(("name", "choice"), TAKEN)
def test_a_subgraph_that_shares_constants_keeps_them(name, choice):
  data = models.signed(MADE[name]())
  given = GraphOptions(**CHOICES[choice])
  marked = mark_file(data, choice.split()[0], graph_options=given)
  changed = with_other_numbers(marked)
  assert held(changed, 1) == held(data, 1)
  assert held(changed, 0) != held(data, 0)
  assert signatures(changed) == signatures(data)
  model = model_file.read(changed)
  for signature in model.signatureDefs:
    graph = model.subgraphs[signature.subgraphIndex]
    for field in ("inputs", "outputs"):
      indices = [entry.tensorIndex for entry in getattr(signature, field)]
      assert indices == list(getattr(graph, field))
  assert sum("'twin0' runs subgraph 1" in n for n in marked.notes) == 1


def answers(data, key):
  interpreter = litert.Interpreter(
    model_content=bytes(bytearray(data)),
    experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
  )
  x = np.arange(-40, 40, 10, dtype=np.int8).reshape(1, 8)
  (found,) = interpreter.get_signature_runner(key)(input_0=x).values()
  return found


def test_an_adapted_file_answers_by_its_signatures():
  data = models.signed(models.deep_model(), twins=2)
  result = tflm_fg.adapt(
    data,
    X,
    Y,
    trainable="wide-head",
    **options(method="closed-form", steps=30),
  )
  assert result.report.kept_step
  assert not np.array_equal(
    answers(result.model, "serve"), answers(data, "serve")
  )
  for twin in ("twin0", "twin1"):
    assert np.array_equal(answers(result.model, twin), answers(data, twin))
  notes = "\n".join(result.report.notes)
  assert "subgraph 1 ('twin0'), subgraph 2 ('twin1') keeps" in notes
  assert "'twin1' runs subgraph 2, which stays as it was" in notes
  assert tflm_fg.replay(result.journal, data) == result.marked_model


def test_rows_of_a_head_are_added_to_the_first_subgraph_alone():
  data = models.signed(models.dense_model())
  for grown in (add_rows(data, 1), new_rows(data, 3)):
    assert held(grown, 1) == held(data, 1)
    assert signatures(grown) == signatures(data)
    assert np.array_equal(answers(grown, "twin0"), answers(data, "twin0"))


def test_a_signature_of_the_only_subgraph_is_kept_without_a_note():
  data = models.signed(models.dense_model(), twins=0)
  marked = mark_file(data, "head")
  assert marked.notes == ()
  assert tflm_fg.strip(marked.data) == data
  assert signatures(marked.data) == signatures(data)
  legacy = models.uint8_model(
    models.signed(models.dense_model(per_channel=False), twins=0)
  )
  rewritten = tflm_fg.strip(mark_file(legacy, "head").data)
  assert signatures(rewritten) == signatures(legacy)
  graph = ModelFile.open(rewritten).subgraph
  assert graph.tensors[graph.inputs[0]].dtype == "uint8"


def test_other_tensors_of_the_first_subgraph_are_parted_without_a_name():
  model = model_file.read(models.deep_model())
  graph = model.subgraphs[0]
  bias = graph.tensors[int(graph.operators[1].inputs[2])]
  graph.tensors.append(copy.deepcopy(bias))
  notes = mark_file(model_file.pack(model), "bias").notes
  assert notes == ("second/bias: given a buffer of its own",)
