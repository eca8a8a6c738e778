"""Try one thing after another until the guard accepts a head."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from tflm_fg.detection.guard import doubts, why_not
from tflm_fg.detection.outcome import Attempt, Outcome
from tflm_fg.detection.rule import MOST_THRESHOLD, Rule
from tflm_fg.detection.settings import Settings
from tflm_fg.detection.trial import Scored, Trial

LOWEST_THRESHOLD = 26
"""No cutoff is moved below a tenth."""

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
    """Tries every weight of negatives, and takes what hears most."""
    own = self.trial.settings
    for factor in (1.0, *own.heavier):
      seconds = min(own.negative_seconds * factor, 3600.0)
      settings = dataclasses.replace(own, negative_seconds=seconds)
      self.progress(f"training with {_weigh(factor)}")
      scored = self.last = self.trial.by_folds(settings)
      rule = next(self._silent_at(scored), self.trial.rule)
      self._try(settings, factor, scored, rule)
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
      what += f", {_moved(self.trial.rule, rule)}"
    reason = why_not(self.start, numbers, settings)
    attempt = Attempt(what, settings.negative_seconds, numbers, reason)
    self.tried.append(attempt)
    if attempt.is_fit:
      self.fit.append((attempt, settings, rule, scored))
    return attempt

  def _silent_at(self, *all_scores: Scored, above: int = 0) -> Iterator[Rule]:
    """The cutoffs at which nothing speaks against any scores, from below.

    Heads that were trained against many negatives hear the word at low odds,
    and the lowest of these cutoffs hears most.
    """
    own, settings = self.trial.rule, self.trial.settings
    for threshold in range(max(LOWEST_THRESHOLD, above), MOST_THRESHOLD + 1):
      rule = own if threshold == own.threshold else own.at(threshold)
      if not any(why_not(self.start, s.at(rule), settings) for s in all_scores):
        yield rule

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
    seen = self.trial.final(trained)
    fit = next(self._silent_at(scored, seen, above=rule.threshold), None)
    if fit is None:
      reason = why_not(self.start, seen.at(rule), settings)
      reason = f"trained on everything, {reason}"
      spoken_against = dataclasses.replace(attempt, why_not=reason)
      self.tried[self.tried.index(attempt)] = spoken_against
      return None
    if fit != rule:
      weigh = attempt.what.partition(",")[0]
      what = f"{weigh}, {_moved(self.trial.rule, fit)}"
      attempt = dataclasses.replace(attempt, what=what, numbers=scored.at(fit))
    return Outcome(
      *trained,
      cutoff=fit.cutoff,
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


def _moved(own: Rule, rule: Rule) -> str:
  return f"cutoff {rule.cutoff:g} in place of {own.cutoff:g}"


def _weigh(factor: float) -> str:
  if factor == 1:
    return "negatives as they weigh by default"
  return f"negatives that weigh {factor:g} times as much"
