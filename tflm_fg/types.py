"""The few types that every other file speaks in, and the one error users see.

A network's trainable numbers exist in two forms. `Weights` are what an engine
holds: int8 (or int16) kernels and int32 (or int64, int16) biases, one array a
tensor. `Params` are what training holds: two flat vectors, the int16 kernel
masters and the integer biases of all trainable tensors, in the order of the
mark.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

Weights = Sequence[Array]
"""Engine values, one array a trainable tensor, in the mark's order."""

Tensors = tuple[Array, ...]
"""What flows through a cut of the graph: arrays whose first axis is samples."""


@dataclasses.dataclass(frozen=True)
class Samples:
  """What a set of samples is to the trained part of the graph.

  Attributes:
    inputs: arrays [N, ...], what flows into the suffix.
    labels: int64 [N] for classes; other targets as `objective` has them.
  """

  inputs: Tensors
  labels: Array

  def take(self, indices: Array) -> Samples:
    """Some of the samples."""
    return Samples(tuple(x[indices] for x in self.inputs), self.labels[indices])

  def __len__(self) -> int:
    return len(self.labels)


class TflmFgError(Exception):
  """Bad input or a missing part, said in one line that names the cure."""


class NotApplicable(TflmFgError):  # noqa: N818
  """A choice of what trains that a file does not offer.

  A user who asked for it gets this error; a search for the best choice goes on
  without it.
  """


def require_one(name: str, value: object, known: Collection[str]) -> None:
  """Refuses an unknown choice by name."""
  if value not in known:
    raise TflmFgError(
      f"{name} {value!r} is unknown; choose one of {', '.join(known)}"
    )


def one_line(fault: BaseException, longest: int | None = None) -> str:
  """A fault's message without line breaks, for users."""
  return " ".join(str(fault).split())[:longest]


class Params(NamedTuple):
  """The trained state: every trainable number as an integer.

  Attributes:
    kernels: int16 [K], masters of all kernels and prompts; one unit is
      scale / 256 where the engine holds an int8, and scale where it holds the
      master whole (int16).
    biases: int32 [B], all biases; one unit is the bias tensor's own scale.
      int64 where the engine's biases are (int16 activations).
  """

  kernels: Int16
  biases: Int32 | Int64


class Vectors(NamedTuple):
  """A vector in parameter space: a direction, a gradient or an update.

  Attributes:
    kernels: integer [..., K], in the order of `Params.kernels`.
    biases: integer [..., B], in the order of `Params.biases`.
  """

  kernels: NDArray[np.signedinteger]
  biases: NDArray[np.signedinteger]


ROLES = ("kernel", "low", "bias", "offset", "gain", "scale")
"""What a trainable constant is.

"low" is the low byte of the kernel before it, in a layer that runs twice;
"offset" and "gain" make up an input prompt; "scale" is a gain for each output
channel of a layer, held in the scales of its kernel.
"""

SCALE_ONE = 1 << 14
"""What stands for 1 in the masters of a "scale"; they reach just under 2."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainableTensor:
  """A constant of the graph that training may write.

  Attributes:
    name: the tensor's name in the file.
    subgraph: index of its subgraph.
    index: index of the tensor in that subgraph; its address for randomness.
    operator: index of the operator that reads it.
    op_name: that operator's builtin name, for people.
    role: one of `ROLES`.
    shape: the tensor's shape.
    dtype: "int8"; "int16" for a kernel whose engine holds the whole master, for
      the bias behind it, and for a "scale"; "int32" or "int64" for other
      biases.
    scales: quantization scale, one or one an output channel.
    channel_axis: the axis that `scales` runs along.
    output_step: units of this tensor in one step of training, one an element
      of `scales`: 256 master units for all but biases (one step of int8), and
      for biases what moves the layer's output by 1/256 of its range,
      round(s_out / (s_in s_w)), 256 times that for an int16 output. It is 0 in
      a channel whose weights cannot move the output by a step: no perturbation
      and no update changes such a channel.
  """

  name: str
  subgraph: int
  index: int
  operator: int
  op_name: str
  role: str
  shape: tuple[int, ...]
  dtype: str
  scales: tuple[float, ...]
  channel_axis: int
  output_step: tuple[int, ...]

  @property
  def has_master(self) -> bool:
    """Whether it trains through an int16 master."""
    return self.role != "bias"

  @property
  def is_low(self) -> bool:
    """Whether it is the low byte of the master of the kernel before it."""
    return self.role == "low"

  @property
  def units_a_scale(self) -> int:
    """Master or bias units in one `scale`: 256 for a master's high byte."""
    return 256 if self.has_master and self.dtype == "int8" else 1

  @property
  def step_sizes(self) -> NDArray[np.float64]:
    """The real size of one step of training, one an element of `scales`."""
    if self.is_low:  # the step is its kernel's
      return np.zeros(len(self.scales))
    steps = np.array(self.output_step) / self.units_a_scale
    return steps * np.array(self.scales)

  @property
  def trains(self) -> NDArray[np.bool_]:
    """Which elements of `scales` belong to channels that can train."""
    return np.array(self.output_step) > 0

  @property
  def size(self) -> int:
    """Count of elements in the tensor."""
    return int(np.prod(self.shape, dtype=np.int64))

  @property
  def numbers(self) -> int:
    """Count of numbers that it trains: a low byte has none of its own."""
    return 0 if self.is_low else self.size

  @property
  def num_bytes(self) -> int:
    """Bytes that the engine holds for the tensor."""
    return self.size * np.dtype(self.dtype).itemsize


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mark:
  """What the file says about training it.

  Attributes:
    trainable: the tensors that may change, in the order of training.
    logits: index of the tensor in front of a final SOFTMAX, or the output.
    head_input: index of the activation that the last layer reads.
    frontend: what makes the model's input from raw data, as JSON has it; kept
      for the programs that know it, and never looked into here.
    classes: names of the outputs, in order.
    output: position of the output that is trained and scored, in a file that
      has several; None where it has one.
    input: position of the input that samples go to, where a user has chosen it
      among several; else None.
    statistics: of activations by tensor index, each channel's mean on source
      samples in 1/16 of a step; see
      `gradients.statistic_matching`.
  """

  trainable: tuple[TrainableTensor, ...]
  logits: int
  head_input: int
  frontend: dict[str, Any] | None = None
  classes: tuple[str, ...] | None = None
  output: int | None = None
  input: int | None = None
  statistics: dict[int, tuple[int, ...]] = dataclasses.field(
    default_factory=dict
  )

  @property
  def numbers(self) -> int:
    """Count of numbers that may train."""
    return sum(t.numbers for t in self.trainable)


class TensorSpec(NamedTuple):
  """A tensor's shape, dtype name and quantization (scale 0: none).

  `rows` is how many rows a table has that the numbers choose from, such as the
  words of an embedding; 0 where they choose nothing. `grid` is the dtype, scale
  and zero point that a float input is quantized to at once; None for none.
  """

  shape: tuple[int, ...]
  dtype: str
  scale: float
  zero_point: int
  rows: int = 0
  grid: tuple[str, float, int] | None = None
