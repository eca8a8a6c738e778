"""The loss over time is what floats say, and its gradient is its own."""

import numpy as np
import pytest

from tests.detection import heads
from tflm_fg.detection import Settings
from tflm_fg.detection.over_time import Words
from tflm_fg.detection.row import (
  MOST_BITS,
  Row,
  products,
  sigmoid,
  softplus,
  to_fixed,
)
from tflm_fg.detection.training import Negatives, Task
from tflm_fg.losses.base import NATS_PER_UNIT

SETTINGS = Settings(settle_seconds=0.4, hard_steps=0)


def task(head, settings=SETTINGS, output=0):
  rule = heads.RULE
  word, other = (1, 2, 3), (7, 8)
  rows = Row.of(head, output)
  return Task.of(
    rows,
    heads.streams(3, word),
    heads.streams(2, other, seed=2),
    heads.streams(2, word, seed=3, noise=20),
    rule,
    settings,
  )


def in_floats(found, head, output, weights, bias):
  """The same loss in float64, from the definition."""
  rule, margin = heads.RULE, SETTINGS.margin
  all_weights, all_bias = head.weights.astype(float), head.bias.astype(float)
  all_weights[output], all_bias[output] = weights, bias

  def odds(stream):
    z = (stream.astype(float) + 128) @ all_weights.T + all_bias
    z *= head.input_scale * head.weight_scales[0]
    if head.activation == "LOGISTIC":
      return z[:, output]
    rest = np.delete(z, output, 1) / head.logit_scale
    low, high = -128 - head.logit_zero_point, 127 - head.logit_zero_point
    rest = np.clip(np.rint(rest), low, high) * head.logit_scale
    return z[:, output] - np.log(np.exp(rest).sum(axis=1))

  target = np.log(rule.cutoff / (1 - rule.cutoff)) + margin
  words = heads.streams(3, (1, 2, 3))
  keepers = heads.streams(2, (1, 2, 3), seed=3, noise=20)
  total = 0.0
  for group in (words, keepers):
    for stream in group:
      z = np.convolve(odds(stream), np.ones(3) / 3, "valid")
      best = z[4 - 2 :].max()  # windows that end at step 4 or later
      total += np.logaddexp(0, target - best) / len(group)
  others = np.concatenate(
    [odds(s)[rule.warm_up :] for s in heads.streams(2, (7, 8), seed=2)]
  )
  weight = SETTINGS.negative_seconds / rule.step_seconds
  return total + weight * np.logaddexp(0, others + margin).mean()


KINDS = {
  "LOGISTIC": heads.head(),
  "SOFTMAX": heads.head("SOFTMAX", 3, seed=4),
  "LOGISTIC of two": heads.head(outputs=2, seed=5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_floats(kind):
  head, random = KINDS[kind], np.random.default_rng(6)
  output = len(head.weights) - 1
  found = task(head, output=output)
  for _ in range(5):
    weights = random.integers(-127, 128, heads.FEATURES).astype(np.int8)
    bias = int(random.integers(-9000, 9000))
    total = found.negatives.hardest(
      found.row, weights, bias, heads.RULE, SETTINGS
    ).charge(weights, bias)
    for words in found.words:
      total += words.charge(weights, bias)
    real = in_floats(found, head, output, weights, bias)
    assert total.nats == pytest.approx(real, rel=2e-4, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_the_slope_of_the_integer_loss(kind):
  """Two-sided differences of the loss along random directions."""
  head, random = KINDS[kind], np.random.default_rng(7)
  found, row = task(head), Row.of(head, 0)
  others = found.negatives.hardest(row, row.weights, 0, heads.RULE, SETTINGS)
  groups = [others, *found.words]
  for _ in range(8):
    # Odds around the target, where losses are neither flat nor straight.
    weights = random.integers(-20, 21, heads.FEATURES).astype(np.int8)
    bias = int(random.integers(-3000, 3000))
    way = random.integers(-1, 2, heads.FEATURES).astype(np.int8)
    bias_way = int(random.integers(-50, 51))
    for group in groups:
      best = [
        words.best(words.log_odds(w, b))
        for words in found.words
        for w, b in (
          (weights - way, bias - bias_way),
          (weights + way, bias + bias_way),
        )
      ]
      if any((a != b).any() for a, b in zip(best[::2], best[1::2])):
        continue  # another window is the best: there the loss has a corner
      ends = [
        group.charge(
          (weights + s * way).astype(np.int8), bias + s * bias_way
        ).nats
        for s in (-1, 1)
      ]
      here = group.charge(weights, bias)
      slope = here.kernel @ way.astype(np.int64) + here.bias * bias_way
      real = slope / 2**24 * row.unit
      assert (ends[1] - ends[0]) / 2 == pytest.approx(real, rel=0.02, abs=2e-3)


def test_of_equal_windows_the_first_is_the_best():
  head = heads.head()
  row = Row.of(head, 0)
  same = [np.full((20, heads.FEATURES), 5, np.int8)] * 2
  words = Words.of(row, same, heads.RULE, SETTINGS, 1.0)
  odds = words.log_odds(row.weights, row.bias)
  assert list(words.best(odds)) == [0, 16]
  odds[3] += 1
  assert list(words.best(odds)) == [3, 16]


def test_the_hardest_steps_are_those_with_the_highest_odds():
  head = heads.head()
  row = Row.of(head, 0)
  streams = heads.streams(2, (7, 8), seed=2)
  joined = Negatives.of(row, streams, heads.RULE)
  sums = row.accumulators(joined.inputs, row.weights, row.bias)
  settings = Settings(hard_steps=10)
  others = joined.hardest(row, row.weights, row.bias, heads.RULE, settings)
  kept = others.inputs @ row.weights + row.bias
  assert sorted(kept) == sorted(np.sort(sums)[-10:])
  assert others.steps == len(joined.inputs) == 72


def test_products_are_exact_for_heads_of_any_width():
  random = np.random.default_rng(0)
  for width in (3, 1032, 1033, 5001):
    x = np.full((2, width), -128, np.int8)
    x[0, -1] = -127  # an odd sum, which a float32 holds up to 2**24 alone
    x[1] = random.integers(-128, 128, width)
    for w in (np.full(width, 127), random.integers(-127, 128, width)):
      exact = x.astype(np.int64) @ w
      assert list(products(x, w.astype(np.int8))) == list(exact)


def test_sigmoid_and_softplus_are_those_of_floats():
  bits = np.arange(-40 << 16, 40 << 16, 4999)
  nats = bits * NATS_PER_UNIT
  assert sigmoid(bits) / 65536 == pytest.approx(
    1 / (1 + np.exp(-nats)), abs=2e-5
  )
  assert softplus(bits) * NATS_PER_UNIT == pytest.approx(
    np.logaddexp(0, nats), abs=5e-5
  )
  assert sigmoid(np.array([MOST_BITS, -MOST_BITS])).tolist() == [65536, 0]


def test_fixed_point_saturates_in_place_of_wrapping():
  huge = np.array([1 << 62, -(1 << 62), 0, 3])
  for scale in (1e-9, 0.3, 1e9):
    found = to_fixed(huge, scale)
    assert (np.abs(found) <= MOST_BITS).all()
    assert found[0] == -found[1]
    assert found[2] == 0
  assert to_fixed(np.array([1000]), 0.25)[0] == 250
