"""Choose what a phase's method leaves open, from a few passes of its own.

A handful of directions at several sizes tell, on two halves of a batch, how
well the halves agree (a loss of coarse logits needs a large perturbation), how
steep the loss is and how it bends.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.gradients.method import Method
from tflm_fg.gradients.perturbation import ForwardGradient
from tflm_fg.gradients.spsa import DirectionalMethod
from tflm_fg.losses.base import Loss, mean_nats
from tflm_fg.optimizers.kinds import OPTIMIZERS
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.metrics import Score
from tflm_fg.training.trainer import StepRule
from tflm_fg.types import Array, Params

SIZES, LONG_SIZES = (2, 4, 8, 16), (1, 2, 4, 8, 16)
"""Perturbations that are tried, in int8 steps, of short and of long runs."""

PROBES = 4
"""Directions that each of them is tried along."""

PROBE_STEP = 0xFFFFFFFE
"""Where the probes' directions stand, or just below: behind any training."""

NEAR_BEST, AS_GOOD = 0.05, 0.01
"""Agreement that may be lost for a larger perturbation, and that is chance."""

SHORT_RUN = 200
"""Steps up to which a step may be as long as the loss allows."""

MOST_RATE = 65536
"""No learning rate may be larger: where no slope shows, none would do."""

MOST_DIRECTIONS = 8
"""Growing ends here."""


class Probe(NamedTuple):
  """What one size of perturbation showed.

  Attributes:
    epsilon_lsb: its size, in int8 steps.
    agreement: correlation of the differences of the two halves, -1 to 1.
    slope: mean size of the slope along a direction, nats an int8 step.
    bend: mean second derivative along a direction, nats an int8 step squared.
  """

  epsilon_lsb: float
  agreement: float
  slope: float
  bend: float


def tuned(
  method: Method,
  layout: Layout,
  params: Params,
  passes: BatchPasses,
  loss: Loss,
) -> tuple[Method, dict[str, str]]:
  """Fills in epsilon and learning rate where they are None.

  Args:
    method: of the phase.
    layout: of the phase's tensors.
    params: where the phase begins.
    passes: of its first batch.
    loss: what it lowers.

  Returns:
    The method without a None, and why each is what it is.
  """
  if not isinstance(method, DirectionalMethod):
    return method, {}
  epsilon, rate = method.epsilon_lsb, method.learning_rate_lsb
  if epsilon is not None and rate is not None:
    return method, {}
  is_long = method.steps > SHORT_RUN
  sizes = LONG_SIZES if is_long else SIZES
  sizes = sizes if epsilon is None else (epsilon,)
  start = _halves([passes.logits(layout.weights(params))], passes, loss)
  probes = [
    _probe(size, start, method, layout, params, passes, loss) for size in sizes
  ]
  if method.needs_straight_loss:
    chosen, why = _unbent(probes)
  elif is_long:
    chosen, why = _finest(probes)
  else:
    chosen, why = _clearest(probes)
  reasons = {}
  if epsilon is None:
    epsilon = chosen.epsilon_lsb
    reasons["epsilon_lsb"] = f"{epsilon:g}: {why}"
  if rate is None:
    rate, why = _rate(chosen, method.steps)
    if method.momentum and method.optimizer == "sgd":
      rate = float(f"{rate * (1 - method.momentum):.3g}")
      why += ", less as momentum adds steps up"
    most = (OPTIMIZERS[method.optimizer].most_rate or math.inf) / method.steps
    if rate > most:
      # Each step forgets a share of where a weight was.
      rate = float(f"{most:.3g}")
      why = f"half of the distance to a corner in {method.steps} steps"
    if not method.steps_by_rate:  # a step is the rate times the slope
      rate = min(rate / max(chosen.slope, 1e-6), MOST_RATE)
      rate = float(f"{rate:.3g}")
    reasons["learning_rate_lsb"] = f"{rate:g}: {why}"
  return dataclasses.replace(
    method, epsilon_lsb=float(epsilon), learning_rate_lsb=rate
  ), reasons


def _finest(probes: Sequence[Probe]) -> tuple[Probe, str]:
  """The smallest perturbation that is more than chance.

  What many numbers do together bends soon: a large one tells of a network far
  from the one that trains. Many steps average out what a small one misses.
  """
  best = max(probe.agreement for probe in probes)
  chosen = next(p for p in probes if p.agreement >= min(best, best / 2))
  return chosen, (
    "the smallest that two halves of a batch agree on half as well "
    f"({chosen.agreement:.2f}) as they ever do"
  )


def _clearest(probes: Sequence[Probe]) -> tuple[Probe, str]:
  """The largest perturbation that shows the slope where it begins."""
  best = max(probe.agreement for probe in probes)
  straight = [
    probe
    for probe in probes
    if probe.agreement >= best - NEAR_BEST and _is_straight(probe)
  ]
  clear = [probe for probe in probes if probe.agreement >= best - AS_GOOD]
  chosen = (straight or clear)[-1]
  return chosen, (
    "the largest that two halves of a batch agree on "
    f"({chosen.agreement:.2f}) and within which the loss hardly bends"
  )


def _unbent(probes: Sequence[Probe]) -> tuple[Probe, str]:
  """The same for one side, which takes what the loss bends by for slope."""
  chosen = [p for p in probes if p is probes[0] or _is_straight(p)][-1]
  return chosen, "the largest within which the loss hardly bends"


