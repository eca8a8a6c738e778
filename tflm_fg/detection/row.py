"""One output's row of a head, as log odds in fixed point.

A step's log odds are those of the word against everything else. Behind a
LOGISTIC they are the output's logit; behind a SOFTMAX they are its logit less
the log of the sum of the other outputs' powers. The other outputs do not
train, so what they add is computed once. Log odds are in bits, Q16, so that
powers and logarithms come from the tables of the losses.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.detection.model import Head
from tflm_fg.detection.rule import window_sums
from tflm_fg.fixed_point.arithmetic import round_divide, round_shift
from tflm_fg.fixed_point.one_thread import one_thread
from tflm_fg.losses.base import LOSS_BITS
from tflm_fg.losses.cross_entropy import TERM_BITS, exp2_negative, log2_of
from tflm_fg.types import Array, Int8, Int64, TflmFgError

MOST_BITS = 1 << 26
"""Log odds count as 1,024 bits at most, either way."""

_CHUNK = 1 << 12
_EXACT_FLOAT32 = 1 << 24


def in_bits(nats: float) -> int:
  """A real number of nats as bits in Q16."""
  return round(nats * math.log2(math.e) * (1 << LOSS_BITS))


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
  """One output's row, and what turns its accumulator into log odds.

  Attributes:
    head: the whole layer.
    output: index of the row.
    unit: nats that one unit of the accumulator is worth.
  """

  head: Head
  output: int
  unit: float

  @classmethod
  def of(cls, head: Head, output: int) -> Row:
    """The row of an output.

    Args:
      head: of the model.
      output: which one stands for the word.

    Raises:
      TflmFgError: if there is no such output, or its values are no
        probabilities.
    """
    outputs = len(head.weights)
    if output >= outputs:
      raise TflmFgError(
        f"output={output}: the model has {outputs} outputs, counted from 0"
      )
    if head.activation not in ("LOGISTIC", "SOFTMAX"):
      raise TflmFgError(
        "the model ends in no LOGISTIC or SOFTMAX, so its outputs are no "
        "probabilities; convert it with its last activation"
      )
    if head.activation == "SOFTMAX" and outputs < 2:
      raise TflmFgError(
        "the model has a SOFTMAX over one output, which is always 1; a word "
        "needs a LOGISTIC, or a second output for everything else"
      )
    return cls(head, output, _scale(head, output) * head.input_scale)

  @property
  def weights(self) -> Int8:
    """The row as the file has it: int8 [D]."""
    return np.asarray(self.head.weights[self.output])

  @property
  def bias(self) -> int:
    """Its bias as the file has it."""
    return int(self.head.bias[self.output])

  @property
  def highest(self) -> float:
    """The most nats that the logit's own tensor can hold."""
    return float((127 - self.head.logit_zero_point) * self.head.logit_scale)

  def accumulators(self, inputs: Int8, weights: Int8, bias: int) -> Int64:
    """What the layer sums up for each step: int64 [T].

    Args:
      inputs: int8 [T, D].
      weights: int8 [D].
      bias: in the accumulator's own units.
    """
    rest = bias - self.head.input_zero_point * int(weights.sum(dtype=np.int64))
    return products(inputs, weights) + rest

  def offsets(self, inputs: Int8) -> Int64:
    """What the other outputs take off the log odds: int64 [T], Q16 bits.

    Args:
      inputs: int8 [T, D].
    """
    if self.head.activation == "LOGISTIC":
      return np.zeros(len(inputs), np.int64)
    others = [j for j in range(len(self.head.weights)) if j != self.output]
    logits = np.stack([self._held(inputs, j) for j in others])
    most = logits.max(axis=0)
    powers = exp2_negative(most - logits).sum(axis=0)
    return np.asarray(most + log2_of(np.maximum(powers, 1 << TERM_BITS)))

  def _held(self, inputs: Int8, output: int) -> Int64:
    """Another output's logits as their tensor holds them: Q16 bits."""
    head = self.head
    other = Row(head, output, _scale(head, output) * head.input_scale)
    sums = self.accumulators(inputs, other.weights, other.bias)
    steps = to_fixed(sums, other.unit / head.logit_scale)
    steps = np.clip(
      steps, -128 - head.logit_zero_point, 127 - head.logit_zero_point
    )
    return steps * in_bits(head.logit_scale)

  def log_odds(self, accumulators: Int64, offsets: Int64, steps: int) -> Int64:
    """Mean log odds of so many steps in bits, Q16.

    Args:
      accumulators: sums over the steps.
      offsets: means over them, see `offsets`.
      steps: how many.
    """
    scale = self.unit * math.log2(math.e) * (1 << LOSS_BITS) / steps
    return to_fixed(accumulators, scale) - offsets

  def window_odds(
    self, inputs: Int8, weights: Int8, bias: int, window: int
  ) -> Int64:
    """Mean log odds of every whole window of a stream, Q16 bits.

    Args:
      inputs: int8 [T, D].
      weights: int8 [D].
      bias: in the accumulator's own units.
      window: steps of a window.

    Returns:
      int64 [T - window + 1]; the first window ends at step window - 1.
    """
    sums = window_sums(self.accumulators(inputs, weights, bias), window)
    offsets = round_divide(window_sums(self.offsets(inputs), window), window)
    return self.log_odds(sums, offsets, window)[window - 1 :]


