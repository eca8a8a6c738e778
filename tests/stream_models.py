"""Small streaming models, built in code: the same network in every form.

x [1, 2, 4] -> the last three rows are kept -> convolution over five rows ->
the last output is kept beside the new one -> dense [1, outputs] -> LOGISTIC or
SOFTMAX, and QUANTIZE to uint8, as wake words have it.
"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.models import SIGNED, Flow, Network

STEP = (2, 4)
"""Of all these models."""


@dataclasses.dataclass
class _Held:
  """A state of the network: what a step reads, and what it leaves."""

  name: str
  shape: tuple[int, ...]
  scale: float
  zero_point: int
  reads: int
  writes: int = -1


class StreamNetwork(Network):
  """A network with state, whose form is chosen when it is finished."""

  def __init__(self, seed: int = 0) -> None:
    super().__init__(seed)
    self.held: list[_Held] = []

  def keep(self, name: str, rows: int, flow: Flow) -> Flow:
    """Puts the rows that were kept in front of a flow's [1, rows, 1, depth]."""
    shape = (1, rows, *flow.shape[2:])
    reads = self.tensor(
      f"{name}/read", shape, "int8", flow.scale, flow.zero_point
    )
    whole = (1, rows + flow.shape[1], *flow.shape[2:])
    joined = self.tensor(
      f"{name}/joined", whole, "int8", flow.scale, flow.zero_point
    )
    options = schema.ConcatenationOptionsT()
    options.axis = 1
    self.operator("CONCATENATION", [reads, flow.index], joined, options, 2)
    last = self.tensor(
      f"{name}/last", shape, "int8", flow.scale, flow.zero_point
    )
    self._slice(joined, last, flow.shape[1], whole)
    held = _Held(name, shape, flow.scale, flow.zero_point, reads, last)
    self.held.append(held)
    return Flow(joined, whole, flow.scale, flow.zero_point)

  def _slice(
    self, source: int, target: int, first: int, whole: tuple[int, ...]
  ) -> None:
    begin, end, steps = (
      self.tensor(f"{target}/{n}", (4,), "int32", data=np.array(values))
      for n, values in enumerate(((0, first, 0, 0), whole, (1, 1, 1, 1)))
    )
    options = schema.StridedSliceOptionsT()
    self.operator(
      "STRIDED_SLICE", [source, begin, end, steps], target, options, 2
    )

  def flat(self, flow: Flow, shape: tuple[int, ...]) -> Flow:
    target = self.tensor(
      f"shape{len(self.graph.tensors)}",
      (len(shape),),
      "int32",
      data=np.array(shape),
    )
    index = self.tensor(
      f"flat{len(self.graph.tensors)}",
      shape,
      "int8",
      flow.scale,
      flow.zero_point,
    )
    options = schema.ReshapeOptionsT()
    self.operator("RESHAPE", [flow.index, target], index, options, 1)
    return Flow(index, shape, flow.scale, flow.zero_point)


def stream_model(
  form: str = "variables",
  *,
  seed: int = 0,
  outputs: int = 1,
  bends: str = "LOGISTIC",
  initial: int | None = None,
  signed: bool = False,
) -> bytes:
  """A streaming model.

  Args:
    form: "variables", with a subgraph that sets them once; "unset", without
      it; "external", with state as inputs and outputs.
    seed: of the weights.
    outputs: of the last layer.
    bends: "LOGISTIC", "SOFTMAX" or "".
    initial: what all state starts with; None for its zero points.
    signed: to leave out the last QUANTIZE to uint8.
  """
  net = StreamNetwork(seed)
  x = net.activation("x", (1, *STEP), 4.0, SIGNED)
  flow = net.flat(x, (1, STEP[0], 1, STEP[1]))
  flow = net.keep("rows", 3, flow)
  flow = _valid_convolution(net, flow, 6)
  flow = net.keep("features", 1, flow)
  flow = net.flat(flow, (1, 12))
  logits = net.dense(flow, outputs, "head", reach=8.0)
  answer = logits.index
  if bends:
    answer = net.tensor(bends, (1, outputs), "int8", 1 / 256, -128)
    options = schema.SoftmaxOptionsT() if bends == "SOFTMAX" else None
    if options:
      options.beta = 1.0
    net.operator(bends, [logits.index], answer, options, 2)
    if not signed:
      given = net.tensor("uint8", (1, outputs), "uint8", 1 / 256, 0)
      net.operator("QUANTIZE", [answer], given, schema.QuantizeOptionsT(), 2)
      answer = given
  if form == "external":
    return net.finish(
      [x.index, *(h.reads for h in net.held)],
      [answer, *(h.writes for h in net.held)],
    )
  _use_variables(net, form == "variables", initial)
  return net.finish([x.index], [answer])


