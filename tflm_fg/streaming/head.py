"""What the last layer of a stream's model is, and how it is written."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.stream.cut import StreamCut
from tflm_fg.tflite.tensors import Patchable, tensor_spec
from tflm_fg.types import Array, Int8, Int32, Int64, TflmFgError, Weights


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Head:
  """The last layer of a model, as integers, and what each of them is worth.

  The sums are `bias + weights @ (x - input_zero_point)` for inputs x, int8
  [features]. A unit of sum o is worth `input_scale * weight_scales[o]`. An
  engine rounds the sums to int8 logits, then bends and rounds these.

  Attributes:
    weights: int8 [outputs, features]; their zero point is 0.
    bias: int32 [outputs]; its zero point is 0.
    weight_scales: float, one or one an output.
    bias_scales: float, one or one an output: what one unit of a sum is worth.
    input_scale: of what the layer reads.
    input_zero_point: the same.
    logit_scale: of what the layer makes, int8.
    logit_zero_point: the same.
    activation: "LOGISTIC", "SOFTMAX", or "" for none: what bends the logits.
    output_scale: of what the model gives away; 0 for floats.
    output_zero_point: the same.
    output_dtype: the same: "uint8", "int8", "int16" or "float32".
  """

  weights: Int8
  bias: Int32
  weight_scales: tuple[float, ...]
  bias_scales: tuple[float, ...]
  input_scale: float
  input_zero_point: int
  logit_scale: float
  logit_zero_point: int
  activation: str
  output_scale: float
  output_zero_point: int
  output_dtype: str

  @property
  def num_outputs(self) -> int:
    """Count of outputs."""
    return len(self.weights)

  @property
  def num_features(self) -> int:
    """Count of numbers that the layer reads in a step."""
    return int(self.weights.shape[1])


def head_of(file: ModelFile, cut: StreamCut, answer: int) -> Head:
  """Reads the last layer of a file that was mended.

  Args:
    file: the whole file.
    cut: of that file.
    answer: tensor index of the output that is meant.
  """
  graph = file.subgraph
  kernel, bias = Patchable.of(file, cut.trainable).read()
  read, logits, given = (
    tensor_spec(file, index)
    for index in (cut.site.activation, graph.output(cut.site.operator), answer)
  )
  held, added = cut.trainable
  return Head(
    weights=kernel.reshape(len(kernel), -1).astype(np.int8),
    bias=bias.reshape(-1).astype(np.int32),
    weight_scales=held.scales,
    bias_scales=added.scales,
    input_scale=read.scale,
    input_zero_point=read.zero_point,
    logit_scale=logits.scale,
    logit_zero_point=logits.zero_point,
    activation=cut.bends,
    output_scale=given.scale,
    output_zero_point=given.zero_point,
    output_dtype=given.dtype,
  )


def engine_weights(
  head: Head, cut: StreamCut, weights: Array | None, bias: Array | None
) -> Weights:
  """A head's numbers as an engine holds them.

  Args:
    head: the file's own, which stands in for what is None.
    cut: of the file.
    weights: int8 [outputs, features], or other integers in that range.
    bias: int32 [outputs], or other integers in that range.

  Raises:
    TflmFgError: naming what has another shape, is no integer, or is out of
      range.
  """
  kernel, added = cut.trainable
  given = (
    ("weights", weights, head.weights, kernel),
    ("bias", bias, head.bias, added),
  )
  return [
    _checked(name, own if new is None else np.asarray(new), own).reshape(
      tensor.shape
    )
    for name, new, own, tensor in given
  ]


def _checked(name: str, new: Array, own: Int8 | Int32) -> Array:
  if new.shape != own.shape or new.dtype.kind not in "iu":
    raise TflmFgError(
      f"the head's {name}: {new.dtype} {list(new.shape)}, need integers "
      f"{list(own.shape)}"
    )
  limits = np.iinfo(own.dtype)
  if new.size and not limits.min <= int(new.min()) <= int(new.max()) <= (
    limits.max
  ):
    raise TflmFgError(
      f"the head's {name} reach from {new.min()} to {new.max()}, {own.dtype} "
      f"holds {limits.min} to {limits.max}; clip them while they train"
    )
  return np.ascontiguousarray(new, own.dtype)


def changed_bytes(before: bytes, after: bytes) -> Int64:
  """Where two files of one length differ.

  Args:
    before: a file.
    after: the same with other constants.

  Returns:
    int64 [n]: the offsets of the bytes that differ, in rising order.

  Raises:
    TflmFgError: if the files are not of one length.
  """
  if len(before) != len(after):
    raise TflmFgError(
      f"files of {len(before)} and {len(after)} bytes: the layout was changed, "
      "so there is no list of changed bytes"
    )
  one, other = (np.frombuffer(data, np.uint8) for data in (before, after))
  return np.flatnonzero(one != other).astype(np.int64)