def to_fixed(values: Int64, scale: float) -> Int64:
  """Whole numbers times a positive real, rounded, at most `MOST_BITS`.

  Args:
    values: int64, counted as 2**32 at most.
    scale: above 0; used with 30 bits.
  """
  fraction, exponent = math.frexp(scale)
  bits = _MANTISSA - exponent
  product = np.clip(values, -_MOST_SUM, _MOST_SUM)
  product = product * round(fraction * (1 << _MANTISSA))
  if bits > 0:
    product = round_shift(product, min(bits, 62))
  else:
    product = np.clip(product, -MOST_BITS, MOST_BITS) << min(-bits, 30)
  return np.clip(product, -MOST_BITS, MOST_BITS)


_MANTISSA = 30
_MOST_SUM = 1 << 32


def products(inputs: Int8, weights: Int8) -> Int64:
  """Gives inputs @ weights, exactly: int64 [T].

  A float32 holds all sums of up to 1,032 int8 products, a float64 all others.

  Args:
    inputs: int8 [T, D].
    weights: int8 [D].
  """
  exact = len(weights) * 127 * 128 < _EXACT_FLOAT32
  kind = np.float32 if exact else np.float64
  row = weights.astype(kind)
  found = np.empty(len(inputs), np.int64)
  with one_thread():
    for start in range(0, len(inputs), _CHUNK):
      part = slice(start, start + _CHUNK)
      found[part] = np.matmul(inputs[part], row, dtype=kind)
  return found


def sigmoid(log_odds: Int64) -> Int64:
  """Sigmoids of log odds in bits, Q16: int64, 0 to 65536."""
  power = exp2_negative(np.abs(log_odds))
  one = 1 << TERM_BITS
  sure = (one << LOSS_BITS) // (one + power)
  return np.where(log_odds < 0, (1 << LOSS_BITS) - sure, sure)


def softplus(log_odds: Int64) -> Int64:
  """log2(1 + 2**x) of x in bits, Q16: int64."""
  power = exp2_negative(np.abs(log_odds))
  tail = log2_of(power + (1 << TERM_BITS))
  return np.asarray(np.maximum(log_odds, 0) + tail)


def _scale(head: Head, output: int) -> float:
  scales: Sequence[float] | NDArray[np.float64] = head.weight_scales
  return float(scales[output if len(scales) > 1 else 0])


def require_streams(
  name: str, streams: Sequence[Array], features: int, least: int
) -> None:
  """Refuses what are no streams of a head's inputs.

  Args:
    name: what they are called, such as "positive".
    streams: arrays that should be int8 [T, features].
    features: of the head.
    least: how many steps a stream needs.

  Raises:
    TflmFgError: naming the first that is none.
  """
  for number, stream in enumerate(streams):
    wanted = stream.ndim == 2 and stream.shape[1] == features
    if not wanted or stream.dtype != np.int8:
      raise TflmFgError(
        f"{name} {number}: {stream.dtype} {list(stream.shape)} is no stream "
        f"of inputs of the head; need int8 [steps, {features}], as "
        "StreamModel.head_inputs gives them"
      )
    if len(stream) < least:
      raise TflmFgError(
        f"{name} {number}: it has {len(stream)} steps, and nothing is scored "
        f"before step {least}; put silence in front of the recording, or "
        "leave it out"
      )