def _is_straight(probe: Probe) -> bool:
  return probe.bend * probe.epsilon_lsb <= probe.slope


def _rate(probe: Probe, steps: int) -> tuple[float, str]:
  """Half a Newton step along a direction, at most half of epsilon.

  A long run averages the noise of its signs over more and smaller steps.
  """
  rate, why = probe.epsilon_lsb / 2, "half the perturbation"
  if probe.bend * rate > probe.slope / 2:
    rate = max(probe.slope / probe.bend / 2, rate / 8)
    why = "half the distance at which the loss stops falling"
  if steps > SHORT_RUN:
    rate *= math.sqrt(SHORT_RUN / steps)
    why += f", less for {steps} steps"
  # Three digits are more than the estimate is worth, and read well.
  return float(f"{rate:.3g}"), why


def _probe(
  epsilon: float,
  start: NDArray[np.float64],
  method: DirectionalMethod,
  layout: Layout,
  params: Params,
  passes: BatchPasses,
  loss: Loss,
) -> Probe:
  # Blocks take turns, so each has its share of the probes.
  turns = min(method.blocks, PROBES)
  estimator = method.probe(
    layout, len(passes.labels), float(epsilon), PROBES // turns
  )
  losses = np.concatenate(
    [
      _halves(passes.logits_at(lot), passes, loss)
      for turn in range(turns)
      for lot in estimator.weight_sets(TrainState(PROBE_STEP - turn, params))
    ]
  ).reshape(-1, 2, 2)
  difference = losses[:, 0] - losses[:, 1]
  squares = (difference**2).sum(axis=0)
  together = float((difference[:, 0] * difference[:, 1]).sum())
  scale = float(np.sqrt(squares[0] * squares[1]))
  return Probe(
    epsilon_lsb=float(epsilon),
    agreement=together / scale if scale else -1.0,
    slope=float(np.abs(difference.mean(axis=1)).mean()) / (2 * epsilon),
    bend=float((losses.sum(axis=1) - 2 * start).mean()) / epsilon**2,
  )


def _halves(
  logits: Sequence[Array], passes: BatchPasses, loss: Loss
) -> NDArray[np.float64]:
  """Mean losses, in nats, of two halves of a batch: float64 [P, 2]."""
  halves = (slice(0, None, 2), slice(1, None, 2))
  if len(passes.labels) < 2:  # one sample cannot disagree with itself
    halves = (halves[0], halves[0])
  return np.array(
    [
      [
        mean_nats(loss(rows[half], passes.labels[half]), len(rows[half]))
        for half in halves
      ]
      for rows in logits
    ]
  )


class Growing:
  """Doubles the directions of a step when the kept part no longer improves."""

  def __init__(self, patience: int) -> None:
    """Makes it.

    Args:
      patience: validations without a new best after which training stops; it
        grows at half of them. 0 never grows.
    """
    self._wait = patience // 2
    self._best: int | None = None
    self._waited = 0

  def __call__(self, step_rule: StepRule, score: Score) -> StepRule:
    """The step rule for the steps that follow a validation."""
    if self._best is None or score.total < self._best:
      self._best, self._waited = score.total, 0
      return step_rule
    self._waited += 1
    estimator = step_rule.estimator
    if self._waited != self._wait or not isinstance(estimator, ForwardGradient):
      return step_rule
    own = estimator.num_directions
    more = max(own, min(2 * own, MOST_DIRECTIONS))
    plan = dataclasses.replace(estimator, num_directions=more)
    return dataclasses.replace(step_rule, estimator=plan)


FACTORS = (16.0, 4.0, 1.0, 1 / 4, 1 / 16)
"""Of the first rate."""

SHARE, MOST_STEPS = 16, 250
"""A trial has so much fewer steps than the phase, and never more than these."""


def tries_rates(given: Method) -> bool:
  """Whether a phase tries rates: a long one, by forward gradients, unset."""
  return (
    isinstance(given, DirectionalMethod)
    and given.learning_rate_lsb is None
    and given.steps > SHORT_RUN
  )


def tried(method: Method, run: Callable[[Method], Score]) -> tuple[Method, str]:
  """The method with the rate whose short run ended with the lowest loss.

  Args:
    method: with the first rate.
    run: trains from the phase's start and scores the end.

  Returns:
    The method, and why the rate is what it is.
  """
  steps = max(1, min(method.steps // SHARE, MOST_STEPS))
  longer = 1.0
  if method.steps_by_rate:
    # Signs do not shrink where slopes do, so the noise of more steps must.
    longer = math.sqrt(method.steps // steps)
  losses = {}
  for factor in FACTORS:
    rate = min(longer * factor * method.learning_rate_lsb, MOST_RATE)
    own = dataclasses.replace(method, learning_rate_lsb=rate, steps=steps)
    losses[factor] = run(own).total
  best = min(losses, key=lambda factor: losses[factor])
  rate = min(float(f"{best * method.learning_rate_lsb:.3g}"), MOST_RATE)
  why = f"{rate:g}: the best of {len(FACTORS)} in runs of {steps} steps"
  return dataclasses.replace(method, learning_rate_lsb=rate), why
