"""What a wake word model learns from, as its last layer reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from apps.wake import evaluation, sounds
from apps.wake.data import stock
from apps.wake.data.speaking import LEAD_SECONDS
from apps.wake.detector import Detector
from apps.wake.scores import Played
from apps.wake.sounds import Sound
from tflm_fg.samples import counted
from tflm_fg.types import TflmFgError

Reader = Callable[[str, bool], tuple[list[Sound], list[str]]]
"""Reads a path: the sounds, and what a user should know of them."""


@dataclasses.dataclass(frozen=True)
class Streams:
  """Sounds of one kind, as the last layer of a model reads them.

  Attributes:
    names: of the sounds.
    leads: how many seconds of each stand in front of the sound itself.
    inputs: int8 [T, features] each.
  """

  names: tuple[str, ...] = ()
  leads: tuple[float, ...] = ()
  inputs: tuple[NDArray[np.int8], ...] = ()

  def __add__(self, other: Streams) -> Streams:
    return Streams(
      self.names + other.names,
      self.leads + other.leads,
      self.inputs + other.inputs,
    )

  def __len__(self) -> int:
    return len(self.inputs)

  @property
  def arrays(self) -> list[NDArray[np.int8]]:
    """The inputs, as `detection.adapt` takes them."""
    return list(self.inputs)

  def played(
    self,
    found: Detector,
    weights: NDArray[np.int8] | None = None,
    bias: NDArray[np.int32] | None = None,
  ) -> list[Played]:
    """What the model gives for each, with its own last layer or another.

    Args:
      found: the model.
      weights: of another last layer; None for the model's own.
      bias: the same.
    """
    return [
      Played(name, found.model.head_outputs(inputs, weights, bias), lead)
      for name, lead, inputs in zip(self.names, self.leads, self.inputs)
    ]

  def minutes(self, found: Detector) -> float:
    """How long they are."""
    steps = sum(len(inputs) for inputs in self.inputs)
    return steps * found.rule.step_seconds / 60


def streams_of(found: Detector, played: Sequence[Sound], what: str) -> Streams:
  """Runs the frozen part of a model over sounds, each from a fresh state.

  Args:
    found: the model.
    played: the sounds.
    what: for the progress bar, which a terminal shows.
  """
  steps = (found.steps(one.samples) for one in played)
  return Streams(
    tuple(one.name for one in played),
    tuple(one.lead_seconds for one in played),
    tuple(_inputs(found, steps, len(played), what)),
  )


def of_stock(
  found: Detector,
  steps: Sequence[NDArray[np.int8]],
  names: Sequence[str],
  what: str,
) -> Streams:
  """The same of the stock, which has steps already."""
  inputs = tuple(_inputs(found, steps, len(steps), what))
  return Streams(tuple(names), (LEAD_SECONDS,) * len(inputs), inputs)


def _inputs(
  found: Detector,
  steps: Iterable[NDArray[np.int8]],
  count: int,
  what: str,
) -> Iterator[NDArray[np.int8]]:
  for one in tqdm(steps, what, count, disable=None, leave=False):
    yield found.model.head_inputs(one)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
  """All that a model learns from, and what it is scored on.

  Attributes:
    positives: recordings of the word that it should hear.
    negatives: sound without the word, of the user.
    stock_negatives: the same, of the stock.
    stock_alike: phrases of the stock that sound like the word.
    keepers: recordings of the word by voices that it hears, of the user.
    stock_keepers: the same, of the stock.
    test_positives: other recordings of the word, to score on.
    test_negatives: other sound without the word, to score on.
    notes: what a user should know of the sounds.
  """

  positives: Streams
  negatives: Streams = Streams()
  stock_negatives: Streams = Streams()
  stock_alike: Streams = Streams()
  keepers: Streams = Streams()
  stock_keepers: Streams = Streams()
  test_positives: Streams = Streams()
  test_negatives: Streams = Streams()
  notes: tuple[str, ...] = ()

  @property
  def all_negatives(self) -> Streams:
    """Of the user, then of the stock."""
    return self.negatives + self.stock_negatives

  @property
  def all_keepers(self) -> Streams:
    """Of the user, then of the stock."""
    return self.keepers + self.stock_keepers

  def in_words(self, found: Detector) -> str:
    """How much of each kind there is, for people."""
    own = self.negatives.minutes(found)
    stock = self.stock_negatives.minutes(found)
    alike = self.stock_alike.minutes(found)
    minutes = f"{stock:.1f} minutes of the stock's negatives"
    if alike:
      minutes += f" and {alike:.1f} of phrases that sound like the word"
    if own:
      minutes = f"{own:.1f} minutes of your negatives, {minutes}"
    keepers = counted(len(self.stock_keepers), "keeper") + " of the stock"
    if len(self.keepers):
      keepers = f"{len(self.keepers)} of your keepers, {keepers}"
    return f"{counted(len(self.positives), 'recording')}, {minutes}, {keepers}"

  def to_json(self, found: Detector) -> dict[str, Any]:
    """The same in numbers."""
    return {
      "positives": len(self.positives),
      "negative_minutes": round(self.negatives.minutes(found), 3),
      "stock_negative_minutes": round(self.stock_negatives.minutes(found), 3),
      "stock_alike_minutes": round(self.stock_alike.minutes(found), 3),
      "keepers": len(self.keepers),
      "stock_keepers": len(self.stock_keepers),
      "told": self.in_words(found),
    }


def read(
  found: Detector,
  *,
  positive: str,
  negative: str | None = None,
  keep: str | None = None,
  test_positive: str | None = None,
  test_negative: str | None = None,
  strict: bool = False,
  seed: int = 0,
) -> TrainingData:
  """Reads a user's sounds and the stock, and runs the frozen part over them.

  Args:
    found: the model.
    positive: folder of recordings of the word that it should hear.
    negative: folder or file of sound without it.
    keep: folder of recordings of the word by voices that it hears.
    test_positive: folder of other recordings of the word, to score on.
    test_negative: folder or file of other sound without it, to score on.
    strict: refuse a recording that cannot be read, which else is passed over.
    seed: which of the sounds that are made here.

  Raises:
    TflmFgError: if sounds cannot be read, or are not what they should be.
  """
  notes: list[str] = []

  def streams(path: str | None, read: Reader, what: str) -> Streams:
    if not path:
      return Streams()
    own, told = read(path, strict)
    notes.extend(told)
    return streams_of(found, own, what)

  positives = streams(positive, sounds.positives, "recordings")
  negatives = streams(negative, sounds.negatives, "negatives")
  named = evaluation.mostly_heard(negatives.played(found), found)
  if named and negative:
    line = evaluation.holds_the_word(negative, named, found.wake_word)
    raise TflmFgError(f"--negative={negative}: {line}")
  keepers = streams(keep, sounds.positives, "keepers")
  test = streams(test_positive, sounds.positives, "test recordings")
  other = streams(test_negative, sounds.negatives, "test negatives")
  shipped = stock.steps(found.manifest, found.frontend, seed=seed)
  return TrainingData(
    positives=positives,
    negatives=negatives,
    stock_negatives=of_stock(
      found, shipped.negatives, shipped.negative_names, "stock"
    ),
    stock_alike=of_stock(
      found, shipped.alike, shipped.alike_names, "phrases like the word"
    ),
    keepers=keepers,
    stock_keepers=of_stock(
      found, shipped.keepers, shipped.keeper_names, "stock's keepers"
    ),
    test_positives=test,
    test_negatives=other,
    notes=(*notes, *shipped.notes),
  )
