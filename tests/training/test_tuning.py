"""Settings that set themselves, from a few passes of their own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import FORWARD, method_of
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.spsa import CentralDifference
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.training import tuning
from tflm_fg.training.metrics import Score
from tflm_fg.training.trainer import StepRule
from tflm_fg.training.tuning import Growing, tuned

MARKED = tflm_fg.mark_trainable(models.conv_model(), "prompt,bias")
LAYOUT = Layout(MARKED.mark.trainable)
PARAMS = LAYOUT.params(weights_of(MARKED.data, MARKED.mark.trainable))
SHORT = {"batch_size": 16, "steps": tuning.SHORT_RUN}
OPEN = method_of("sign-m-spsa", **SHORT)
SCALE = 0.02


class Landscape:
  """Two-class logits that the trainable numbers move, without an engine.

  Each sample's logit is a wave over one projection of the numbers. Even and odd
  samples have waves of different lengths: near the start all agree on where to
  go, far from it they do not. Logits come in steps of `coarse`.
  """

  def __init__(self, coarse=1.0, length=60.0, samples=16):
    self.labels = np.zeros(samples, np.int64)
    self._coarse = coarse
    self._lengths = length * np.where(np.arange(samples) % 2, 1.0, 0.4)
    self.passes = 0

  def logits(self, weights):
    self.passes += 1
    start = LAYOUT.weights(PARAMS)
    moved = 0.0
    for tensor, now, then in zip(LAYOUT.tensors, weights, start, strict=True):
      unit = 1 if tensor.has_master else np.array(tensor.output_step)
      moved += ((now.astype(float) - then) / unit).sum()
    wave = 50 * np.sin(moved / self._lengths) / self._coarse
    first = np.rint(wave).astype(np.int64) * self._coarse
    return np.stack([-first, first], axis=1).clip(-128, 127).astype(np.int8)

  def logits_at(self, candidates):
    return [self.logits(weights) for weights in candidates]


def tune(method=OPEN, landscape=None):
  landscape = landscape or Landscape()
  return tuned(method, LAYOUT, PARAMS, landscape, CrossEntropy(SCALE))


def test_coarser_logits_get_a_larger_perturbation():
  fine, _ = tune(landscape=Landscape(coarse=1, length=20))
  coarse, _ = tune(landscape=Landscape(coarse=45, length=20))
  assert fine.epsilon_lsb < coarse.epsilon_lsb


def test_a_smooth_loss_gets_the_largest_perturbation_and_half_of_it_as_rate():
  found, reasons = tune(landscape=Landscape(length=3000))
  assert found.epsilon_lsb == tuning.SIZES[-1]
  assert found.learning_rate_lsb == tuning.SIZES[-1] / 2
  assert "hardly bends" in reasons["epsilon_lsb"]


def test_a_long_run_takes_the_smallest_clear_perturbation_and_shorter_steps():
  long = dataclasses.replace(OPEN, steps=16 * tuning.SHORT_RUN)
  found, reasons = tune(long)
  assert found.epsilon_lsb == tuning.LONG_SIZES[0]
  assert found.learning_rate_lsb == tuning.LONG_SIZES[0] / 8
  assert "the smallest" in reasons["epsilon_lsb"]
  coarse, _ = tune(long, Landscape(coarse=45, length=20))
  assert coarse.epsilon_lsb > found.epsilon_lsb


def test_a_loss_that_bends_gets_shorter_steps():
  """The samples' loss at its lowest point rises on both sides."""
  found, reasons = tune(
    dataclasses.replace(OPEN, epsilon_lsb=8.0), Landscape(length=12)
  )
  assert found.learning_rate_lsb <= 4
  assert set(reasons) == {"learning_rate_lsb"}


@pytest.mark.parametrize("method", FORWARD)
def test_what_was_tuned_is_told_with_its_value(method):
  found, reasons = tune(method_of(method, **SHORT))
  assert set(reasons) == {"epsilon_lsb", "learning_rate_lsb"}
  for name, reason in reasons.items():
    assert reason.startswith(f"{getattr(found, name):g}: ")
    assert len(reason) > 20
  assert None not in dataclasses.asdict(found).values()


