"""Find what a model keeps from one step of a stream to the next.

Three forms are known. Resource variables are read and assigned by operators of
their own. Variable tensors belong to one operator, such as an LSTM. External
state is inputs that the last step's outputs go to.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.stream.pairs import StatePairs, external_pairs
from tflm_fg.tflite.stream.variables import first_values, variable_flows
from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.types import Array, TflmFgError

RESOURCE, VARIABLE, EXTERNAL = (
  "resource variable",
  "variable tensor",
  "external",
)
"""The kinds of state: as the file declares them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StateTensor:
  """What a stream carries from one step to the next.

  Attributes:
    name: of the variable, the tensor or the input.
    kind: `RESOURCE`, `VARIABLE` or `EXTERNAL`.
    shape: its dimensions.
    dtype: a name of the schema's types in lower case.
    scale: of its quantization; 0 for none.
    zero_point: the same.
    initial: its bytes at the start of a stream, little-endian; None where the
      file computes them when it starts.
    reads: the tensor of subgraph 0 that holds it when a step begins; -1 for a
      variable that no step reads.
    writes: the tensor that holds it when a step ends; -1 for a variable that no
      step assigns.
    is_set: whether the file itself says how it starts. LiteRT reads a resource
      variable only once it is set; TFLM gives it zero points.
  """

  name: str
  kind: str
  shape: tuple[int, ...]
  dtype: str
  scale: float
  zero_point: int
  initial: bytes | None = dataclasses.field(repr=False)
  reads: int
  writes: int
  is_set: bool = True

  @property
  def num_bytes(self) -> int:
    """Bytes that it takes."""
    return int(np.prod(self.shape, dtype=np.int64)) * _item(self.dtype)

  @property
  def starts_at_zero(self) -> bool:
    """Whether every number of it is the zero point when a stream starts."""
    zeros = _zeros(self.shape, self.dtype, self.zero_point)
    return zeros is not None and self.initial == zeros

  def initial_array(self) -> Array:
    """What it holds when a stream starts, of `dtype` and `shape`.

    Raises:
      TflmFgError: if the file computes it when it starts.
    """
    if self.initial is None:
      raise TflmFgError(
        f"state {self.name!r}: the file computes it when it starts, so its "
        "first value is not known; run it with its own variables"
      )
    return np.frombuffer(self.initial, self.dtype).reshape(self.shape)


def states_of(
  file: ModelFile, pairs: StatePairs | None = None
) -> tuple[StateTensor, ...]:
  """All state of a file's first subgraph, in the order in which it is declared.

  Args:
    file: a sound .tflite.
    pairs: which inputs are state, and the outputs that go to them; None to
      find them by shape, dtype and quantization, see `external_pairs`.

  Raises:
    TflmFgError: if it is not clear which outputs go to which inputs.
  """
  return (
    *_resources(file),
    *(
      _state(file.subgraph, index, VARIABLE, index, index)
      for index, tensor in enumerate(file.subgraph.tensors)
      if tensor.is_variable
    ),
    *(
      _state(
        file.subgraph,
        file.subgraph.inputs[place],
        EXTERNAL,
        file.subgraph.inputs[place],
        file.subgraph.outputs[made],
      )
      for place, made in external_pairs(file, pairs)
    ),
  )


def _resources(file: ModelFile) -> list[StateTensor]:
  """The state that resource variables hold."""
  if not any(op.name == "VAR_HANDLE" for op in file.subgraph.operators):
    return []
  model = file.unpack()
  first = first_values(model)
  found = []
  for flow in variable_flows(model):
    index = flow.reads if flow.reads >= 0 else flow.writes
    if index < 0:
      continue  # a handle that nothing uses
    state = _state(file.subgraph, index, RESOURCE, flow.reads, flow.writes)
    initial = first.get(flow.name, state.initial)
    fits = initial is not None and len(initial) == state.num_bytes
    found.append(
      dataclasses.replace(
        state,
        name=flow.name,
        initial=initial if fits else None,
        is_set=flow.name in first,
      )
    )
  return found


def _state(
  graph: Subgraph, index: int, kind: str, reads: int, writes: int
) -> StateTensor:
  """State of a tensor's form, which starts at its zero point."""
  tensor = graph.tensors[index]
  point = tensor.zero_points[0] if tensor.zero_points else 0
  return StateTensor(
    name=tensor.name,
    kind=kind,
    shape=tensor.shape,
    dtype=tensor.dtype,
    scale=tensor.scales[0] if tensor.scales else 0.0,
    zero_point=point,
    initial=_zeros(tensor.shape, tensor.dtype, point),
    reads=reads,
    writes=writes,
  )


def _item(dtype: str) -> int:
  try:
    return np.dtype(dtype).itemsize
  except TypeError:
    return 0


_MOST_BYTES = 1 << 26
"""State that is larger is not looked into; that of streams is far smaller."""


def _zeros(shape: tuple[int, ...], dtype: str, point: int) -> bytes | None:
  """The bytes of a tensor of zero points; None where it has no size here."""
  item = _item(dtype)
  if not item or not 0 <= math.prod(shape) * item <= _MOST_BYTES:
    return None
  try:
    return np.full(shape, point, dtype).tobytes()
  except (OverflowError, ValueError):  # no such number, or no such shape
    return None
