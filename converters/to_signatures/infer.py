"""The signature infer, which is the model itself: subgraph 0.

Its head reads its weights from the variables. All else stays as it was, so that
a plain run of the file infers, too.
"""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from converters.to_signatures.graph import Graph, Value
from converters.to_signatures.parts import Parts, shape_of
from tflm_fg.signatures import State, prompt_state, rounded, state_of

NAME = "infer"


def add_infer(parts: Parts) -> None:
  """Lets the model's head, and its prompt, read the variables."""
  model = parts.model
  rest = model.operators
  head = rest[parts.head]
  kernel, bias = (int(head.inputs[i]) for i in (1, 2))
  for number in (kernel, bias):
    parts.tensor(number).buffer = 0
  _without_notes(model)
  model.operators = []
  graph = Graph(parts.file, NAME, model)
  graph.once(parts.initial)
  into = (_as_value(graph, number) for number in (kernel, bias))
  read_head(graph, state_of(parts.spec), *into)
  once, *reading = model.operators
  model.operators = prompt = []
  if parts.prompt is not None:
    read_prompt(graph, parts)
  before, after = rest[: parts.head], rest[parts.head :]
  model.operators = [once, *prompt, *before, *reading, *after]
  source, out = int(model.inputs[0]), int(model.outputs[0])
  parts.file.signature(NAME, 0, {"x": source}, {"probabilities": out})


def read_head(graph: Graph, state: State, kernel: Value, bias: Value) -> None:
  """Fills a layer's kernel and bias from the variables.

  Args:
    graph: of the layer.
    state: the variables.
    kernel: int8, with the layer's scales.
    bias: int32, with its scales.
  """
  steps = rounded(graph, graph.read(state.kernel))
  shape = graph.constant(list(kernel.shape))
  graph.append("RESHAPE", [steps, shape], [kernel])
  held = graph.read(state.bias)
  shape = graph.constant(list(bias.shape))
  graph.append("RESHAPE", [held, shape], [bias])


def read_prompt(graph: Graph, parts: Parts) -> None:
  """Fills the prompt's gain and offset from the variables."""
  assert parts.prompt is not None
  state = prompt_state(parts.spec, parts.prompt)
  for number, variable in (
    (parts.gain, state.gain),
    (parts.offset, state.offset),
  ):
    parts.tensor(number).buffer = 0
    shape = graph.constant(list(variable.shape))
    out = _as_value(graph, number)
    graph.append("RESHAPE", [graph.read(variable), shape], [out])


def _without_notes(model: schema.SubGraphT) -> None:
  """Drops what no runtime reads: names of inner tensors, ranges of values."""
  ends = {int(i) for i in (*model.inputs, *model.outputs)}
  for number, tensor in enumerate(model.tensors):
    if number not in ends:
      tensor.name = None
    if tensor.quantization is not None:
      tensor.quantization.min = tensor.quantization.max = None


def _as_value(graph: Graph, number: int) -> Value:
  tensor: schema.TensorT = graph.made.tensors[number]
  kind = {schema.TensorType.INT8: "int8", schema.TensorType.INT32: "int32"}
  return Value(graph, number, shape_of(tensor), kind[tensor.type])