def _valid_convolution(net: StreamNetwork, flow: Flow, channels: int) -> Flow:
  """A convolution over all rows, which gives one."""
  rows, depth = flow.shape[1], flow.shape[3]
  weights = net._weights("conv", (channels, rows, 1, depth), 0, flow, True)
  out = net.activation("conv/out", (1, 1, 1, channels), 4.0, -128)
  options = schema.Conv2DOptionsT()
  options.padding = schema.Padding.VALID
  options.strideW = options.strideH = 1
  options.dilationWFactor = options.dilationHFactor = 1
  options.fusedActivationFunction = 1
  net.operator("CONV_2D", [flow.index, *weights], out.index, options, 3)
  return out


def _use_variables(
  net: StreamNetwork, is_set: bool, initial: int | None
) -> None:
  """Reads each state from a variable first, and assigns it last."""
  model, graph = net.model, net.graph
  first, last = [], []
  once = schema.SubGraphT()
  once.name = b"once"
  once.tensors, once.operators = [], []
  once.inputs = once.outputs = np.zeros(0, np.int32)
  for held in net.held:
    handle = _handle(graph)
    first.append(_operator(net, "VAR_HANDLE", [], [handle], held.name))
    first.append(_operator(net, "READ_VARIABLE", [handle], [held.reads]))
    last.append(_operator(net, "ASSIGN_VARIABLE", [handle, held.writes], []))
    own = _handle(once)
    value = held.zero_point if initial is None else initial
    buffer = schema.BufferT()
    buffer.data = np.full(held.shape, value, np.int8).view(np.uint8).reshape(-1)
    model.buffers.append(buffer)
    constant = copy.deepcopy(graph.tensors[held.reads])
    constant.buffer, constant.name = len(model.buffers) - 1, b"initial"
    once.tensors.append(constant)
    once.operators += [
      _operator(net, "VAR_HANDLE", [], [own], held.name),
      _operator(net, "ASSIGN_VARIABLE", [own, len(once.tensors) - 1], []),
    ]
  if is_set:
    model.subgraphs.append(once)
    first.insert(0, _operator(net, "CALL_ONCE", [], []))
  graph.operators = [*first, *graph.operators, *last]


def _handle(graph: schema.SubGraphT) -> int:
  tensor = schema.TensorT()
  tensor.name, tensor.type = b"handle", schema.TensorType.RESOURCE
  tensor.shape, tensor.buffer = np.zeros(0, np.int32), 0
  graph.tensors.append(tensor)
  return len(graph.tensors) - 1


_OPTIONS = {
  "VAR_HANDLE": schema.VarHandleOptionsT,
  "READ_VARIABLE": schema.ReadVariableOptionsT,
  "ASSIGN_VARIABLE": schema.AssignVariableOptionsT,
  "CALL_ONCE": schema.CallOnceOptionsT,
}


def _operator(
  net: Network, name: str, inputs: list[int], outputs: list[int], key: str = ""
) -> schema.OperatorT:
  """An operator of variables, in no subgraph yet."""
  options = _OPTIONS[name]()
  if key:
    options.sharedName, options.container = key.encode(), b""
  if name == "CALL_ONCE":
    options.initSubgraphIndex = 1
  net.operator(name, inputs, 0, options)
  op = net.graph.operators.pop()
  op.outputs = np.array(outputs, np.int32)
  return op


def svdf_model(*, seed: int = 0, units: int = 6, memory: int = 4) -> bytes:
  """x [1, 8] -> SVDF with state in a variable -> dense, logits [1, 2]."""
  net = Network(seed)
  x = net.activation("x", (1, 8), 4.0, SIGNED)
  random, state_scale, time_scale = net.random, 2.0**-11, 2.0**-15
  feature = net.tensor(
    "svdf/feature",
    (units, 8),
    "int8",
    1 / 127,
    data=np.clip(random.normal(0, 50, (units, 8)), -127, 127),
  )
  time = net.tensor(
    "svdf/time",
    (units, memory),
    "int16",
    time_scale,
    data=random.integers(-20_000, 20_000, (units, memory)),
  )
  bias = net.tensor(
    "svdf/bias",
    (units,),
    "int32",
    state_scale * time_scale,
    data=random.integers(-999, 999, units),
  )
  state = net.tensor("svdf/state", (1, units * memory), "int16", state_scale)
  net.graph.tensors[state].isVariable = True
  out = net.activation("svdf/out", (1, units), 4.0, SIGNED)
  options = schema.SVDFOptionsT()
  options.rank, options.fusedActivationFunction = 1, 1
  net.operator(
    "SVDF", [x.index, feature, time, bias, state], out.index, options, 3
  )
  return net.finish([x.index], [net.dense(out, 2, "head", reach=8.0).index])