def test_what_is_given_is_not_tuned_and_costs_no_pass():
  given = dataclasses.replace(OPEN, epsilon_lsb=3.0, learning_rate_lsb=0.7)
  landscape = Landscape()
  found, reasons = tune(given, landscape)
  assert found == given
  assert reasons == {}
  assert landscape.passes == 0


@pytest.mark.parametrize(
  ("given", "sizes"),
  [
    ({}, len(tuning.SIZES)),
    ({"learning_rate_lsb": 0.7}, len(tuning.SIZES)),
    ({"epsilon_lsb": 3.0}, 1),
  ],
)
def test_one_of_the_two_overrides_and_the_other_is_tuned(given, sizes):
  landscape = Landscape()
  found, reasons = tune(dataclasses.replace(OPEN, **given), landscape)
  for name, value in given.items():
    assert getattr(found, name) == value
    assert name not in reasons
  assert len(reasons) == 2 - len(given)
  assert landscape.passes == 1 + 2 * tuning.PROBES * sizes


@pytest.mark.parametrize("blocks", [2, 3, 100])
def test_every_block_has_its_share_of_the_probes(blocks):
  marked = tflm_fg.mark_trainable(models.conv_model(), "all")
  layout = Layout(marked.mark.trainable)
  params = layout.params(weights_of(marked.data, marked.mark.trainable))
  start = layout.weights(params)
  seen = set()

  class Watch(Landscape):
    def logits(self, weights):
      for tensor, now, then in zip(layout.tensors, weights, start, strict=True):
        if not np.array_equal(now, then):
          seen.add(tensor.operator)
      return np.zeros((16, 2), np.int8)

  given = dataclasses.replace(OPEN, blocks=blocks)
  tuned(given, layout, params, Watch(), CrossEntropy(SCALE))
  layers = {t.operator for t in layout.tensors}
  assert len(seen) == len(layers) or blocks >= len(layers) > tuning.PROBES


def test_momentum_adds_steps_up_and_so_shortens_them():
  short = dataclasses.replace(OPEN, steps=tuning.SHORT_RUN)
  with_momentum = dataclasses.replace(short, momentum=0.75)
  plain, _ = tune(short, Landscape(length=3000))
  slower, reasons = tune(with_momentum, Landscape(length=3000))
  assert slower.learning_rate_lsb == plain.learning_rate_lsb / 4
  assert "momentum" in reasons["learning_rate_lsb"]
  signs, _ = tune(
    dataclasses.replace(with_momentum, optimizer="sign"), Landscape(length=3000)
  )
  assert signs.learning_rate_lsb == plain.learning_rate_lsb


@pytest.mark.parametrize("steps", [5, 400])
def test_a_run_of_frank_wolfe_goes_half_of_the_way_to_a_corner_at_most(steps):
  """Further, and noise would have replaced what the weights were."""
  boxed = dataclasses.replace(OPEN, optimizer="frank-wolfe", steps=steps)
  found, reasons = tune(boxed, Landscape(length=3000))
  plain, _ = tune(dataclasses.replace(boxed, optimizer="sign"))
  assert 0 < found.learning_rate_lsb <= plain.learning_rate_lsb * 1.001
  rate = schedule(found.learning_rate_lsb, "linear", steps)
  candidate = sum(rate(step) for step in range(steps)) / 65536 / 127
  assert candidate <= 0.52 * (1 + 1 / steps)
  assert ("corner" in reasons["learning_rate_lsb"]) == (steps == 400)


@pytest.mark.parametrize(
  ("bend", "epsilon"), [(0.0, 16), (0.2, 4), (0.05, 16), (9.0, 2)]
)
def test_one_side_stays_where_the_loss_does_not_bend(
  bend, epsilon, monkeypatch
):
  """It would take the bend for slope; two sides see none of it."""
  monkeypatch.setattr(
    tuning,
    "_probe",
    lambda size, *rest: tuning.Probe(size, 0.2 + size / 20, 1.0, bend),
  )
  one, reasons = tune(method_of("one-sided", **SHORT))
  two, _ = tune(OPEN)
  assert (one.epsilon_lsb, two.epsilon_lsb) == (epsilon, 16)
  assert "hardly bends" in reasons["epsilon_lsb"]


