"""Adapt a head, and accept it only if it does no harm.

Every stream is scored by a head that was trained without it: the streams are
split into parts, and each part is kept aside in turn. A head that is trained on
all of them is accepted if, in these scores,

- false accepts are not more than the file's own on the same negatives, and the
  estimate from near misses does not say so either,
- the keepers are heard as often as before, and
- the positives are heard more often, or as often and by a wider margin.

Else the cutoff is moved; else negatives weigh more; else it is refused. What is
refused leaves weights and cutoff as they were.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tflm_fg.detection.curve import Curve
from tflm_fg.detection.folds import pieces, split
from tflm_fg.detection.model import Model
from tflm_fg.detection.row import Row
from tflm_fg.detection.rule import MOST_THRESHOLD, Rule
from tflm_fg.detection.settings import Settings
from tflm_fg.detection.training import require_all
from tflm_fg.detection.trial import Numbers, Scored, Trial
from tflm_fg.types import Int8, Int32, TflmFgError

LOWEST_THRESHOLD = 128
"""No cutoff is moved below even odds."""

_PIECE_SECONDS = 60.0
"""Negatives that come in one long stream are cut into such pieces."""

_MOST_OF_IT = 0.9
"""A moved cutoff that hears less than this share is not taken at once."""

_DOUBTFUL = 0.5
"""A positive that stands out less is named."""

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Attempt:
  """One of the things that were tried.

  Attributes:
    what: in words.
    negative_seconds: the setting of that name.
    numbers: of streams that were kept aside in turn.
    why_not: what spoke against it; empty where nothing did.
  """

  what: str
  negative_seconds: float
  numbers: Numbers
  why_not: str

  @property
  def is_fit(self) -> bool:
    """Whether nothing spoke against it."""
    return not self.why_not


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
  """What adapting gave.

  Attributes:
    weights: int8 [outputs, features] for `StreamModel.with_head`; the file's
      own where it was refused.
    bias: int32 [outputs], the same.
    cutoff: for the manifest; as it was where it was refused, or not moved.
    accepted: whether the weights are new.
    reason: what was done or why it was refused, one line for people.
    tried: all attempts, in order.
    before: the file's own numbers.
    after: those of the attempt that was accepted; else of the one that came
      last, or `before` where nothing was trained.
    before_curve: recall and false accepts of the file at every cutoff.
    after_curve: the same of `after`.
    likeness: how much each positive stands out from negatives to the file's own
      head, 0 to 1; see `near_misses.likeness`.
    doubts: what is unsure about the samples or the numbers, a line each.
  """

  weights: Int8
  bias: Int32
  cutoff: float
  accepted: bool
  reason: str
  tried: tuple[Attempt, ...]
  before: Numbers
  after: Numbers
  before_curve: Curve
  after_curve: Curve
  likeness: tuple[float, ...]
  doubts: tuple[str, ...]


def adapt(
  model: Model,
  positives: Sequence[Int8],
  negatives: Sequence[Int8],
  keepers: Sequence[Int8],
  rule: Rule,
  settings: Settings | None = None,
  *,
  negative_names: Sequence[str] | None = None,
  keeper_names: Sequence[str] | None = None,
  progress: Progress = lambda line: None,
) -> Outcome:
  """Trains the row of the word and guards it.

  Args:
    model: a `StreamModel`; its engine scores.
    positives: what the head reads in streams that hold the word, int8 [T,
      features] each, from `StreamModel.head_inputs`.
    negatives: the same of streams that do not.
    keepers: the same of other voices that say the word; may be empty.
    rule: when the word counts as heard; its cutoff is the manifest's.
    settings: None for the defaults.
    negative_names: a name a stream; those with the same one, such as a voice's,
      are kept aside together.
    keeper_names: the same.
    progress: is told what happens, a line at a time.

  Returns:
    What was accepted, or refused, with the numbers.

  Raises:
    TflmFgError: if streams are missing, too short, or not of this head, or the
      outputs are no probabilities.
  """
  settings = settings or Settings()
  row = Row.of(model.head, rule.output)
  require_probabilities(row)
  require_all(row, positives, negatives, keepers, rule, settings)
  trial = _trial(
    model,
    row,
    positives,
    negatives,
    keepers,
    rule,
    settings,
    negative_names,
    keeper_names,
  )
  progress("scoring the model as it is")
  search = _Search(trial, trial.unchanged(), progress)
  like = trial.likeness()
  if float(np.mean(like)) < settings.least_likeness:
    return search.refused(_not_the_word(like), like)
  return search.run(like)


def require_probabilities(row: Row) -> None:
  """Refuses outputs that are no probabilities in 1/256.

  Raises:
    TflmFgError: naming what they are.
  """
  head = row.head
  if head.output_dtype not in ("uint8", "int8") or (
    abs(head.output_scale * 256 - 1) > 1e-3
  ):
    raise TflmFgError(
      f"the model gives {head.output_dtype} with a scale of "
      f"{head.output_scale:g}; a device compares uint8 or int8 probabilities "
      "in 1/256 with the cutoff, so convert the model with such outputs"
    )


def _trial(
  model: Model,
  row: Row,
  positives: Sequence[Int8],
  negatives: Sequence[Int8],
  keepers: Sequence[Int8],
  rule: Rule,
  settings: Settings,
  negative_names: Sequence[str] | None,
  keeper_names: Sequence[str] | None,
) -> Trial:
  """Splits all streams into parts."""
  folds, seed = settings.folds, settings.seed
  others = split(negatives, negative_names, folds, seed)
  if not others.are_kept_aside:
    longest = max(1, round(_PIECE_SECONDS / rule.step_seconds))
    share = sum(map(len, negatives)) // folds
    least = rule.warm_up + rule.window
    cut = pieces(negatives, least, max(least, min(longest, share)))
    others = split(cut, None, folds, seed)
  return Trial(
    model,
    row,
    split(positives, None, folds, seed),
    others,
    split(keepers, keeper_names, folds, seed),
    rule,
    settings,
  )


def _not_the_word(like: Sequence[float]) -> str:
  return (
    "refused: to the model as it is, the recordings do not sound like its word "
    f"at all (they come nearer than {float(np.mean(like)):.0%} of as long "
    "pieces of other sound; recordings of missed voices came nearer than 95 %, "
    "and other words than 50 %); check that they hold the wake word, and no "
    "silence or other words"
  )


def why_not(before: Numbers, after: Numbers, settings: Settings) -> str:
  """What speaks against a head; empty where nothing does.

  Args:
    before: of the file as it is, at the manifest's cutoff.
    after: of the head, at its cutoff, on the same streams.
    settings: says how much the estimate may rise.
  """
  if after.events > before.events:
    return (
      f"{after.events} false accepts in {after.hours:.2f} hours, "
      f"{before.events} before"
    )
  allowed = float(np.fmax(before.an_hour, before.estimated_an_hour))
  allowed += settings.allowed_an_hour
  if after.estimated_an_hour > allowed:
    return (
      f"near misses say {after.estimated_an_hour:.1f} false accepts an hour, "
      f"{before.estimated_an_hour:.1f} before"
    )
  if after.keepers_heard < before.keepers_heard:
    return (
      f"{after.keepers_heard} of {after.keepers} voices that it should keep "
      f"are heard, {before.keepers_heard} before"
    )
  if not after.heard:
    return f"none of the {after.positives} recordings is heard"
  if after.heard < before.heard or (
    after.heard == before.heard and after.shortfall >= before.shortfall
  ):
    return (
      f"{after.heard} of {after.positives} recordings are heard, "
      f"{before.heard} before"
    )
  return ""


class _Search:
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
      doubts=self._doubts(like),
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
      doubts=self._doubts(like),
    )

  def _doubts(self, like: list[float]) -> tuple[str, ...]:
    """What is unsure, a line each."""
    trial = self.trial
    found = []
    for number, value in enumerate(like):
      if value < _DOUBTFUL:
        found.append(
          f"positive {number} does not sound like the word to the model "
          f"({value:.2f}, other sound has 0.5 on average); listen to it"
        )
    if not trial.positives.are_kept_aside:
      found.append(
        "there is but one recording, so its recall is that of what was trained "
        "on; give three or more"
      )
    if not trial.keepers.streams:
      found.append(
        "there are no other voices to keep, so nothing says whether those that "
        "are heard now still are"
      )
    elif not trial.keepers.are_kept_aside:
      found.append("there is but one voice to keep, and it was trained on")
    if np.isnan(self.start.estimated_an_hour):
      found.append(
        f"{self.start.hours * 60:.1f} minutes of negatives are too few to "
        "estimate false accepts from; give some more"
      )
    return tuple(found)


def _weigh(factor: float) -> str:
  if factor == 1:
    return "negatives as they weigh by default"
  return f"negatives that weigh {factor:g} times as much"
