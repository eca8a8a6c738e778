"""`trainable="head"` changes the last layer's bytes, and nothing else."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.tables import differing, fields
from tests.tflite.test_outside import with_labels
from tflm_fg.tflite import model_file
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import read_mark


def off_boundaries(data):
  """The file as converters write it, with constants off 16 bytes."""
  builder = flatbuffers.Builder(1024)
  model = model_file.read(data)
  model.description = b"x" * 5
  builder.Finish(model.Pack(builder), b"TFL3")
  return bytes(builder.Output())


AS_THEY_ARE = {
  "dense": models.dense_model(),
  "dense, a scale a tensor": models.dense_model(per_channel=False),
  "dense, int16": models.dense_model(wide=True),
  "dense, logits": models.dense_model(softmax=False),
  "numbers": models.regression_model(),
  "numbers, squeezed": models.regression_model(tail="squeeze"),
  "numbers, floats": models.regression_model(tail="dequantize"),
  "numbers, int16": models.regression_model(wide=True),
  "sigmoid": models.regression_model(tail="logistic"),
  "convolutions": models.conv_model(),
  "convolutions, int16": models.conv_model(wide=True),
  "deep": models.deep_model(),
  "pointwise": models.pointwise_model(),
  "flattened": models.shaped_head_model("flattened"),
  "reshaped": models.shaped_head_model("reshaped"),
  "two heads": models.two_headed_model(),
  "embedding": models.embedding_model(),
  "embedding, logits": models.embedding_model(tail="logits"),
  "many layers": models.many_layers_model(),
  "recurrent": models.recurrent_model(),
  "constants outside": models.outside(models.deep_model()),
  "signature": models.signed(models.dense_model(), twins=0),
  "labels behind": with_labels(models.deep_model()),
  "constants outside, labels behind": with_labels(
    models.outside(models.deep_model())
  ),
}
"""Files that are taken byte for byte."""

MENDED = {
  "no bias": models.dense_model(bias=False),
  "off boundaries": off_boundaries(models.deep_model()),
  "off boundaries, labels behind": with_labels(
    off_boundaries(models.deep_model())
  ),
  "shared with a subgraph": models.signed(models.deep_model()),
}
"""Files that a note says a change of."""

OUTPUTS = {"two heads": 0, "embedding": 1, "embedding, logits": 1}


def adapted(name, data, **given):
  """The file's head, trained for a few steps on samples of noise."""
  file = ModelFile.open(data)
  shape = file.subgraph.tensors[file.subgraph.inputs[0]].shape[1:]
  dtype = file.subgraph.tensors[file.subgraph.inputs[0]].dtype
  x = models.int8_samples(shape, 24, dtype=dtype)
  output = OUTPUTS.get(name)
  out = file.subgraph.outputs[output or 0]
  width = file.subgraph.tensors[out].shape[-1]
  real = name.startswith("numbers")
  y = np.linspace(-3, 3, 24) if real else np.arange(24) % max(2, width)
  loss = {"loss": "mse"} if real else {}
  return tflm_fg.adapt(
    data,
    x,
    y,
    trainable="head",
    output=output,
    **options(method="closed-form", steps=6, validation_fraction=0.0, **loss),
    **given,
  )


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_no_byte_but_those_of_the_heads_weights_is_another(name):
  data = AS_THEY_ARE[name]
  result = adapted(name, data)
  assert len(result.model) == len(data)
  mark, file = read_mark(result.marked_model), ModelFile.open(data)
  may = np.zeros(len(data), bool)
  for tensor in mark.trainable:
    start, length = file.span(tensor.index)
    may[start : start + length] = True
  moved = np.frombuffer(data, np.uint8) != np.frombuffer(result.model, np.uint8)
  assert moved.any() and not (moved & ~may).any()
  # It is the last layer, its kernel and its bias.
  (operator,) = {tensor.operator for tensor in mark.trainable}
  assert {t.index for t in mark.trainable} < {
    *file.subgraph.operators[operator].inputs
  }
  assert result.marked_model.endswith(result.model)


@pytest.mark.parametrize("name", MENDED)
def test_of_a_file_that_is_mended_no_field_but_what_a_note_says_is_another(
  name,
):
  data = MENDED[name]
  result = adapted(name, data)
  mark = read_mark(result.marked_model)
  assert result.report.notes
  places = {f".subgraphs[0].tensors[{t.index}].buffer" for t in mark.trainable}
  moved = differing(data, result.model)
  assert moved & places
  if "labels" in name:  # an archive counts its offsets from the file's start
    moved.discard("tail")
  if name == "no bias":
    (operator,) = {t.operator for t in mark.trainable}
    bias = max(t.index for t in mark.trainable)
    own = f".subgraphs[0].tensors[{bias}]"
    moved = {path for path in moved if not path.startswith(own)}
    moved -= {
      ".subgraphs[0].tensors",
      f".subgraphs[0].operators[{operator}].inputs",
    }
  assert moved <= places


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_a_file_that_is_written_anew_has_every_field_that_it_had(name):
  data = off_boundaries(AS_THEY_ARE[name])
  marked = tflm_fg.mark_trainable(data, output=OUTPUTS.get(name))
  assert marked.notes[0] == "constants moved to 16-byte boundaries"
  assert differing(data, tflm_fg.strip(marked.data)) == set()


def test_room_changes_the_heads_scales_beside_its_weights_alone():
  data = models.deep_model()
  given = {"graph_options": GraphOptions(head_room=2)}
  result = adapted("deep", data, **given)
  indices = [t.index for t in read_mark(result.marked_model).trainable]
  assert differing(data, result.model) == {
    f".subgraphs[0].tensors[{index}].{field}"
    for index in indices
    for field in ("buffer", "quantization.scale")
  }


def test_all_that_other_placements_leave_is_what_it_was():
  """What a prompt and a wide head keep: names, metadata, all old tensors."""
  model = model_file.read(models.signed(models.conv_model()))
  model.description = b"made by us"
  entry = models.schema.MetadataT()
  entry.name, entry.buffer = b"min_runtime_version", len(model.buffers)
  buffer = models.schema.BufferT()
  buffer.data = np.frombuffer(b"1.5.0", np.uint8)
  model.buffers.append(buffer)
  model.metadata = [entry]
  data = with_labels(model_file.pack(model))
  old = fields(data)
  for trainable in ("prompt", "wide-head", "gain", "all"):
    marked = tflm_fg.mark_trainable(data, trainable)
    fresh = fields(tflm_fg.strip(marked.data))
    kept = [
      path
      for path in old
      if path.startswith((".metadata", ".signature", ".desc", ".subgraphs[1]"))
    ]
    assert len(kept) > 100
    for path in kept:
      assert fresh[path] == old[path], (trainable, path)
    names = [p for p in old if "[0].tensors[" in p and p.endswith(".name")]
    assert all(fresh[path] == old[path] for path in names)
