"""Compare ways of adapting by clips that they have not seen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.losses.base import Loss
from tflm_fg.losses.custom import BlackBox
from tflm_fg.placement.phase import Material, Outcome
from tflm_fg.tflite.select_trainable import Surgery
from tflm_fg.training.data import folds
from tflm_fg.training.defaults import AUTO_FORWARD
from tflm_fg.training.settings import Settings
from tflm_fg.types import Array

FOLDS = 3
"""Parts of the clips, each kept aside once when backs are compared."""

SURELY = 1.64
"""Standard errors that leave one chance in twenty."""


CLEARLY = 0.01
"""Share of a loss that a gain must be where one number stands for all clips."""


class Front(NamedTuple):
  """What is found first, by forward gradients.

  Attributes:
    trainable: as for `mark`; empty for nothing.
    gain: of a prompt, whether it has one.
    method: what finds it.
  """

  trainable: str
  gain: bool = False
  method: str = "auto"

  def settings(self, settings: Settings) -> Settings:
    """A user's settings for this front."""
    return settings.under(self.method)

  @property
  def runs(self) -> str:
    """The method that trains it."""
    return AUTO_FORWARD if self.method == "auto" else self.method

  @property
  def title(self) -> str:
    """Its name, for people."""
    if self.method != "auto":
      return f"{self.trainable} by {self.method}"
    return self.trainable + ("+gain" if self.gain else "")


class Way(NamedTuple):
  """A way of adapting, tried on parts of the clips.

  Attributes:
    front: what was found first.
    back: what was found then: "head", "wide-head" or empty for nothing.
    surgery: how the file grew.
    outcomes: of the front and of the back, with the kept part kept aside.
    others: of the back with each of the other folds kept aside.
    losses: float64 [N] with labels, of all clips, each kept aside once from
      the back, see `cooled_losses` (of classes in nats, else the loss as it
      is); [1] on the kept part without, or where a loss is of all clips.
    accuracy: on the kept part; nan without classes.
    unseen: those of the losses that are of the kept part, which no phase saw.
    surveyed: passes that measured what a wide head joins.
  """

  front: Front
  back: str
  surgery: Surgery
  outcomes: tuple[Outcome, ...]
  others: tuple[Outcome, ...]
  losses: NDArray[np.float64]
  accuracy: float
  unseen: NDArray[np.float64]
  surveyed: int = 0

  @property
  def loss(self) -> float:
    """Mean of the losses."""
    return float(self.losses.mean())

  @property
  def start_loss(self) -> float:
    """Loss of the untouched file on the kept part."""
    return self.outcomes[0].before.loss

  @property
  def is_whole(self) -> bool:
    """Whether no phase was worse than its start on the kept part."""
    return all(outcome.record.kept_step for outcome in self.outcomes)

  @property
  def trainable(self) -> str:
    """As for `mark`."""
    return ",".join(p for p in (self.front.trainable, self.back) if p)

  @property
  def title(self) -> str:
    """Its name, for people."""
    parts = [p for p in (self.front.title, self.back) if p]
    return ", ".join(parts) or "nothing"


def parts_of(material: Material) -> list[Material]:
  """The clips with each fold kept aside in turn, the kept part first."""
  if not material.labelled:
    return [material]
  strata = material.task.strata(material.labels)
  others = folds(strata[material.fit], FOLDS - 1, 0)
  kept = [material.kept, *(material.fit[others == n] for n in range(FOLDS - 1))]
  everything = np.arange(len(material.x))
  return [
    dataclasses.replace(material, fit=np.setdiff1d(everything, part), kept=part)
    for part in kept
  ]


