"""Adapt a head, and accept it only if it does no harm.

Every stream is scored by a head that was trained without it: the streams are
split into parts, and each part is kept aside in turn. A head that is trained on
all of them is accepted if, in these scores,

- false accepts are not more than the file's own on the same negatives, and the
  estimate from near misses does not say so either,
- the keepers are heard as often as before, and
- the positives are heard more often, or as often and by a wider margin.

Several weights of the negatives are tried, each at the lowest cutoff at which
nothing speaks against it, and what hears most is taken. What is refused leaves
weights and cutoff as they were.

Phrases that sound like the word are trained on, and counted apart: a file may
well hear the word in many of them, and if all of these count as false accepts,
then new ones in other speech go unnoticed. Where they are not counted at all,
one file had 23 false accepts in 2.4 hours of others' speech in place of 7.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tflm_fg.detection.folds import pieces, split, split_both
from tflm_fg.detection.guard import not_the_word, require_adaptable
from tflm_fg.detection.model import Model
from tflm_fg.detection.outcome import Outcome
from tflm_fg.detection.row import Row, require_streams
from tflm_fg.detection.rule import Rule
from tflm_fg.detection.search import Progress, Search
from tflm_fg.detection.settings import Settings
from tflm_fg.detection.training import require_all
from tflm_fg.detection.trial import Trial
from tflm_fg.types import Int8

_PIECE_SECONDS = 60.0
"""Negatives that come in one long stream are cut into such pieces."""


def adapt(
  model: Model,
  positives: Sequence[Int8],
  negatives: Sequence[Int8],
  keepers: Sequence[Int8],
  rule: Rule,
  settings: Settings | None = None,
  *,
  alike: Sequence[Int8] = (),
  negative_names: Sequence[str] | None = None,
  alike_names: Sequence[str] | None = None,
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
    alike: streams without the word that sound like it; they are trained on as
      negatives are, and counted apart.
    negative_names: a name a stream; those with the same one, such as a voice's,
      are kept aside together.
    alike_names: the same; what has the name of negatives is kept aside with
      them.
    keeper_names: the same.
    progress: is told what happens, a line at a time.

  Returns:
    What was accepted, or refused, with the numbers.

  Raises:
    TflmFgError: if streams are missing, too short, or not of this head, or the
      outputs are no probabilities.
  """
  settings = settings or Settings()
  row = require_adaptable(model, rule)
  require_all(row, positives, negatives, keepers, rule, settings)
  require_streams("phrase", alike, len(row.weights), rule.warm_up + 1)
  trial = _trial(
    model,
    row,
    positives,
    (negatives, alike),
    keepers,
    rule,
    settings,
    (negative_names, alike_names),
    keeper_names,
  )
  progress("scoring the model as it is")
  search = Search(trial, trial.unchanged(), progress)
  like = trial.likeness()
  if float(np.mean(like)) < settings.least_likeness:
    return search.refused(not_the_word(like), like)
  return search.run(like)


def _trial(
  model: Model,
  row: Row,
  positives: Sequence[Int8],
  others: tuple[Sequence[Int8], Sequence[Int8]],
  keepers: Sequence[Int8],
  rule: Rule,
  settings: Settings,
  other_names: tuple[Sequence[str] | None, Sequence[str] | None],
  keeper_names: Sequence[str] | None,
) -> Trial:
  """Splits all streams into parts; others are negatives and what is alike."""
  folds, seed = settings.folds, settings.seed
  counted, alike = split_both(others, other_names, folds, seed)
  if not counted.are_kept_aside:
    negatives = others[0]
    longest = max(1, round(_PIECE_SECONDS / rule.step_seconds))
    share = sum(map(len, negatives)) // folds
    least = rule.warm_up + rule.window
    cut = pieces(negatives, least, max(least, min(longest, share)))
    counted = split(cut, None, folds, seed)
  return Trial(
    model,
    row,
    split(positives, None, folds, seed),
    counted,
    alike,
    split(keepers, keeper_names, folds, seed),
    rule,
    settings,
  )
