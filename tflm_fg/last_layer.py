"""Find the last layer among what is marked, and whether it trains exactly."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from tflm_fg import flatbuffer
from tflm_fg.base import Mark, TrainableTensor
from tflm_fg.flatbuffer_cut import Cut, cut
from tflm_fg.flatbuffer_mark import HEAD_OPS
from tflm_fg.flatbuffer_tensors import tensor_spec


def last_tensors(mark: Mark) -> tuple[TrainableTensor, ...]:
  """The marked tensors of the last layer that has any.

  A layer of 16-bit weights is two operators that hold tensors: the runs on
  high and on low bytes, or the product and the ADD of the bias.
  """
  last = {max(t.operator for t in mark.trainable)}
  for before, tensor in itertools.pairwise(mark.trainable):
    whole = before.dtype == tensor.dtype == "int16"
    if tensor.operator in last and (
      tensor.is_low or (whole and before.operator == tensor.operator - 1)
    ):
      last.add(before.operator)
  return tuple(t for t in mark.trainable if t.operator in last)


def exact_tensors(marked: bytes, mark: Mark) -> tuple[int, ...]:
  """The marked tensors of the head, if its gradient has a closed form."""
  head = last_tensors(mark)
  part = dataclasses.replace(mark, trainable=head)
  exact = is_head(cut(marked, part), marked, part)
  return tuple(t.index for t in head) if exact else ()


def is_head(pieces: Cut, marked: bytes, mark: Mark) -> bool:
  """Whether the suffix is the head alone: one linear layer on one vector."""
  operators = flatbuffer.operator_names(pieces.suffix.data)
  roles = [t.role for t in mark.trainable]
  twice = ("low" in roles) and roles.count("kernel") == 1
  if pieces.suffix.inputs != (mark.head_input,) or operators not in {
    *((name,) for name in HEAD_OPS if not twice),
    *((name, name, "ADD") for name in HEAD_OPS if twice),
    ("BATCH_MATMUL", "ADD"),
  }:
    return False
  inputs = tensor_spec(marked, mark.head_input).shape
  return int(np.prod(inputs[:-1])) == 1
