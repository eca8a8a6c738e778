"""Information maximisation: its value, its gradient, and what it ignores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflm_fg.losses.base import NATS_PER_UNIT
from tflm_fg.losses.information_maximization import InformationMaximisation

NO_LABELS = np.full(1000, -1)


def softmax(z):
  power = np.exp(z - z.max(axis=1, keepdims=True))
  return power / power.sum(axis=1, keepdims=True)


def entropy(p):
  return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)


def real(z):
  """The definition in float64, a mean over samples in nats."""
  p = softmax(z)
  return entropy(p).mean() - entropy(p.mean(axis=0))


def value(loss, logits):
  total = loss(logits, NO_LABELS[: len(logits)])
  return total * NATS_PER_UNIT / len(logits)


@st.composite
def batches(draw, most_classes=12):
  """Logits of a width, and the real value of their step."""
  bits = draw(st.sampled_from([8, 16]))
  samples = draw(st.integers(1, 40))
  classes = draw(st.integers(2, most_classes))
  reach = draw(st.sampled_from([1.0, 4.0, 16.0, 40.0]))
  random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
  high = 1 << (bits - 1)
  spread = draw(st.sampled_from([0.05, 0.3, 1.0]))
  logits = random.normal(0, spread * high, (samples, classes)).round()
  logits = np.clip(logits, -high, high - 1).astype(f"int{bits}")
  return logits, reach / high, bits


@settings(max_examples=80)
@given(batches())
def test_the_value_is_the_real_one(case):
  logits, scale, bits = case
  got = value(InformationMaximisation(scale, bits), logits)
  assert got == pytest.approx(real(logits * scale), abs=1e-3)


@settings(max_examples=80)
@given(batches())
def test_the_residual_is_the_gradient_by_the_logits(case):
  logits, scale, bits = case
  loss = InformationMaximisation(scale, bits)
  got = loss.residual(logits, NO_LABELS[: len(logits)]) / 65536
  z = logits * scale
  samples, classes = z.shape
  numeric = np.zeros(z.shape)
  for sample in range(samples):
    for own in range(classes):
      step = np.zeros(z.shape)
      step[sample, own] = 1e-5
      numeric[sample, own] = samples * (real(z + step) - real(z - step)) / 2e-5
  np.testing.assert_allclose(got, numeric, atol=2e-3)


@settings(max_examples=40)
@given(batches())
def test_a_residual_does_not_move_all_logits_of_a_sample_together(case):
  """Softmax does not see a shift; what is left is rounding."""
  logits, scale, bits = case
  loss = InformationMaximisation(scale, bits)
  got = loss.residual(logits, NO_LABELS[: len(logits)])
  assert got.dtype == np.int64
  assert np.abs(got.sum(axis=1)).max() <= 4 * logits.shape[1]


@settings(max_examples=40)
@given(batches(), st.integers(0, 2**32 - 1))
def test_labels_are_not_looked_at(case, seed):
  logits, scale, bits = case
  loss = InformationMaximisation(scale, bits)
  labels = np.random.default_rng(seed).integers(0, 99, len(logits))
  none = NO_LABELS[: len(logits)]
  assert loss(logits, labels) == loss(logits, none)
  assert np.array_equal(
    loss.residual(logits, labels), loss.residual(logits, none)
  )
  ledger = loss.ledger(1, *logits.shape)
  assert ledger([logits], labels).tolist() == [loss(logits, none)]


@settings(max_examples=80)
@given(batches())
def test_answering_alike_is_the_worst_value(case):
  """Mutual information is never negative; its loss is never above zero."""
  logits, scale, bits = case
  loss = InformationMaximisation(scale, bits)
  assert value(loss, logits) <= 1e-3
  alike = np.repeat(logits[:1], len(logits), axis=0)
  assert value(loss, alike) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("classes", [2, 5, 12])
def test_sure_and_varied_is_the_best_value(classes, bits):
  high = 1 << (bits - 1)
  logits = np.full((4 * classes, classes), -high, f"int{bits}")
  logits[np.arange(len(logits)), np.arange(len(logits)) % classes] = high - 1
  loss = InformationMaximisation(30 / high, bits)
  assert value(loss, logits) == pytest.approx(-math.log(classes), abs=2e-3)
  unsure = np.zeros_like(logits)
  assert value(loss, unsure) == pytest.approx(0, abs=1e-3)
  collapsed = logits[:1].repeat(len(logits), axis=0)
  assert value(loss, collapsed) == pytest.approx(0, abs=1e-3)


def test_ledger_gives_the_sums_of_several_passes():
  random = np.random.default_rng(0)
  loss = InformationMaximisation(0.06)
  passes = list(random.integers(-128, 128, (3, 20, 5)).astype(np.int8))
  sums = loss.ledger(3, 20, 5)(passes, NO_LABELS[:20])
  assert sums.dtype == np.int64
  assert sums.tolist() == [loss(rows, NO_LABELS[:20]) for rows in passes]


def test_the_loss_is_an_integer_and_the_sum_of_its_samples():
  random = np.random.default_rng(0)
  loss = InformationMaximisation(0.06)
  logits = random.integers(-128, 128, (20, 5)).astype(np.int8)
  each = loss.per_sample(logits, NO_LABELS[:20])
  assert each.dtype == np.int64
  assert loss(logits, NO_LABELS[:20]) == each.sum()


def test_entropies_are_those_of_the_definition_and_make_the_loss():
  logits = np.random.default_rng(3).integers(-60, 60, (40, 6)).astype(np.int8)
  loss = InformationMaximisation(0.1, 8)
  p = softmax(logits * 0.1)
  shares = np.bincount(logits.argmax(axis=1)) / 40
  found = loss.entropies(logits)
  assert found.own == pytest.approx(entropy(p).mean(), abs=1e-3)
  assert found.of_mean == pytest.approx(entropy(p.mean(axis=0)), abs=1e-3)
  assert found.most == pytest.approx(math.log(6))
  assert -found.information == pytest.approx(value(loss, logits), abs=1e-4)
  assert found.variety == pytest.approx(entropy(shares) / math.log(6))
  assert loss.entropies(logits[:3]).most == pytest.approx(math.log(3))
  assert loss.entropies(logits[:1]).variety == 0.0
