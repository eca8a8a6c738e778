"""Try one thing after another until the guard accepts a head."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tflm_fg.detection.guard import doubts, why_not
from tflm_fg.detection.outcome import Attempt, Outcome
from tflm_fg.detection.rule import MOST_THRESHOLD, Rule
from tflm_fg.detection.settings import Settings
from tflm_fg.detection.trial import Scored, Trial

LOWEST_THRESHOLD = 128
"""No cutoff is moved below even odds."""

_MOST_OF_IT = 0.9
"""A moved cutoff that hears less than this share is not taken at once."""

Progress = Callable[[str], None]


class Search:
  """Tries one thing after another until one is fit."""

  def __init__(self, trial: Trial, before: Scored, progress: Progress) -> None:
    self.trial, self.before, self.progress = trial, before, progress
    self.start = before.at(trial.rule)
    self.tried: list[Attempt] = []
    self.fit: list[tuple[Attempt, Settings, Rule, Scored]] = []
    self.last = before

  def run(self, like: list[float]) -> Outcome:
    """Tries, takes the first that is fit and hears enough, else the best."""
    own = self.trial.settings
    wanted = 0.0
    for factor in (1.0, *own.heavier):
      seconds = min(own.negative_seconds * factor, 3600.0)
      settings = dataclasses.replace(own, negative_seconds=seconds)
      self.progress(f"training with {_weigh(factor)}")
      scored = self.last = self.trial.by_folds(settings)
      unmoved = self._try(settings, factor, scored, self.trial.rule)
      wanted = max(wanted, _MOST_OF_IT * unmoved.numbers.heard)
      if not unmoved.is_fit and (rule := self._moved(scored)) is not None:
        self._try(settings, factor, scored, rule)
      if self.fit and self.fit[-1][0].numbers.heard >= wanted:
        break
    # The first of those that hear most; sorting keeps the order of equals.
    ranked = sorted(self.fit, key=lambda f: -f[0].numbers.heard)
    for attempt, settings, rule, scored in ranked:
      found = self._accepted(attempt, settings, rule, scored, like)
      if found is not None:
        return found
    return self.refused(self._told(), like)

  def _told(self) -> str:
    """Why nothing is fit."""
    told = "; ".join(f"{a.what}: {a.why_not}" for a in self.tried)
    if self.start.heard == self.start.positives:
      return (
        f"refused: the model hears all {self.start.heard} recordings already, "
        f"and nothing that was tried hears them better without harm ({told}); "
        "give recordings that it misses"
      )
    return (
      f"refused, since nothing that was tried is fit ({told}); more "
      "recordings, clearer ones, or more negatives may help"
    )

  def _try(
    self, settings: Settings, factor: float, scored: Scored, rule: Rule
  ) -> Attempt:
    """Asks the guard about scores at a cutoff."""
    numbers = scored.at(rule)
    what = _weigh(factor)
    if rule != self.trial.rule:
      what += f", cutoff {rule.cutoff:g} in place of {self.trial.rule.cutoff:g}"
    reason = why_not(self.start, numbers, settings)
    attempt = Attempt(what, settings.negative_seconds, numbers, reason)
    self.tried.append(attempt)
    if attempt.is_fit:
      self.fit.append((attempt, settings, rule, scored))
    return attempt

  def _moved(self, scored: Scored) -> Rule | None:
    """The nearest cutoff at which nothing speaks against the scores."""
    rule = self.trial.rule
    known = range(LOWEST_THRESHOLD, MOST_THRESHOLD + 1)
    # Of two that are as near, the higher.
    for threshold in sorted(
      known, key=lambda k: (abs(k - rule.threshold), k < rule.threshold)
    ):
      moved = rule.at(threshold)
      if threshold != rule.threshold and not why_not(
        self.start, scored.at(moved), self.trial.settings
      ):
        return moved
    return None

  def _accepted(
    self,
    attempt: Attempt,
    settings: Settings,
    rule: Rule,
    scored: Scored,
    like: list[float],
  ) -> Outcome | None:
    """Trains on all streams; None if that head does worse on what it saw."""
    self.progress(f"training on everything with {attempt.what}")
    trained = self.trial.trained(settings)
    seen = self.trial.final(trained).at(rule)
    if reason := why_not(self.start, seen, settings):
      reason = f"trained on everything, {reason}"
      spoken_against = dataclasses.replace(attempt, why_not=reason)
      self.tried[self.tried.index(attempt)] = spoken_against
      return None
    return Outcome(
      *trained,
      cutoff=rule.cutoff,
      accepted=True,
      reason=f"accepted, with {attempt.what}",
      tried=tuple(self.tried),
      before=self.start,
      after=attempt.numbers,
      before_curve=self.before.curve,
      after_curve=scored.curve,
      likeness=tuple(like),
      doubts=doubts(self.trial, self.start, like),
    )

  def refused(self, reason: str, like: list[float]) -> Outcome:
    """Weights and cutoff as they were."""
    head = self.trial.row.head
    return Outcome(
      head.weights,
      head.bias,
      cutoff=self.trial.rule.cutoff,
      accepted=False,
      reason=reason,
      tried=tuple(self.tried),
      before=self.start,
      after=self.tried[-1].numbers if self.tried else self.start,
      before_curve=self.before.curve,
      after_curve=self.last.curve,
      likeness=tuple(like),
      doubts=doubts(self.trial, self.start, like),
    )


def _weigh(factor: float) -> str:
  if factor == 1:
    return "negatives as they weigh by default"
  return f"negatives that weigh {factor:g} times as much"
