"""What a model keeps from step to step is found, or refused by name."""

import numpy as np
import pytest

from tests import models
from tests.refusals import refused
from tests.stream_models import stream_model
from tflm_fg.runtimes.registry import open_stream
from tflm_fg.runtimes.streams import StreamPlan
from tflm_fg.streaming import StreamModel
from tflm_fg.tflite import model_file
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.stream.states import (
  EXTERNAL,
  RESOURCE,
  VARIABLE,
  states_of,
)
from tflm_fg.tflite.surgery.edit import new_operator
from tflm_fg.tflite.surgery.external_state import external_state
from tflm_fg.types import NotApplicable

ROWS, FEATURES = (1, 3, 1, 4), (1, 1, 1, 6)


def found(data, **given):
  return states_of(ModelFile.open(data), **given)


def edited(data, change):
  model = model_file.read(data)
  change(model)
  return model_file.pack(model)


def test_resource_variables_have_names_shapes_and_first_values():
  rows, features = found(stream_model(initial=40))
  assert (rows.name, rows.kind, rows.shape) == ("rows", RESOURCE, ROWS)
  assert (features.name, features.shape) == ("features", FEATURES)
  assert rows.num_bytes == 12
  assert np.all(rows.initial_array() == 40)
  assert rows.is_set
  assert not rows.starts_at_zero


def test_a_variable_that_nothing_sets_starts_at_its_zero_point():
  for state in found(stream_model("unset")):
    assert not state.is_set
    assert state.starts_at_zero
    assert np.all(state.initial_array() == state.zero_point)


def test_variables_that_are_set_to_zero_points_start_there():
  assert all(s.starts_at_zero and s.is_set for s in found(stream_model()))


def test_variable_tensors_of_an_lstm_are_state():
  output, cell = found(models.recurrent_model())
  assert {output.kind, cell.kind} == {VARIABLE}
  assert (output.dtype, cell.dtype) == ("int8", "int16")


def test_a_model_without_state_has_none():
  assert found(models.dense_model()) == ()


def test_inputs_pair_with_the_one_output_of_their_form():
  rows, features = found(stream_model("external"))
  assert {rows.kind, features.kind} == {EXTERNAL}
  assert (rows.name, rows.shape) == ("rows/read", ROWS)
  assert (features.name, features.shape) == ("features/read", FEATURES)


def twins():
  """x and two states of one form: a becomes x + b, and b becomes a + a."""
  net = models.Network()
  x, a, b = (
    net.activation(name, (1, 4), reach)
    for name, reach in (("x", 4.0), ("a", 2.0), ("b", 2.0))
  )
  made = []
  for number, (one, other) in enumerate(((x, b), (a, a))):
    total = net.activation(f"next{number}", (1, 4), 2.0)
    options = models.schema.AddOptionsT()
    net.operator("ADD", [one.index, other.index], total.index, options, 2)
    made.append(total.index)
  answer = net.dense(a, 2, "head", reach=8.0)
  inputs = [x.index, a.index, b.index]
  return net.finish(inputs, [answer.index, *made])


def test_two_states_of_one_form_are_refused_by_name():
  words = ("'a'", "one of several alike", "pairs={input name: output name}")
  refused(lambda: StreamModel.open(twins()), *words)


def test_pairs_say_which_output_goes_to_which_of_several_inputs():
  x = models.int8_samples((4,), 6)
  named, placed = {"a": "next0", "b": "next1"}, {1: 1, 2: 2}
  one, same, other = (
    StreamModel.open(twins(), pairs=pairs).run(x)
    for pairs in (named, placed, {1: 2, 2: 1})
  )
  assert np.array_equal(one, same)
  assert not np.array_equal(one, other)


def test_wrong_pairs_are_refused_by_name():
  model = stream_model("external")
  for pairs, words in (
    ({"none": 1}, ("input 'none'", "rows/read")),
    ({1: "none"}, ("output 'none'",)),
    ({1: 0}, ("'rows/read'", "differ")),
    ({1: 1}, ("besides its state", "features/read")),
    ({1: 1, 2: 1}, ("differ",)),
  ):
    refused(lambda p=pairs: StreamModel.open(model, pairs=p), *words)


def test_an_input_like_no_output_is_refused_by_name():
  def forget(model):
    model.subgraphs[0].outputs = model.subgraphs[0].outputs[:1]

  fault = refused(
    lambda: StreamModel.open(edited(stream_model("external"), forget))
  )
  assert "like no output" in fault


def test_external_state_leaves_inputs_and_outputs_where_they_were():
  file = ModelFile.open(stream_model(initial=40))
  outside = external_state(file)
  graph = outside.file.subgraph
  assert graph.inputs[0] == file.subgraph.inputs[0]
  assert graph.outputs[0] == file.subgraph.outputs[0]
  assert [pair[:2] for pair in outside.pairs] == [(1, 1), (2, 2)]
  assert not {op.name for op in graph.operators} & {
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "CALL_ONCE",
  }
  assert len(outside.file.data) < len(file.data)


def test_a_file_without_variables_stays_as_it_is():
  file = ModelFile.open(models.dense_model())
  assert external_state(file) == (file, ())


def operators(model, name):
  return [
    op
    for op in model.subgraphs[0].operators
    if model_file.op_name(model, op) == name
  ]


