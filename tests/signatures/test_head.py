"""How a file trains its head, as NumPy does it: guarded, in 32 bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.signatures import heads
from tests.signatures.checked import CheckedEngine
from tflm_fg import signatures
from tflm_fg.signatures import head_calls, imagined


def accuracy(spec, weights, x, y):
  return heads.right(spec, weights, x, y).mean()


def begun(spec):
  return signatures.HeadWeights(spec.masters.astype(np.int32), spec.bias)


@pytest.mark.parametrize("seed", range(4))
def test_a_head_learns_what_it_is_shown(seed):
  spec = heads.random_head(seed, capacity=64)
  x, y = heads.clusters(spec, 60, seed)
  other, labels = heads.clusters(spec, 80, seed)
  assert accuracy(spec, begun(spec), other, labels) < 0.7
  loss, weights = heads.trained(heads.engine_with(spec, x, y), spec)
  assert accuracy(spec, weights, other, labels) > 0.95
  assert 0 <= loss < 0.4


@pytest.mark.parametrize("seed", range(3))
def test_labels_by_chance_do_not_move_a_head_that_is_right(seed):
  """On samples that were kept aside it would be worse."""
  spec = heads.random_head(seed, capacity=64)
  x, y = heads.clusters(spec, 60, seed)
  engine = heads.engine_with(spec, x, y)
  _, good = heads.trained(engine, spec)
  random = np.random.default_rng(seed)
  wrong = np.where(np.arange(60) % 15 == 8, y, random.permutation(y))
  kept = kept_aside(wrong)
  before = heads.right(spec, good, x[kept], wrong[kept]).sum()
  for slot, label in enumerate(wrong):
    engine.variables["labels"][slot] = label
  _, after = heads.trained(engine, spec)
  assert heads.right(spec, after, x[kept], wrong[kept]).sum() >= before


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_what_can_only_be_learned_by_heart_moves_nothing(seed):
  """Labels by chance of inputs by chance, fewer than there are weights."""
  spec, x, y = by_chance(seed)
  _, weights = heads.trained(heads.engine_with(spec, x, y), spec)
  assert (weights.kernel == spec.masters).all()
  assert (weights.bias == spec.bias).all()


def by_chance(seed):
  spec = heads.random_head(seed, inputs=60, capacity=32)
  random = np.random.default_rng(seed)
  x = random.integers(-90, 91, (32, 60)).astype(np.int8)
  return spec, x, random.integers(0, 4, 32).astype(np.int32)


def kept_aside(y):
  """Of each class the third sample and every fifth from there."""
  ranks = [int((y[: n + 1] == label).sum()) for n, label in enumerate(y)]
  return np.array(ranks) % 5 == 3


def lost(shown, seed):
  """Share of samples of classes that were not shown, lost by training.

  All samples have moved as a whole, as under a new microphone.
  """
  spec = heads.random_head(seed, classes=8, inputs=24, capacity=64)
  x, y = heads.clusters(spec, 64, seed)
  _, weights = heads.trained(heads.engine_with(spec, x, y), spec)
  engine = signatures.NumpyEngine()
  signatures.forget(engine, spec)
  engine.variables["kernel"] = weights.kernel.astype(np.int16)
  engine.variables["bias"] = weights.bias
  x, y = moved(spec, seed, range(shown))
  for sample, label in zip(x, y):
    signatures.remember(engine, spec, sample[None], np.array([label]))
  _, after = heads.trained(engine, spec)
  x, y = moved(spec, seed, range(shown, 8))
  before, behind = (
    heads.right(spec, found, x, y).mean() for found in (weights, after)
  )
  return before - behind


def moved(spec, seed, classes):
  x, y = heads.clusters(spec, 64, seed, classes=classes)
  return np.clip(x.astype(int) + 9, -128, 127).astype(np.int8), y


@pytest.mark.parametrize("shown", [2, 6])
def test_classes_that_are_not_shown_are_kept(shown, monkeypatch):
  kept = np.mean([lost(shown, seed) for seed in (1, 3)])
  monkeypatch.setattr(
    head_calls, "_parts", lambda e, spec, absent: np.array([[shown], [0]])
  )
  without = np.mean([lost(shown, seed) for seed in (1, 3)])
  assert kept <= 0.1
  assert without >= kept + 0.15


@pytest.mark.parametrize(
  ("classes", "inputs", "capacity", "reach"),
  [
    (2, 3, 8, 1.0),
    (12, 64, 512, 20.0),
    (3, 200, 2048, 60.0),
    (40, 5, 100, 5.0),
  ],
)
@pytest.mark.parametrize("rate", [0.01, 4.0, 1000.0])
def test_nothing_wraps_around_in_32_bits(
  classes, inputs, capacity, reach, rate
):
  """Not even with features at their ends and labels by chance."""
  spec = heads.random_head(1, classes, inputs, capacity, reach)
  random = np.random.default_rng(2)
  x = np.where(random.integers(0, 2, (capacity, inputs)), 127, -128)
  engine = CheckedEngine()
  signatures.forget(engine, spec)
  engine.variables["features"] = x.astype(np.int8)
  labels = random.integers(0, classes, capacity)
  engine.variables["labels"] = labels.astype(np.int32)
  loss, _ = heads.trained(engine, spec, 5, rate)
  assert loss >= 0


def test_no_sum_wraps_around_where_all_samples_pull_one_way(monkeypatch):
  """All of them lie at an end, and the head is sure that they are another."""
  monkeypatch.setattr(head_calls, "_are_believed", lambda *_: np.array([True]))
  spec = heads.random_head(0, 2, 4, 2048, reach=60.0)
  wrong = np.array([[127] * 4, [-127] * 4], np.int8)
  spec = dataclasses.replace(
    spec, kernel=wrong, bias=np.zeros(2, np.int32), input_zero_point=0
  )
  engine = CheckedEngine()
  signatures.forget(engine, spec)
  engine.variables["features"] = np.full((2048, 4), -128, np.int8)
  engine.variables["labels"] = np.zeros(2048, np.int32)
  heads.trained(engine, spec, 3)
  assert (engine.variables["bias"] != spec.bias).any()


def test_two_runs_give_the_same_bytes():
  spec = heads.random_head(5)
  x, y = heads.clusters(spec, 30, 5)
  first, second = (
    heads.trained(heads.engine_with(spec, x, y), spec) for _ in range(2)
  )
  assert first[0] == second[0]
  assert (first[1].kernel == second[1].kernel).all()


def test_one_scale_for_all_classes_learns_as_well():
  spec = heads.random_head(2, per_channel=False, capacity=64)
  x, y = heads.clusters(spec, 60, 2)
  _, weights = heads.trained(heads.engine_with(spec, x, y), spec)
  assert accuracy(spec, weights, x, y) > 0.95


def answers(spec, x):
  """What a head says before it trains: classes [N]."""
  engine = heads.engine_with(spec, x[:0], x[:0])
  weights = signatures.weights_now(engine, spec)
  hits = [
    heads.right(spec, weights, x, np.full(len(x), c))
    for c in range(spec.classes)
  ]
  return np.argmax(hits, axis=0).astype(np.int32)


def test_few_samples_are_enough_where_the_head_knows_most_of_them():
  spec = heads.random_head(4, capacity=8)
  x = np.random.default_rng(4).integers(-90, 91, (8, 6)).astype(np.int8)
  y = answers(spec, x)
  y[-2:] = (y[-2:] + 1) % 4
  _, weights = heads.trained(heads.engine_with(spec, x, y), spec)
  assert (weights.kernel != spec.masters).any()


def moved_by_chance(seed):
  """Whether labels that are mixed up move a head of ten classes."""
  spec = heads.random_head(seed, classes=10, inputs=8, capacity=64)
  x, y = heads.clusters(spec, 60, seed)
  mixed = np.random.default_rng(seed).permutation(y)
  _, weights = heads.trained(heads.engine_with(spec, x, mixed), spec)
  return (weights.kernel != spec.masters).any()


def test_labels_that_are_mixed_up_are_not_believed(monkeypatch):
  assert np.mean([moved_by_chance(seed) for seed in range(20)]) <= 0.1
  monkeypatch.setattr(head_calls, "_are_believed", lambda *_: np.array([True]))
  assert np.mean([moved_by_chance(seed) for seed in range(20)]) >= 0.3


@pytest.mark.parametrize("capacity", [7, 2049])
def test_a_capacity_that_does_not_fit_is_refused(capacity):
  import tflm_fg
  from tests import models
  from tests.refusals import refused

  marked = tflm_fg.mark_trainable(models.conv_model(), "head")
  told = refused(lambda: signatures.head_spec(marked, capacity))
  assert "8 to 2048" in str(told)


def test_measuring_moves_nothing():
  spec = heads.random_head(6, capacity=16)
  x, y = heads.clusters(spec, 12, 6)
  engine = heads.engine_with(spec, x, y)
  loss, _ = heads.trained(engine, spec, 3)
  before = engine.variables["kernel"].copy()
  found = signatures.evaluate_head(engine, spec)
  assert found.count == 12
  assert found.loss == np.float32(loss)
  assert (
    found.correct
    == heads.right(spec, signatures.weights_now(engine, spec), x, y).sum()
  )
  assert (engine.variables["kernel"] == before).all()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_imagined_is_what_the_head_takes_for_the_class(seed):
  spec = heads.random_head(seed, classes=5, inputs=8, capacity=32)
  x, y = heads.clusters(spec, 20, seed, classes=[0, 1])
  hot = (y == np.arange(5)[:, None]).astype(np.int32)
  ring = imagined.ring_of(signatures.NumpyEngine(), x, y, hot)
  offset = spec.bias - spec.input_zero_point * spec.kernel.sum(
    axis=1, dtype=np.int32
  )
  points, labels = imagined.imagined(
    signatures.NumpyEngine(), spec, ring, spec.kernel, offset[:, None]
  )
  assert set(labels) <= {-1, 2, 3, 4}
  assert len(set(labels)) > 2
  own = labels >= 0
  sums = points[own].astype(int) @ spec.kernel.T.astype(int) + offset
  reals = sums * spec.unit_scales
  beyond = reals.max(axis=1) - reals[np.arange(own.sum()), labels[own]]
  assert (beyond < 0.02).all()
