"""Say what speaks against a head, and against the samples.

False accepts are few in the hours that anyone has, so that counts prove little
by themselves. They may not rise, and neither may the estimate from near misses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tflm_fg.detection.model import Model
from tflm_fg.detection.row import Row
from tflm_fg.detection.rule import Rule
from tflm_fg.detection.settings import Settings
from tflm_fg.detection.trial import Numbers, Trial
from tflm_fg.types import TflmFgError

_DOUBTFUL = 0.5
"""A positive that stands out less is named."""


_WORTH = 0.1
"""Whoever hears fewer more of the positives than this may cost nothing."""


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


def require_adaptable(model: Model, rule: Rule) -> Row:
  """Refuses a model whose last layer `adapt` cannot train and guard.

  Args:
    model: a `StreamModel`.
    rule: names the output of the word.

  Returns:
    The row that trains.

  Raises:
    TflmFgError: naming what the model lacks.
  """
  row = Row.of(model.head, rule.output)
  require_probabilities(row)
  return row


def not_the_word(like: Sequence[float]) -> str:
  """What is said where the positives are no word."""
  return (
    "refused: to the model as it is, the recordings do not sound like its word "
    f"at all (they come nearer than {float(np.mean(like)):.0%} of as long "
    "pieces of other sound; recordings of missed voices came nearer than 69 % "
    "or more, and other words than 50 %); check that they hold the wake word, "
    "and no silence or other words"
  )


def why_not(before: Numbers, after: Numbers, settings: Settings) -> str:
  """What speaks against a head; empty where nothing does.

  Args:
    before: of the file as it is, at the manifest's cutoff.
    after: of the head, at its cutoff, on the same streams.
    settings: says how much estimates may rise, where recall rises by a tenth.
  """
  gains = after.heard - before.heard >= _WORTH * after.positives
  if after.events > before.events:
    return (
      f"{after.events} false accepts in {after.hours:.2f} hours, "
      f"{before.events} before"
    )
  allowed = float(np.fmax(before.an_hour, before.estimated_an_hour))
  allowed += settings.allowed_an_hour * gains
  if after.estimated_an_hour > allowed:
    return (
      f"near misses say {after.estimated_an_hour:.1f} false accepts an hour, "
      f"{before.estimated_an_hour:.1f} before"
    )
  borne = settings.alike_allowed_an_hour * after.alike_hours * gains
  if after.alike_events > before.alike_events + borne:
    return (
      f"{after.alike_events} false accepts in {after.alike_hours:.2f} hours of "
      f"phrases that sound like the word, {before.alike_events} before"
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


def doubts(
  trial: Trial, start: Numbers, like: Sequence[float]
) -> tuple[str, ...]:
  """What is unsure about samples and numbers, a line each.

  Args:
    trial: the streams.
    start: numbers of the file as it is.
    like: how much each positive stands out, see `near_misses.likeness`.
  """
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
  if np.isnan(start.estimated_an_hour):
    found.append(
      f"{start.hours * 60:.1f} minutes of negatives are too few to "
      "estimate false accepts from; give some more"
    )
  return tuple(found)
