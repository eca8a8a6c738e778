"""What a file says of its first subgraph: facts that nobody can change."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensor:
  """What a file says of a tensor.

  Attributes:
    name: as text.
    shape: its dimensions.
    dtype: a name of the schema's types in lower case, or "unknown".
    scales: of its quantization; empty for none.
    zero_points: the same.
    channel_axis: the dimension that several scales lie along.
    num_bytes: bytes of all its numbers; 0 where the type has no fixed size.
    buffer: index of what holds its numbers.
    held_bytes: bytes that the buffer holds.
    is_constant: whether the file holds its numbers.
    is_variable: whether it keeps its numbers from run to run.
    is_sparse: whether the buffer leaves out zeros.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  scales: tuple[float, ...]
  zero_points: tuple[int, ...]
  channel_axis: int
  num_bytes: int
  buffer: int
  held_bytes: int
  is_constant: bool
  is_variable: bool
  is_sparse: bool

  @property
  def has_scale(self) -> bool:
    """Whether it is quantized with scales that stand for something."""
    return bool(self.scales) and self.scales[0] > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operator:
  """What a file says of an operator.

  Attributes:
    name: the builtin's name, or the custom code.
    inputs: tensors that it reads; -1 for an optional one that is left out.
    outputs: tensors that it makes.
    is_custom: whether only a delegate or an application knows its kernel.
    has_activation: whether an activation such as a ReLU is fused behind it.
    transposes: of a BATCH_MATMUL, whether it transposes either factor.
    bias_dtype: what its options say of its bias beside int16 activations;
      "float32" where they say nothing.
  """

  name: str
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  is_custom: bool
  has_activation: bool
  transposes: tuple[bool, bool]
  bias_dtype: str = "float32"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subgraph:
  """The first subgraph of a model: what is read, made and computed.

  Attributes:
    tensors: by index.
    operators: in the order of execution.
    inputs: tensors.
    outputs: tensors.
    chosen_input: position of the input that samples go to; None where nobody
      has said. See `tflite.inputs`.
    output_keys: the signature's name of each output, empty for none; empty
      where the file has no signature.
    chosen_output: position of the output that is meant; None where nobody has
      said. See `tflite.choice.outputs`.
  """

  tensors: tuple[Tensor, ...]
  operators: tuple[Operator, ...]
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  chosen_input: int | None = None
  output_keys: tuple[str, ...] = ()
  chosen_output: int | None = None

  @property
  def keeps_state(self) -> bool:
    """Whether a run leaves numbers in variables, which the next one reads."""
    return any(tensor.is_variable for tensor in self.tensors)

  def output(self, operator: int) -> int:
    """The first tensor that an operator makes."""
    return self.operators[operator].outputs[0]


def is_state(tensor: Tensor, outputs: list[Tensor]) -> bool:
  """Whether an output is made to be this input of the next run."""
  return any(
    (tensor.shape, tensor.dtype, tensor.scales, tensor.zero_points)
    == (other.shape, other.dtype, other.scales, other.zero_points)
    for other in outputs
  )
