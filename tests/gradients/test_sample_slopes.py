"""Slopes predicted from mean slopes of the outputs: right, and less noisy."""

import numpy as np
import pytest

from tflm_fg.gradients.sample_slopes import MeanJacobian
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.losses.squared_error import Grid, SquaredError

N, NUMBERS, OUTPUTS = 32, 90, 10
ONE = 1 << 16


def drawn(random, samples=N):
  return random.choice([-1, 1], (samples, NUMBERS)).astype(np.int8)


class Linear:
  """Outputs that change with the numbers alike for all samples, or almost."""

  def __init__(self, spread=0.0):
    self.random = np.random.default_rng(0)
    self.mean = self.random.normal(0, 1, (OUTPUTS, NUMBERS))
    self.own = self.random.normal(0, spread, (N, OUTPUTS, NUMBERS))
    self.by_output = self.random.normal(0, 0.1, (N, OUTPUTS))

  def gradient(self):
    jacobians = self.mean + self.own
    return np.einsum("nc,ncd->d", self.by_output, jacobians) / N

  def step(self, jacobian):
    z = drawn(self.random)
    outputs = np.einsum("ncd,nd->nc", self.mean + self.own, z)
    slopes = (self.by_output * outputs).sum(axis=1)
    found = jacobian.gradient(z, *map(fixed, (outputs, self.by_output, slopes)))
    return found / ONE


def fixed(values):
  return np.rint(np.asarray(values) * ONE).astype(np.int64)


def test_outputs_that_change_alike_are_predicted_without_noise():
  linear, jacobian = Linear(), MeanJacobian()
  first = linear.step(jacobian)
  for _ in range(300):
    last = linear.step(jacobian)
  true = linear.gradient()
  assert np.abs(first - true).max() > 20 * np.abs(last - true).max()
  assert np.abs(jacobian.slopes / ONE - linear.mean).max() < 0.05


def test_the_gradient_is_right_on_average_where_the_prediction_is_not():
  linear, jacobian = Linear(spread=1.0), MeanJacobian()
  for _ in range(100):
    linear.step(jacobian)
  found = [linear.step(jacobian) for _ in range(600)]
  errors = np.std(found, axis=0) / np.sqrt(len(found))
  away = np.mean(found, axis=0) - linear.gradient()
  assert (np.abs(away) < 5 * errors).all()
  predicted = linear.by_output.mean(axis=0) @ linear.mean
  assert np.abs(predicted - linear.gradient()).max() > 5 * errors.max()


def test_the_same_slopes_give_the_same_integers():
  ends = []
  for _ in range(2):
    linear, jacobian = Linear(spread=0.5), MeanJacobian()
    ends.append([linear.step(jacobian) for _ in range(5)])
  assert np.array_equal(*ends)


@pytest.mark.parametrize("samples", [1, 4, 200])
def test_the_mean_jacobian_stays_bounded_however_few_samples_there_are(samples):
  random, jacobian = np.random.default_rng(0), MeanJacobian()
  mean = random.normal(0, 1, (OUTPUTS, NUMBERS))
  for _ in range(400):
    z = drawn(random, samples)
    outputs = z @ mean.T
    nothing = np.zeros((samples, OUTPUTS), np.int64)
    jacobian.gradient(z, fixed(outputs), nothing, nothing[:, 0])
  assert np.abs(jacobian.slopes).max() < 10 * ONE


def test_the_slope_by_an_output_is_what_the_loss_changes_by():
  loss, random = CrossEntropy(0.07), np.random.default_rng(0)
  logits = random.integers(-60, 60, (50, OUTPUTS)).astype(np.int8)
  labels = random.integers(0, OUTPUTS, 50)
  found = loss.by_output(logits, labels) / ONE
  for output in range(OUTPUTS):
    ends = []
    for way in (2, -2):
      moved = logits.copy()
      moved[:, output] += way
      ends.append(loss.per_sample(moved, labels) * loss.unit / 4)
    assert np.abs(found[:, output] - (ends[0] - ends[1])).max() < 1e-3


def test_a_loss_that_does_not_say_is_not_predicted():
  loss = SquaredError(grid=Grid(scale=0.1, zero_point=0, bits=8))
  outputs = np.zeros((2, 3), np.int8)
  assert loss.by_output(outputs, outputs) is None
