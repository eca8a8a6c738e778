"""What gradients of a head are times, so that a rate of 1 suits every model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tflm_fg.signatures.engine import Engine, Value, within
from tflm_fg.signatures.head import HeadSpec, mantissas
from tflm_fg.signatures.head_samples import Measured

RATE_BITS = 10
"""Fraction bits of a rate."""

MOST_RATE = 64
"""A rate counts as no more."""

STEP_BITS = 16
"""Fraction bits of an int8 step while a head trains."""

BIAS_BITS = 6
"""Fraction bits of a bias's unit while a head trains."""

_BIAS_SHARE = 1 / 11
"""Share of a step that the bias has, as an input of its own."""

_MOST_MOVE = 1 << 20
"""Of one step: so a speed stays below 2**23, and its product below 2**31."""


def bit_length(e: Engine, x: Value) -> Value:
  """How many bits x, int32 [1] and at least 0, has: int32 [1]."""
  powers = e.constant([[1 << k for k in range(31)]])
  return e.sum(e.cast(e.reshaped(x, [1, 1]) >= powers, "int32"), 1)


class Step(NamedTuple):
  """A positive real: mantissa * 2**-bits.

  Attributes:
    mantissa: int32 [1], of 10 bits.
    bits: int32 [1].
  """

  mantissa: Value
  bits: Value


def as_step(e: Engine, x: Value) -> Step:
  """The leading 10 bits of x, int32 [1], from 0 to 2**30."""
  length = bit_length(e, x)
  down = e.maximum(length - 10, 0)
  up = e.maximum(10 - length, 0)
  powers = e.constant([1 << k for k in range(11)])
  return Step((x >> down) * e.take(powers, up), up - down)


def constants(spec: HeadSpec) -> tuple[tuple[np.ndarray, ...], ...]:
  """What a mean of residuals is times, a unit of rate, before spreads count.

  Returns:
    Mantissas of 10 bits and their bits, both int32 [C, 1]; of weights, in
    2**-16 int8 steps, and of biases, in 2**-6 of their unit.
  """
  unit = 2.0**-spec.residual_bits / spec.unit_scales
  weights = 2 * (1 - _BIAS_SHARE) * unit * 2.0**STEP_BITS
  biases = 2 * _BIAS_SHARE * unit * 2.0**BIAS_BITS
  found = (mantissas(x, 10) for x in (weights, biases))
  return tuple(tuple(part[:, None] for part in pair) for pair in found)


class Factors(NamedTuple):
  """What means of residuals are times, at the first step's rate.

  Attributes:
    kernel: int32 [C, 1], of up to 10 bits.
    kernel_bits: int32 [C, D], to divide by, as a power of two.
    bias: int32 [C, 1], of up to 17 bits.
    bias_bits: int32 [C, 1].
  """

  kernel: Value
  kernel_bits: Value
  bias: Value
  bias_bits: Value


def factors_of(
  e: Engine, spec: HeadSpec, measured: Measured, rate: Value
) -> Factors:
  """At a rate, int32 [1] in 1/1024, of samples that were measured."""
  (own, own_bits), (other, other_bits) = constants(spec)
  # A rate is in 1/1024, a length in 1/16.
  ratio = as_step(e, rate * (1 << 14) // measured.length)
  bits = e.constant(own_bits) + ratio.bits + (14 + RATE_BITS - 4 - 10)
  return Factors(
    (e.constant(own) * ratio.mantissa) >> 10,
    within(e, bits + measured.bits, 0, 31),
    (e.constant(other) * rate) >> 9,
    e.constant(np.clip(other_bits + (RATE_BITS - 9), 0, 31)),
  )


def moved(
  e: Engine, sums: Value, factors: Value, bits: Value, share: Value
) -> Value:
  """Gives sums * factors / 2**bits, at most 2**20 either way, times a share.

  Args:
    e: the engine.
    sums: int32; with factors it fits 31 bits.
    factors: int32.
    bits: int32, 0 to 31.
    share: int32, in 1/256.
  """
  product = within(e, (sums * factors) >> bits, -_MOST_MOVE, _MOST_MOVE)
  return (product * share) >> 8
