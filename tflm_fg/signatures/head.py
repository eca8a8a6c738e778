"""A head's numbers, its state, and what it says of features.

The head is a last layer: logits are weights times int8 features plus biases.
Weights are held in int16, 256 units an int8 step; what an engine gets is the
rounded int8. Biases are int32, in the unit of the layer's own biases.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.signatures.engine import Engine, Value, Variable, within

UNITS = 128
"""Units of a logit a bit: a doubling of a class's odds."""

_TERM_BITS = 14
"""Fraction bits of a power of two."""

_FAR = 16 * UNITS - 1
"""A class so many units below the largest counts as nothing."""

MOST_SAMPLES = 2048
"""Samples that a file remembers at most: sums over more need 64 bits."""

_POWERS = np.round(2.0**_TERM_BITS * 2.0 ** (-np.arange(UNITS) / UNITS)).astype(
  np.int32
)
_LOGARITHMS = np.round(UNITS * np.log2(1 + (np.arange(UNITS)) / UNITS)).astype(
  np.int32
)


@dataclasses.dataclass(frozen=True)
class HeadSpec:
  """What is known of a head when a file is written.

  Attributes:
    kernel: int8 [C, D], the weights.
    bias: int32 [C].
    kernel_scales: float64 [C], what an int8 step is worth.
    input_scale: of the features.
    input_zero_point: of the features.
    output_scale: of the logits.
    output_zero_point: of the logits.
    capacity: how many samples are remembered.
  """

  kernel: NDArray[np.int8]
  bias: NDArray[np.int32]
  kernel_scales: NDArray[np.float64]
  input_scale: float
  input_zero_point: int
  output_scale: float
  output_zero_point: int
  capacity: int

  @property
  def classes(self) -> int:
    """How many logits there are: C."""
    return int(self.kernel.shape[0])

  @property
  def inputs(self) -> int:
    """How many features there are: D."""
    return int(self.kernel.shape[1])

  @property
  def masters(self) -> NDArray[np.int16]:
    """The weights as they are held: int16 [C, D]."""
    return (self.kernel.astype(np.int16) * 256).astype(np.int16)

  @property
  def imagined(self) -> int:
    """How many inputs are imagined of a class without samples."""
    return max(4, min(32, 512 // self.classes))

  @property
  def training_bytes(self) -> int:
    """About how much memory `train` takes beside the file and the model.

    Five int32 arrays of all features are alive at once where these are
    measured, by what was seen of LiteRT's arena.
    """
    samples = self.capacity + self.classes * self.imagined
    return 20 * samples * self.inputs

  @property
  def residual_bits(self) -> int:
    """Fraction bits of a residual: so many that no sum over samples wraps."""
    most = max(self.capacity, self.classes * self.imagined)
    return min(13, 23 - math.ceil(math.log2(most)))

  @property
  def unit_scales(self) -> NDArray[np.float64]:
    """What one unit of a sum of products is worth, in nats: float64 [C]."""
    return self.kernel_scales * self.input_scale


@dataclasses.dataclass(frozen=True)
class State:
  """The variables of a head.

  Attributes:
    kernel: int16 [C, D].
    bias: int32 [C].
    features: int8 [N, D], the ring.
    labels: int32 [N], -1 where nothing is remembered.
    count: int32 [1], how many samples were ever remembered.
  """

  kernel: Variable
  bias: Variable
  features: Variable
  labels: Variable
  count: Variable


def state_of(spec: HeadSpec) -> State:
  """The variables of a head of this size."""
  classes, inputs, slots = spec.classes, spec.inputs, spec.capacity
  return State(
    Variable("kernel", (classes, inputs), "int16"),
    Variable("bias", (classes,), "int32"),
    Variable("features", (slots, inputs), "int8"),
    Variable("labels", (slots,), "int32"),
    Variable("count", (1,), "int32"),
  )


def forget(e: Engine, spec: HeadSpec) -> None:
  """Empties the ring and puts the file's own weights back."""
  state = state_of(spec)
  restore_weights(e, spec)
  e.assign(state.features, e.filled(state.features.shape, 0, "int8"))
  e.assign(state.labels, e.filled(state.labels.shape, -1, "int32"))
  e.assign(state.count, e.filled([1], 0, "int32"))


def restore_weights(e: Engine, spec: HeadSpec) -> None:
  """Gives the variables of the weights the file's own ones."""
  state = state_of(spec)
  kernel = e.cast(e.constant(spec.kernel, "int8"), "int32") * 256
  e.assign(state.kernel, e.cast(kernel, "int16"))
  e.assign(state.bias, e.constant(spec.bias))


def rounded(e: Engine, masters: Value) -> Value:
  """The int8 weights of int16 ones: halves are rounded up."""
  return e.cast((e.cast(masters, "int32") + 128) >> 8, "int8")


def remember(e: Engine, spec: HeadSpec, features: Value, label: Value) -> Value:
  """Puts a sample into the next slot of the ring; the oldest one goes.

  Args:
    e: the engine.
    spec: of the head.
    features: int8 [1, D].
    label: int32 [1]. One that is no class leaves all as it was.

  Returns:
    How many samples were remembered since the last reset: int32 [1].
  """
  state = state_of(spec)
  known = (label >= 0) & (label < spec.classes)
  count, ring, labels = map(e.read, (state.count, state.features, state.labels))
  slot = count % spec.capacity
  row = e.select(known, features, e.take(ring, slot))
  e.assign(state.features, e.with_row(ring, row, slot))
  own = e.select(known, label, e.take(labels, slot))
  e.assign(state.labels, e.with_row(labels, own, slot))
  after = count + e.cast(known, "int32")
  e.assign(state.count, after)
  return after


class Logits(NamedTuple):
  """How sums of products become logits of 1/128 bit, in 32 bits.

  Attributes:
    dropped: bits that a sum is shifted down before it is multiplied.
    most: what a sum counts as at most, before.
    factors: int32 [C, 1].
    bits: int32 [C, 1], by which the product is shifted down.
    low: the lowest logit that the layer's int8 output can be.
    high: the highest.
  """

  dropped: int
  most: int
  factors: NDArray[np.int32]
  bits: NDArray[np.int32]
  low: int
  high: int


def logits_of(spec: HeadSpec) -> Logits:
  """Of a head: the constants of its logits."""
  unit = UNITS * math.log2(math.e)
  reals = spec.unit_scales * unit
  # What lies outside of the int8 output cannot be told apart.
  reach = 256 * spec.output_scale * unit
  most = max(1.0, reach / max(float(reals.min()), 1e-12))
  dropped = max(0, min(15, math.ceil(math.log2(most)) - 15))
  factors, bits = mantissas(reals * 2.0**dropped, 14)
  return Logits(
    dropped,
    (1 << (15 + dropped)) - 1,
    factors[:, None],
    np.clip(bits, 0, 31)[:, None],
    round((-128 - spec.output_zero_point) * spec.output_scale * unit),
    round((127 - spec.output_zero_point) * spec.output_scale * unit),
  )


def mantissas(
  reals: NDArray[np.float64], width: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
  """Positive reals as integers of a width / 2**bits.

  Returns:
    Integers of `width` bits, and bits, which can be below 0; both int32.
  """
  safe = np.maximum(reals, 1e-30)
  bits = width - np.ceil(np.log2(safe)).astype(np.int32)
  found = np.round(safe * 2.0**bits)
  return np.minimum(found, 2**width - 1).astype(np.int32), bits


def logits(
  e: Engine, spec: HeadSpec, kernel: Value, offset: Value, features: Value
) -> Value:
  """Logits of samples, class by class.

  Args:
    e: the engine.
    spec: of the head.
    kernel: int8 [C, D].
    offset: int32 [C, 1], what is added to a sum of products.
    features: int8 [N, D].

  Returns:
    int32 [C, N], in 1/128 bit, within what the layer's output can be.
  """
  how = logits_of(spec)
  sums = e.matmul(kernel, features) + offset
  sums = within(e, sums, -how.most, how.most) >> how.dropped
  found = (sums * e.constant(how.factors)) >> e.constant(how.bits)
  return within(e, found, how.low, how.high)


def one_hot(e: Engine, spec: HeadSpec, labels: Value) -> Value:
  """int32 [C, N]: 1 for a sample's class; all 0 where there is no label."""
  classes = e.constant(np.arange(spec.classes)[:, None])
  return e.cast(e.reshaped(labels, [1, labels.shape[0]]) == classes, "int32")


class Odds(NamedTuple):
  """What logits say.

  Attributes:
    gaps: int32 [C, N], how far each lies below the largest, in 1/128 bit.
    total: int32 [1, N], the sum of 2**-gap over the classes, in 14 bits.
    shares: int32 [C, N], probabilities in `HeadSpec.residual_bits`.
  """

  gaps: Value
  total: Value
  shares: Value


def odds(e: Engine, spec: HeadSpec, found: Value) -> Odds:
  """Of logits, int32 [C, N]."""
  gaps = e.max(found, 0, keepdims=True) - found
  near = e.minimum(gaps, _FAR)
  powers = e.take(e.constant(_POWERS), near % UNITS) >> (near // UNITS)
  total = e.sum(powers, 0, keepdims=True)
  shares = powers * (1 << spec.residual_bits) // total
  return Odds(gaps, total, shares)


def scored(
  e: Engine, spec: HeadSpec, found: Value, said: Odds, hot: Value
) -> Value:
  """How well logits fit labels.

  Args:
    e: the engine.
    spec: of the head.
    found: int32 [C, N], logits.
    said: what they say.
    hot: int32 [C, N], as `one_hot` gives them.

  Returns:
    int32 [2, N]. First 1 where the label's logit is the only largest one, else
    0. Then the cross-entropy in 1/128 bit. For a sample without a label neither
    means anything.
  """
  own = e.sum(said.gaps * hot, 0, keepdims=True)
  others = e.max(found - hot * (1 << 24), 0, keepdims=True)
  right = e.cast(others < e.sum(found * hot, 0, keepdims=True), "int32")
  return e.joined([right, _log2(e, spec, said.total) + own])


class Told(NamedTuple):
  """How well logits fit labels, of samples that may have none.

  Attributes:
    loss: int32 [N], cross-entropy in 1/128 bit; 0 where there is no label.
    right: int32 [N]: 1 where the label's logit is the only largest one.
  """

  loss: Value
  right: Value


def tell(e: Engine, spec: HeadSpec, found: Value, hot: Value) -> Told:
  """Compares logits, int32 [C, N], with labels as `one_hot` gives them."""
  counts = e.sum(hot, 0, keepdims=True)
  score = scored(e, spec, found, odds(e, spec, found), hot) * counts
  right, loss = (e.take(score, e.constant([row])) for row in range(2))
  rows = [found.shape[1]]
  return Told(e.reshaped(loss, rows), e.reshaped(right, rows))


def _log2(e: Engine, spec: HeadSpec, total: Value) -> Value:
  """log2 of sums of powers, in 1/128 bit: int32 [1, N]."""
  most = max(1, spec.classes - 1).bit_length()
  steps = [[1 << (_TERM_BITS + number)] for number in range(1, most + 1)]
  above = e.cast(total >= e.constant(steps), "int32")
  octave = e.sum(above, 0, keepdims=True)
  head = (total >> octave) - (1 << _TERM_BITS)
  index = head >> (_TERM_BITS - UNITS.bit_length() + 1)
  return e.take(e.constant(_LOGARITHMS), index) + octave * UNITS