def way_of(
  front: Front,
  back: str,
  surgery: Surgery,
  first: tuple[Outcome, ...],
  tries: tuple[Outcome, ...],
  material: Material,
  surveyed: int,
) -> Way:
  """Scores what was tried.

  Args:
    front: what was found first.
    back: what was found then.
    surgery: how the file grew.
    first: the front's outcome, if there is a front.
    tries: the back's, the kept part's first.
    material: the clips.
    surveyed: passes that measured what a wide head joins.
  """
  kept, *others = tries
  losses, accuracy = np.array([kept.after.loss]), math.nan
  if material.labelled:
    targets = kept.graph.targets(material.labels, material.task)
    labels = [targets[part.kept] for part in parts_of(material)]
    losses = _losses(tries, labels[: len(tries)], material)
    if kept.after.accuracy is not None:
      accuracy = kept.after.accuracy
  return Way(
    front,
    back,
    surgery,
    (*first, kept),
    tuple(others),
    losses,
    accuracy,
    losses[: len(kept.logits)] if material.labelled else losses,
    surveyed,
  )


def _losses(
  tries: Sequence[Outcome], labels: Sequence[Array], material: Material
) -> NDArray[np.float64]:
  """Losses of the clips that each try kept aside, to compare ways by."""
  logits = [t.logits for t in tries]
  outputs = tries[0].graph.logits
  if material.task.is_probabilistic:
    return cooled_losses(logits, labels, outputs.scale)
  loss = tries[0].graph.loss(material.task)
  return np.concatenate(
    [_single_losses(z, y, loss) for z, y in zip(logits, labels)]
  )


def _single_losses(
  logits: Array, labels: Array, loss: Loss
) -> NDArray[np.float64]:
  """Each clip's loss, or the one of all where no clip has its own."""
  if isinstance(loss, BlackBox) and not loss.is_per_clip(logits, labels):
    return np.array([loss.mean(loss(logits, labels), len(logits))])
  return loss.per_clip(logits, labels).astype(np.float64) * loss.unit


def cooled_losses(
  logits: Sequence[Array], labels: Sequence[Array], scale: float
) -> NDArray[np.float64]:
  """Cross-entropies at the temperature that suits the clips best, in nats.

  A head that fits its clips exactly is too sure of others. That is no fault
  of its answers, so each way is judged at its own best temperature.

  Args:
    logits: integers [N, C], some arrays.
    labels: int64 [N], as many.
    scale: real value of a logit step.
  """
  y = np.concatenate(labels)
  z = np.concatenate(logits).astype(np.float64) * scale
  z -= z.max(axis=1, keepdims=True)
  own = z[np.arange(len(y)), y]
  cooled = (np.log(np.exp(z * t).sum(axis=1)) - own * t for t in _COOLINGS)
  return min(cooled, key=np.mean)


_COOLINGS = 2.0 ** np.arange(-4, 1.25, 0.25)


def best_way(ways: Sequence[Way]) -> Way:
  """The way to go: for each front its better back, then the best of those.

  A wide head has more to learn from the clips that were kept aside than a
  head has, so it is taken unless the head is surely better: by more than
  `SURELY` standard errors of the difference. A front has seen all clips but
  the kept part, so it is taken only where it is surely better than none there.

  Ways that would be left out in part are taken where there are no others.

  Args:
    ways: as `try_ways` gives them.
  """
  ways = [way for way in ways if way.is_whole] or ways
  finalists = []
  for front in dict.fromkeys(way.front for way in ways):
    best, *wider = (way for way in ways if way.front == front)
    for way in wider:
      if not _surely_lower(best.losses, way.losses):
        best = way
    finalists.append(best)
  bare, *others = finalists
  if bare.front.trainable:  # no back helps without a front
    return min(finalists, key=lambda way: way.loss)
  better = [w for w in others if _surely_lower(w.unseen, bare.unseen)]
  return min(better, key=lambda way: way.loss, default=bare)


def _surely_lower(
  some: NDArray[np.float64], others: NDArray[np.float64]
) -> bool:
  """Whether paired losses are lower by more than chance would have them.

  One number for all clips has no spread to measure chance by: then the loss
  must be lower by a share of itself.
  """
  difference = others - some
  if len(difference) == 1:
    return bool(difference[0] > CLEARLY * abs(others[0]))
  error = difference.std() / math.sqrt(len(difference))
  return bool(difference.mean() > SURELY * error)
