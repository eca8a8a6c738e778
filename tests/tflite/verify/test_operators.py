"""What would end an engine's process is refused by the operator's name."""

import copy

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests import hostile, zoo
from tests.refusals import edited, refused
from tflm_fg.tflite import model_file
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.verify.structure import structure_fault


@pytest.mark.parametrize("what", list(hostile.REFUSED))
def test_what_no_kernel_can_run_is_refused_by_name(what):
  mutant, words = hostile.REFUSED[what]
  refused(lambda: ModelFile.open(mutant.data(), "m.tflite"), "m.tflite", words)


@pytest.mark.parametrize("name", list(zoo.BUILDERS))
def test_a_sound_model_of_every_operator_is_taken(name):
  assert ModelFile.open(zoo.BUILDERS[name](), name).operator_names


@pytest.mark.parametrize("gone", [None, -1])
def test_a_transposed_convolution_without_a_bias_is_taken(gone):
  """Its input stands where other layers have their bias."""
  model = model_file.read(zoo.BUILDERS["transpose_conv"]())
  layer = model.subgraphs[0].operators[0]
  layer.inputs = [int(i) for i in layer.inputs[:3]] + [-1] * (gone is not None)
  assert ModelFile.open(model_file.pack(model), "m.tflite")


def test_a_size_that_is_known_only_at_run_time_is_not_taken_for_1():
  """Converters write 1 for it, and what reads it has other sizes."""

  def open_batch(model):
    for tensor in model.subgraphs[0].tensors:
      tensor.shapeSignature = [-1, *list(tensor.shape)[1:]]
    model.subgraphs[0].tensors[0].shape = [1, 5]

  assert ModelFile.open(edited(open_batch), "m.tflite")


def test_a_graph_that_runs_itself_is_refused():
  model = model_file.read(zoo.BUILDERS["while"]())
  condition = model.subgraphs[1]
  loop = copy.deepcopy(model.subgraphs[0].operators[0])
  condition.tensors.append(copy.deepcopy(condition.tensors[1]))
  loop.inputs, loop.outputs = [0, 1], [3, 4]
  loop.opcodeIndex = model.subgraphs[0].operators[0].opcodeIndex
  condition.operators = [loop]
  broken = model_file.pack(model)
  refused(lambda: ModelFile.open(broken, "m.tflite"), "never ends")


def test_a_small_file_whose_tables_lie_over_each_other_is_refused():
  """Ten thousand buffers that all are one, of 60 kB."""

  def nested(buffers):
    builder = flatbuffers.Builder(1 << 16)
    data = builder.CreateByteVector(bytes(60_000))
    schema.BufferStart(builder)
    schema.BufferAddData(builder, data)
    one = schema.BufferEnd(builder)
    schema.ModelStartBuffersVector(builder, buffers)
    for _ in range(buffers):
      builder.PrependUOffsetTRelative(one)
    vector = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddBuffers(builder, vector)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())

  assert not structure_fault(nested(3))
  assert "lie over each other" in structure_fault(nested(10_000))
