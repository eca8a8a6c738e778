"""The integer losses are the real ones, within their stated errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflm_fg.losses import base, cross_entropy
from tflm_fg.losses.base import mean_nats
from tflm_fg.losses.cross_entropy import CrossEntropy, exp2_negative, log2_of


def float_loss(logits, labels, scale):
  z = logits.astype(np.float64) * scale
  top = z.max(axis=1, keepdims=True)
  total = np.log(np.exp(z - top).sum(axis=1)) + top[:, 0]
  return total - z[np.arange(len(z)), labels]


def plain_loss(logits, labels, loss):
  """The definition, a sample and a class at a time, in Python's integers."""
  power, rate = loss.power.tolist(), loss.distance.tolist()
  table = [round(2.0**30 * math.log2(1 + i / 256)) for i in range(257)]
  losses = []
  for row, label in zip(logits.tolist(), labels.tolist()):
    total = sum(power[max(row) - own] for own in row)
    top = total.bit_length() - 1
    fraction = ((total << 48) >> top) - (1 << 48)  # [0, 1) in Q48
    index, rest = fraction >> 40, (fraction >> 24) & 0xFFFF
    log2 = table[index] + (((table[index + 1] - table[index]) * rest) >> 16)
    losses.append(
      ((top - 24) << 16) + (log2 >> 14) + rate[max(row) - row[label]]
    )
  return losses


@pytest.mark.parametrize("classes", [2, 3, 12, 127, 128, 1000])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_fast_loss_is_the_plain_one_to_the_last_bit(bits, classes):
  random = np.random.default_rng(classes + bits)
  high = 1 << (bits - 1)
  loss = CrossEntropy(random.uniform(2, 40) / high, bits)
  ledger = cross_entropy.Ledger(loss, 3, 12, classes)
  for number in range(4):
    reach = (high, 3, high // 2, high)[number]
    passes = random.integers(-reach, reach, (3, 12, classes))
    if number == 3:  # the far ends of the range
      passes = np.where(passes > 0, high - 1, -high)
    passes = passes.astype(f"int{bits}")
    labels = random.integers(0, classes, 12)
    got = ledger.per_sample(list(passes), labels)
    assert got.dtype == np.int64
    for row, logits in zip(got, passes):
      assert row.tolist() == plain_loss(logits, labels, loss)
    assert ledger(list(passes), labels).tolist() == got.sum(axis=1).tolist()
    assert loss(passes[1], labels) == got[1].sum()


def worst_error(logits, labels, scale, bits):
  got = CrossEntropy(scale, bits).per_sample(logits, labels)
  exact = float_loss(logits, labels, scale)
  return np.abs(got * base.NATS_PER_UNIT - exact).max()


@pytest.mark.parametrize("classes", [2, 12, 1024])
@pytest.mark.parametrize("bits", [8, 16])
def test_error_against_float64_is_within_the_stated_bound(bits, classes):
  random = np.random.default_rng(classes)
  high = 1 << (bits - 1)
  logits = random.integers(-high, high, (500, classes))
  logits = logits.astype(f"int{bits}")
  labels = random.integers(0, classes, 500)
  for reach in (0.5, 4.0, 40.0):
    scale = reach / high
    error = worst_error(logits, labels, scale, bits)
    assert error < cross_entropy.MAX_ERROR_NATS


@settings(max_examples=50)
@given(
  st.lists(st.integers(-128, 127), min_size=2, max_size=20),
  st.floats(1e-3, 1.0),
  st.data(),
)
def test_any_int8_logits_stay_within_the_bound(row, scale, data):
  label = data.draw(st.integers(0, len(row) - 1))
  logits = np.array([row], np.int8)
  assert worst_error(logits, [label], scale, 8) < cross_entropy.MAX_ERROR_NATS


def test_loss_is_an_integer_and_the_sum_of_its_samples():
  random = np.random.default_rng(0)
  logits = random.integers(-128, 128, (30, 5)).astype(np.int8)
  labels = random.integers(0, 5, 30)
  loss = CrossEntropy(0.1)
  total = loss(logits, labels)
  assert isinstance(total, int)
  assert total == sum(
    loss(logits[i : i + 1], labels[i : i + 1]) for i in range(30)
  )


def test_equal_logits_cost_log_of_the_classes():
  loss = CrossEntropy(0.1)(np.zeros((1, 8), np.int8), np.array([3]))
  assert loss == 3 << base.LOSS_BITS
  assert mean_nats(loss, 1) == pytest.approx(math.log(8))


def test_a_shift_of_all_logits_changes_nothing():
  logits = np.array([[-20, 30, 5]], np.int8)
  loss = CrossEntropy(0.2)
  assert loss(logits, np.array([2])) == loss(
    logits + np.int8(50), np.array([2])
  )


def test_a_larger_own_logit_never_costs_more():
  loss = CrossEntropy(0.05)
  costs = [
    loss(np.array([[own, 10, -40]], np.int8), np.array([0]))
    for own in range(-128, 128)
  ]
  assert costs == sorted(costs, reverse=True)


def test_tables_agree_with_float64_at_every_kind_of_argument():
  x = np.arange(0, 30 << 16, 997, dtype=np.int64)
  exact = 2.0 ** (-x / 65536) * 2**24
  assert np.abs(exp2_negative(x) - exact).max() < 2**24 * 2e-6 + 1
  y = np.unique(np.geomspace(2**24, 2**40, 5000).astype(np.int64))
  assert np.abs(log2_of(y) / 65536 - np.log2(y / 2**24)).max() < 3e-5


@pytest.mark.parametrize("bits", [8, 16])
def test_a_residual_is_softmax_minus_the_label(bits):
  random = np.random.default_rng(bits)
  scale = 8 / (1 << (bits - 1))
  high = 1 << (bits - 1)
  logits = random.integers(-high, high, (50, 6)).astype(f"int{bits}")
  labels = random.integers(0, 6, 50)
  found = CrossEntropy(scale, bits).residual(logits, labels) / 65536
  power = np.exp(logits * scale)
  wanted = power / power.sum(axis=1, keepdims=True) - np.eye(6)[labels]
  assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale", [1.3, 1.4, 100.0, 1e6, 1e30])
def test_logits_of_any_scale_neither_wrap_nor_lose_their_order(scale, bits):
  loss = CrossEntropy(scale, bits)
  high = (1 << (bits - 1)) - 1
  rows = np.array([[high, -high - 1], [high, high - 1], [0, 0]])
  labels = np.array([1, 1, 1])
  losses = loss.per_sample(rows.astype(f"i{bits // 8}"), labels)
  assert losses[0] >= losses[1] >= losses[2] == 1 << 16
  assert losses.max() < 1 << 31
  assert (np.diff(loss.distance) >= 0).all()
  assert loss.distance.max() <= 1 << 30