def test_a_read_behind_the_assignment_sees_the_new_value():
  """The second read makes what the last layer flattens."""

  def read_again(model):
    graph = model.subgraphs[0]
    assign = operators(model, "ASSIGN_VARIABLE")[1]
    read = operators(model, "READ_VARIABLE")[1]
    twin = models.copy.deepcopy(read)
    tensor = models.copy.deepcopy(graph.tensors[int(read.outputs[0])])
    graph.tensors.append(tensor)
    twin.outputs = np.array([len(graph.tensors) - 1], np.int32)
    graph.operators.append(twin)
    twins = [*graph.outputs, len(graph.tensors) - 1]
    graph.outputs = np.array(twins, np.int32)
    assert graph.operators.index(assign) < graph.operators.index(twin)

  data = edited(stream_model(), read_again)
  x = models.int8_samples((2, 4), 12)
  given = {"output": 1}
  own = StreamModel.open(data, "litert", state="variables", **given).run(x)
  moved = StreamModel.open(data, "litert", state="external", **given).run(x)
  assert np.array_equal(own, moved)
  assert len(np.unique(own)) > 3


def test_a_variable_that_no_step_assigns_becomes_a_constant():
  def keep(model):
    graph = model.subgraphs[0]
    graph.operators.remove(operators(model, "ASSIGN_VARIABLE")[0])

  data = edited(stream_model(initial=40), keep)
  outside = external_state(ModelFile.open(data))
  assert len(outside.pairs) == 1
  x = models.int8_samples((2, 4), 12)
  own, moved = (
    StreamModel.open(data, state=state).run(x)
    for state in ("variables", "external")
  )
  assert np.array_equal(own, moved)


def assigned_as_it_is(model):
  graph = model.subgraphs[0]
  read = operators(model, "READ_VARIABLE")[0].outputs[0]
  graph.tensors.append(models.copy.deepcopy(graph.tensors[int(read)]))
  graph.inputs = np.array([*graph.inputs, len(graph.tensors) - 1], np.int32)
  assign = operators(model, "ASSIGN_VARIABLE")[0]
  values = [assign.inputs[0], len(graph.tensors) - 1]
  assign.inputs = np.array(values, np.int32)


def assigned_otherwise(model):
  graph = model.subgraphs[0]
  index = int(operators(model, "ASSIGN_VARIABLE")[0].inputs[1])
  graph.tensors[index].quantization.scale = np.float32([0.5])


def set_by_computing(model):
  """A QUANTIZE makes what the last variable starts from."""
  once = model.subgraphs[1]
  once.tensors.append(models.copy.deepcopy(once.tensors[-1]))
  once.tensors[-1].buffer = 0
  op = new_operator(
    model,
    "QUANTIZE",
    [len(once.tensors) - 2],
    [len(once.tensors) - 1],
    models.schema.QuantizeOptionsT(),
    2,
  )
  assign = once.operators[-1]
  assign.inputs = np.array([assign.inputs[0], len(once.tensors) - 1], np.int32)
  once.operators.insert(len(once.operators) - 1, op)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (assigned_as_it_is, ("'rows'", "as it is")),
    (assigned_otherwise, ("'rows'", "another shape, type or quantization")),
    (set_by_computing, ("'features'", "what the file computes")),
  ],
)
def test_variables_that_cannot_be_moved_out_are_refused_by_name(change, words):
  file = ModelFile.open(edited(stream_model(), change))
  with pytest.raises(NotApplicable) as caught:
    external_state(file)
  for word in (*words, "run the file with its own variables"):
    assert word in str(caught.value)


def litert(data):
  from ai_edge_litert import interpreter as lite

  engine = lite.Interpreter(model_content=bytes(bytearray(data)))
  engine.allocate_tensors()
  index = engine.get_input_details()[0]["index"]
  answer = engine.get_output_details()[0]["index"]

  def run(x):
    made = []
    for step in x:
      engine.set_tensor(index, step[None])
      engine.invoke()
      made.append(engine.get_tensor(answer)[0])
    return np.array(made)

  return engine, run, index


RESETS = {
  "reset_all_variables": lambda engine, index: engine.reset_all_variables(),
  "allocate_tensors": lambda engine, index: engine.allocate_tensors(),
  "resize": lambda engine, index: (
    engine.resize_tensor_input(index, (1, 2, 4)),
    engine.allocate_tensors(),
  ),
}


@pytest.mark.parametrize("reset", RESETS)
def test_litert_keeps_resource_variables_whatever_is_reset(reset):
  """If one day it resets them, streams need no new interpreter."""
  x = models.int8_samples((2, 4), 20)
  engine, run, index = litert(stream_model())
  first = run(x)
  RESETS[reset](engine, index)
  assert not np.array_equal(run(x)[:3], first[:3])


def test_tflm_resets_to_zero_points_whatever_the_file_sets():
  """So a file that starts from other numbers gets a new interpreter."""
  pytest.importorskip("tflite_micro")
  x = models.int8_samples((2, 4), 20)
  for initial, right in ((None, True), (90, False)):
    file = ModelFile.open(stream_model(initial=initial))
    session = open_stream("tflm", StreamPlan(file, has_variables=True))
    fresh = np.stack([session.step(step) for step in x])
    again = session.run(x)  # told that it starts from zero points
    assert np.array_equal(again, fresh.reshape(again.shape)) == right
