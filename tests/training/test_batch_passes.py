"""Passes give the same integers, however many run at once."""

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import method_of, options
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.gradients import perturbation
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.training import batch_passes
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.types import Samples

MARKED = mark_file(models.conv_model(), "all")
PART = whole(MARKED.data, MARKED.mark)
LOSS = CrossEntropy(8 / 127)
X = np.random.default_rng(0).normal(0, 1.5, (90, 6, 5, 2)).astype("f4")
Y = np.arange(90) % 3


def samples(count=7, seed=0):
  x = models.int8_samples((6, 5, 2), count, seed)
  return Samples((x,), np.arange(count) % 3)


def candidates(count):
  start = open_session("litert", PART).params()
  random = np.random.default_rng(1)
  return [
    [
      random.integers(-127, 128, w.shape).astype(np.int8)
      if w.dtype == np.int8
      else w
      for w in start
    ]
    for _ in range(count)
  ]


def sessions(count, strategy="in-place"):
  return [open_session("litert", PART, strategy) for _ in range(count)]


@pytest.mark.parametrize("strategy", ["in-place", "rebuild"])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_losses_come_in_the_order_of_the_weights(workers, count, strategy):
  batch, weights = samples(), candidates(count)
  (reference,) = sessions(1, strategy)
  want = []
  for candidate in weights:
    reference.load(candidate)
    want.append(LOSS(reference.run(batch.inputs)[0], batch.labels))
  first, *helpers = sessions(workers, strategy)
  together = BatchPasses(first, LOSS, batch, helpers)
  for _ in range(3):
    assert together.losses(weights).tolist() == want
  ran = [s.forward_passes for s in (first, *helpers)]
  assert sum(ran) == 3 * count
  assert max(ran) - min(ran) <= 3


def test_few_logits_at_once_give_the_same_losses(monkeypatch):
  weights = candidates(5)
  want = BatchPasses(*sessions(1), LOSS, samples()).losses(weights)
  for most in (1, 7 * 3, 7 * 3 * 2, 7 * 3 * 4):
    monkeypatch.setattr(batch_passes, "_LOGITS_AT_ONCE", most)
    some = BatchPasses(*sessions(1), LOSS, samples())
    assert some.losses(weights).tolist() == want.tolist()


def test_another_batch_is_used_from_then_on():
  weights = candidates(2)
  runs = BatchPasses(*sessions(1), LOSS, samples())
  before = runs.losses(weights)
  for other in (samples(7, seed=5), samples(4, seed=6)):
    runs.use(other)
    fresh = BatchPasses(*sessions(1), LOSS, other).losses(weights)
    assert runs.losses(weights).tolist() == fresh.tolist()
    assert fresh.tolist() != before.tolist()


def test_a_fault_in_a_thread_reaches_the_caller():
  first, helper = sessions(2)
  helper.load = None
  with pytest.raises(TypeError):
    BatchPasses(first, LOSS, samples(), [helper]).losses(candidates(2))


@pytest.mark.parametrize("strategy", ["in-place", "rebuild"])
@pytest.mark.parametrize(
  ("method", "m"),
  [
    ("sign-m-spsa", 1),
    ("sign-m-spsa", 3),
    ("one-sided", 2),
    ("sharpness-aware", 2),
  ],
)
def test_one_seed_gives_the_same_bytes_with_any_number_of_workers(
  method, m, strategy
):
  settings = options(method=method, steps=12, batch_size=16, num_directions=m)
  one, *others = (
    tflm_fg.adapt(
      models.conv_model(),
      X,
      Y,
      trainable="all",
      strategy=strategy,
      workers=workers,
      **settings,
    )
    for workers in (1, 2, 3, None)
  )
  assert one.report["workers"] == 1
  assert others[1].report["workers"] == min(
    3, settings["method"].passes_at_once()
  )
  for other in others:
    assert other.marked_model == one.marked_model
    assert other.journal.to_bytes() == one.journal.to_bytes()
    for count in ("forward_passes", "samples_run"):
      assert other.report[count] == one.report[count]


@pytest.mark.parametrize("directions", ["rademacher", "normal"])
def test_directions_in_small_lots_give_the_same_slopes(directions, monkeypatch):
  layout = Layout(MARKED.mark.trainable)
  params = layout.params(open_session("litert", PART).params())
  method = method_of(
    "spsa",
    num_directions=5,
    directions=directions,
    epsilon_lsb=2.0,
    learning_rate_lsb=1.0,
  )
  runs = BatchPasses(*sessions(1), LOSS, samples())
  state = TrainState(3, params)
  want = method.estimator(layout, 7)(runs, state)
  numbers = layout.num_kernels + layout.num_biases
  for most in (1, 2 * numbers, 4 * numbers):
    monkeypatch.setattr(perturbation, "NUMBERS_AT_ONCE", most)
    got = method.estimator(layout, 7)(runs, state)
    assert got.losses.tolist() == want.losses.tolist()
    assert got.slopes.tolist() == want.slopes.tolist()
