"""Losses of outputs that each stand alone: values, gradients and answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflm_fg.losses import (
  BernoulliInformation,
  BinaryCrossEntropy,
  CrossEntropy,
)
from tflm_fg.losses.cross_entropy import MAX_ERROR_NATS
from tflm_fg.losses.squared_error import Grid


def entropy(p):
  return -sum(q * np.log(np.maximum(q, 1e-300)) for q in (p, 1 - p))


def sigmoid(z):
  return 1 / (1 + np.exp(-np.clip(z, -700, 700)))


def information(z):
  """Information maximisation in float64, a mean over samples and outputs."""
  p = sigmoid(z)
  return (entropy(p).mean(axis=0) - entropy(p.mean(axis=0))).mean()


@st.composite
def batches(draw):
  """Logits, labels and the grid of the logits."""
  bits = draw(st.sampled_from([8, 16]))
  high = 1 << (bits - 1)
  samples, outputs = draw(st.integers(1, 30)), draw(st.integers(1, 5))
  random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
  spread = draw(st.sampled_from([0.05, 0.3, 2.0]))
  logits = random.normal(0, spread * high, (samples, outputs)).round()
  logits = np.clip(logits, -high, high - 1).astype(f"int{bits}")
  scale = draw(st.sampled_from([1.0, 8.0, 40.0])) / high
  zero = draw(st.sampled_from([0, 23, -128, 127])) if bits == 8 else 0
  labels = random.integers(0, 2, logits.shape)
  return logits, labels, Grid(scale=scale, zero_point=zero, bits=bits)


def reals(logits, grid):
  return (logits.astype(np.float64) - grid.zero_point) * grid.scale


@settings(max_examples=80)
@given(batches())
def test_the_loss_is_the_real_one_within_the_stated_bound(case):
  logits, labels, grid = case
  loss = BinaryCrossEntropy(grid=grid)
  z = reals(logits, grid)
  want = np.logaddexp(0, z) - labels * z
  got = loss.per_sample(logits, labels)
  assert got.dtype == np.int64
  error = np.abs(got * loss.unit - want.mean(axis=1)).max()
  assert error < MAX_ERROR_NATS
  assert loss(logits, labels) == got.sum()


@settings(max_examples=40)
@given(batches())
def test_the_residual_is_twice_sigmoid_less_label(case):
  logits, labels, grid = case
  got = BinaryCrossEntropy(grid=grid).residual(logits, labels)
  want = 2 * (sigmoid(reals(logits, grid)) - labels)
  np.testing.assert_allclose(got / 65536, want, atol=1e-4)


def test_one_output_trains_as_two_outputs_under_a_softmax_do():
  margin = np.arange(-128, 128, dtype=np.int64)
  labels = margin % 2
  own = BinaryCrossEntropy(grid=Grid(scale=0.1, zero_point=0, bits=8))
  pair = CrossEntropy(0.1, 16)
  two = np.stack([np.zeros_like(margin), margin], axis=1).astype(np.int16)
  one = margin[:, None].astype(np.int8)
  moved = pair.residual(two, labels)
  got = own.residual(one, labels[:, None])[:, 0]
  assert np.abs(got - (moved[:, 1] - moved[:, 0])).max() <= 3
  same = own.per_sample(one, labels[:, None]) - pair.per_sample(two, labels)
  assert np.abs(same).max() <= 3


@settings(max_examples=60)
@given(batches())
def test_information_is_the_real_one_and_never_above_zero(case):
  logits, _, grid = case
  loss = BernoulliInformation(grid=grid)
  none = np.full(len(logits), -1)
  got = loss.mean(loss(logits, none), len(logits))
  assert got == pytest.approx(information(reals(logits, grid)), abs=1e-3)
  assert got <= 1e-3


@settings(max_examples=40)
@given(batches())
def test_the_residual_of_information_is_its_gradient(case):
  logits, labels, grid = case
  loss = BernoulliInformation(grid=grid)
  got = loss.residual(logits, labels) / 65536
  z = reals(logits, grid)
  numeric = np.zeros(z.shape)
  for place in np.ndindex(z.shape):
    step = np.zeros(z.shape)
    step[place] = 1e-5
    numeric[place] = (information(z + step) - information(z - step)) / 2e-5
  np.testing.assert_allclose(got, 2 * z.size * numeric, atol=8e-3)


def test_differences_of_information_add_up_to_those_of_the_batch():
  random = np.random.default_rng(0)
  loss = BernoulliInformation(grid=Grid(scale=0.03, zero_point=5, bits=8))
  some = random.integers(-60, 60, (40, 3)).astype(np.int8)
  others = (some + random.integers(-2, 3, some.shape)).astype(np.int8)
  none = np.full(40, -1)
  parts = loss.differences(some, others, none)
  whole = loss(some, none) - loss(others, none)
  assert parts.sum() == pytest.approx(whole, rel=0.02, abs=500)


def test_sure_and_varied_is_the_best_information_and_alike_the_worst():
  loss = BernoulliInformation(grid=Grid(scale=0.2, zero_point=0, bits=8))
  none = np.full(8, -1)
  varied = np.resize([-128, 127], (8, 1)).astype(np.int8)
  best = loss.mean(loss(varied, none), 8)
  assert best == pytest.approx(-math.log(2), abs=1e-3)
  for alike in (varied[:1].repeat(8, axis=0), np.zeros((8, 1), np.int8)):
    assert loss.mean(loss(alike, none), 8) == pytest.approx(0, abs=1e-3)


def test_a_logit_above_zero_answers_one_and_every_label_counts():
  loss = BinaryCrossEntropy(grid=Grid(scale=0.1, zero_point=10, bits=8))
  logits = np.array([[11, 10], [9, 30]], np.int8)
  right = loss.right(logits, np.array([[1, 0], [1, 1]]))
  assert right.tolist() == [[True, True], [False, True]]
  assert loss.answers(logits) == 4
  assert loss.answers(logits[:1].repeat(3, axis=0)) == 2


def test_a_real_unit_of_loss_is_worth_its_residual():
  """What node perturbation scales a measured slope by."""
  loss = BinaryCrossEntropy(grid=Grid(scale=0.001, zero_point=0, bits=16))
  labels = np.array([[1, 0]])
  at, ahead = np.array([[300, 40]], np.int16), np.array([[302, 40]], np.int16)
  slope = (loss(ahead, labels) - loss(at, labels)) / 0.002
  want = loss.residual(at, labels)[0, 0] / 65536
  assert slope * loss.residual_of_unit(2) == pytest.approx(want, rel=0.02)


def test_entropies_without_labels_are_means_over_the_outputs():
  logits = np.int8([[5, 100], [5, 100], [-90, 100], [-90, 100]])
  grid = Grid(scale=0.03, zero_point=5, bits=8)
  found = BernoulliInformation(grid=grid).entropies(logits)
  p = 1 / (1 + np.exp(-(logits - 5.0) * 0.03))
  entropy = lambda q: -(q * np.log(q) + (1 - q) * np.log(1 - q))  # noqa: E731
  assert found.own == pytest.approx(entropy(p).mean(), abs=1e-3)
  assert found.of_mean == pytest.approx(entropy(p.mean(0)).mean(), abs=1e-3)
  # A logit at the zero point answers 0, so both outputs answer alike always.
  assert found.of_answers == pytest.approx(0.0)
  assert found.most == pytest.approx(np.log(2))


def test_magnified_logits_count_as_much_more():
  grid = Grid(scale=0.002, zero_point=3, bits=8)
  loss = BinaryCrossEntropy(grid=grid)
  logits = np.arange(-128, 128, dtype=np.int8)[:, None]
  labels = np.arange(256)[:, None] % 2
  z = reals(logits, grid)
  got = loss.magnified(16).residual(logits, labels) / 65536
  np.testing.assert_allclose(got, 2 * (sigmoid(16 * z) - labels), atol=1e-4)
  assert loss.magnified(1) is loss
  assert loss.reach_of_outputs == pytest.approx(0.255)