@pytest.mark.parametrize("method", ["spsa", "multi-tangent"])
def test_a_rate_counts_in_slopes_only_where_steps_are_in_proportion(method):
  own = method_of(method, **SHORT)
  proportional, _ = tune(own, Landscape(length=3000))
  signs, _ = tune(
    dataclasses.replace(own, optimizer="sign"), Landscape(length=3000)
  )
  sign_m, _ = tune(OPEN, Landscape(length=3000))
  assert signs.learning_rate_lsb == sign_m.learning_rate_lsb
  assert proportional.learning_rate_lsb > 5 * signs.learning_rate_lsb


@pytest.mark.parametrize("method", FORWARD)
def test_directions_of_every_method_grow(method):
  own = method_of(method, **SHORT, epsilon_lsb=2.0, num_directions=2)
  rule = StepRule(own.estimator(LAYOUT, 1), None)
  plan = Growing(2)(Growing(2)(rule, score(9)), score(9))
  assert plan.estimator.num_directions == 2  # two watchers, no wait between
  growing = Growing(2)
  plan = growing(growing(rule, score(9)), score(9))
  assert type(plan.estimator) is type(rule.estimator)
  assert plan.estimator.num_directions == 4


def test_tuning_is_the_same_every_time_and_leaves_no_trace():
  before = PARAMS.kernels.tobytes(), PARAMS.biases.tobytes()
  assert tune() == tune()
  assert before == (PARAMS.kernels.tobytes(), PARAMS.biases.tobytes())


@pytest.mark.parametrize(
  "landscape", [Landscape(coarse=1e6), Landscape(samples=1)]
)
def test_a_flat_loss_and_a_single_sample_give_finite_settings(landscape):
  found, _ = tune(landscape=landscape)
  assert found.epsilon_lsb in tuning.SIZES
  assert 0 < found.learning_rate_lsb <= found.epsilon_lsb / 2


def test_another_seed_probes_other_directions():
  one, two = Landscape(), Landscape()
  seen = [[], []]
  for number, landscape in enumerate((one, two)):
    plain = landscape.logits
    landscape.logits = lambda w, plain=plain, n=number: (
      seen[n].append(w[0].tobytes()) or plain(w)
    )
    tune(dataclasses.replace(OPEN, seed=number), landscape)
  assert seen[0] != seen[1]


# Directions that grow.


def rule_of(m):
  estimator = CentralDifference(
    layout=LAYOUT,
    directions=Directions(LAYOUT, 0, "rademacher"),
    epsilon_lsb=2.0,
    num_directions=m,
    batch_size=1,
    signs_only=True,
  )
  return StepRule(estimator, None)


def score(total):
  return Score(0.0, 0.0, total, 0, 2, 1)


def lengths(patience, totals, m=1):
  """Directions after each look."""
  growing, rule, seen = Growing(patience), rule_of(m), []
  for total in totals:
    rule = growing(rule, score(total))
    seen.append(rule.estimator.num_directions)
  return seen


def test_directions_double_at_half_the_patience_and_once_a_stall():
  assert lengths(4, [9, 8, 8, 8, 8, 8]) == [1, 1, 1, 2, 2, 2]
  assert lengths(2, [9, 9, 8, 8, 7, 7, 7]) == [1, 2, 2, 4, 4, 8, 8]


def test_a_new_best_begins_the_wait_anew():
  assert lengths(4, [9, 9, 8, 8, 7, 7, 6]) == [1] * 7


def test_directions_end_at_their_most():
  totals = [total for best in range(9, 0, -1) for total in (best, best)]
  assert lengths(2, totals)[-1] == tuning.MOST_DIRECTIONS


@pytest.mark.parametrize("patience", [0, 1])
def test_without_patience_nothing_grows(patience):
  assert set(lengths(patience, [5] * 20, m=3)) == {3}


def test_a_rule_that_has_more_directions_by_choice_keeps_them():
  assert min(lengths(2, [9, 9, 9], m=16)) == 16
