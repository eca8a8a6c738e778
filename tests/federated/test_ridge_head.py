"""A head solved from sums that add up, rounded into masters."""

import numpy as np
import pytest

from tests import models
from tflm_fg.federated.schemes.ridge_head import (
  HEIGHT,
  best_pull,
  quantized,
  solve,
  sums_of,
)
from tflm_fg.gradients.head_input import head_of
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.placement.phase_record import masters_of, write_masters
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples import Dataset
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.metrics import logits_of
from tflm_fg.types import TflmFgError

CLASSES = 4


def clouds(samples=120, inputs=6, seed=0):
  """Integer inputs [N, D] in four clouds, and their classes."""
  random = np.random.default_rng(seed)
  centres = np.random.default_rng(9).normal(0, 30, (CLASSES, inputs))
  y = np.arange(samples) % CLASSES
  x = centres[y] + random.normal(0, 12, (samples, inputs))
  return np.rint(x).clip(-128, 127).astype(np.int8), y


def test_sums_of_parts_are_the_whole_less_the_rest():
  x, y = clouds()
  whole = sums_of(x, 3, y, CLASSES)
  rest = whole.less(sums_of(x[:40], 3, y[:40], CLASSES))
  for some, others in zip(rest, sums_of(x[40:], 3, y[40:], CLASSES)):
    assert np.array_equal(some, others)
  assert whole.squares.dtype == np.int64


def test_the_solution_is_where_the_ridges_gradient_is_zero():
  x, y = clouds()
  start = np.random.default_rng(1).normal(0, 0.1, (CLASSES, 6))
  found = solve(sums_of(x, -5, y, CLASSES), 0.1, start)
  inputs = x.astype(float) + 5
  aims = HEIGHT * (np.eye(CLASSES)[y] - 1 / CLASSES)
  errors = inputs @ found.kernel.T + found.bias - aims
  head = head_of(x, 1.0, -5, CrossEntropy(0.1), has_bias=False)
  spread = inputs.std(axis=0) + inputs.std(axis=0).max() / 20
  gradient = errors.T @ inputs / len(x)
  gradient += 0.1 * spread**2 * (found.kernel - start)
  assert np.abs(gradient).max() < 1e-6 * np.abs(aims.T @ inputs).max()
  assert np.abs(errors.mean(axis=0)).max() < 1e-9
  assert len(head.centre) == 6


def test_a_strong_pull_stays_at_the_start():
  x, y = clouds()
  start = np.random.default_rng(1).normal(0, 0.1, (CLASSES, 6))
  far = solve(sums_of(x, 0, y, CLASSES), 1e-3, start).kernel
  near = solve(sums_of(x, 0, y, CLASSES), 1e4, start).kernel
  assert np.abs(near - start).max() < 0.01 * np.abs(far - start).max()


def test_noise_asks_for_a_stronger_pull_than_clear_classes():
  pulls = (1e-3, 0.1, 10.0)
  x, y = clouds(24)
  parts = [(x[n::3], y[n::3]) for n in range(3)]
  clear = best_pull(parts, 0, CLASSES, pulls)
  random = np.random.default_rng(0)
  noise = random.integers(-90, 90, x.shape).astype(np.int8)
  parts = [(noise[n::3], y[n::3]) for n in range(3)]
  assert best_pull(parts, 0, CLASSES, pulls) > clear


@pytest.mark.parametrize("kind", ["int8", "per tensor", "16x8"])
def test_the_rounded_solution_answers_as_the_real_one(kind):
  model = models.dense_model(
    per_channel=kind != "per tensor", wide=kind == "16x8"
  )
  marked = mark_file(model, "head")
  x, y = models.separable()
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  samples = graph.samples(Dataset(x, y), "x")
  spec = tensor_spec(marked.file, marked.mark.head_input)
  zero = spec.zero_point
  sums = sums_of(samples.inputs[0], zero, y, 4)
  found = solve(sums, 0.3, height=3.0)
  kernel, bias = marked.mark.trainable
  params, saturated = quantized(
    found, kernel, bias, spec.scale, sums.inputs / sums.samples
  )
  assert saturated < 0.1
  masters = {kernel.index: params.kernels, bias.index: params.biases}
  assert masters.keys() == masters_of(marked.data, marked.mark).keys()
  after = SplitModel(
    write_masters(marked.data, marked.mark, masters),
    marked.mark,
    RuntimeOptions(),
  )
  answers = logits_of(after.suffix, samples.inputs).argmax(axis=1)
  inputs = samples.inputs[0].reshape(len(y), -1).astype(float) - zero
  real = (inputs @ found.kernel.T + found.bias).argmax(axis=1)
  assert (answers == real).mean() > 0.95
  assert (answers == y).mean() > 0.9


@pytest.mark.parametrize("pull", [0.0, -1.0])
def test_without_a_pull_it_is_refused(pull):
  x, y = clouds()
  with pytest.raises(TflmFgError, match="pull above 0"):
    solve(sums_of(x, 0, y, CLASSES), pull)
