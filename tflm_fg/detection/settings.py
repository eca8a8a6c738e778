"""How a head is trained on streams, and what the guard asks of it."""

from __future__ import annotations

import dataclasses
import math

from tflm_fg.detection.rule import Rule
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """How a head is trained on streams, and what the guard asks of it.

  Attributes:
    steps: of training; each sees all positives and the hardest negatives.
    learning_rate: 1 divides by the mean square of the longest windows, as a
      safe step of gradient descent would where every stream is in doubt. Few
      are for long. Where the loss has not fallen, training is done again with
      a quarter of it.
    momentum: 0 <= momentum < 1.
    margin: how far behind the cutoff a positive should get, and how far below
      even odds a negative should stay, in nats.
    negative_seconds: how many seconds of negatives weigh as much as one
      positive does among the positives.
    keeper_weight: what all keepers weigh together, where all positives weigh 1.
    pull: lambda of lambda |(w - w0) spread|^2, a pull back to the start.
    settle_seconds: how much of the start of a stream holds no word: there a
      model and its front end have not settled, and training would find the
      start in place of the word.
    hard_steps: how many steps of the negatives a step of training sees, those
      with the highest odds; 0 for all.
    refresh: after how many steps of training these are chosen again. After 20
      it is too late: what was left out has risen meanwhile, and the false
      accepts of one model went from 0 to 39 an hour.
    folds: into how many parts all streams are split, each of which is kept
      aside in turn for the guard.
    allowed_an_hour: how many false accepts an hour more than at the start the
      estimate from near misses may say, where recall rises by a tenth; the
      counts themselves may not rise. The estimate is of heads that trained on
      less than the final one, and is up to twice what is counted later.
    alike_allowed_an_hour: how many false accepts an hour more than at the start
      are borne in phrases that sound like the word, where recall rises by a
      tenth. An hour of these holds more of them than a home says in weeks.
    least_likeness: how likely a positive should have higher odds than as long a
      piece of the negatives, before training; below it the positives are not
      the word. It is 1/2 for other speech.
    heavier: by what the negatives' weight is multiplied in further trainings;
      of all of them the one that hears most is taken. No weight is best for all
      voices: of hey_jarvis's whisper .80 was heard with 2 seconds and .93 with
      20, of its siblings .75 each time and .83 with 6, at equal false accepts.
    seed: chooses what is kept aside when. Training itself draws nothing.

  Raises:
    TflmFgError: if a number is out of range.
  """

  steps: int = 150
  learning_rate: float = 5.0
  momentum: float = 0.9
  margin: float = 1.0
  negative_seconds: float = 2.0
  keeper_weight: float = 1.0
  pull: float = 0.03
  settle_seconds: float = 1.5
  hard_steps: int = 4096
  refresh: int = 5
  folds: int = 3
  allowed_an_hour: float = 1.0
  alike_allowed_an_hour: float = 15.0
  least_likeness: float = 0.6
  heavier: tuple[float, ...] = (3.0, 10.0)
  seed: int = 0

  def settled(self, rule: Rule) -> int:
    """The first step at which a window may end that holds a word."""
    settled = math.ceil(round(self.settle_seconds / rule.step_seconds, 6))
    return max(rule.warm_up, settled, rule.window - 1)

  def __post_init__(self) -> None:
    limits = {
      "steps": (1, 1 << 20),
      "learning_rate": (2.0**-16, 1024.0),
      "momentum": (0.0, 0.996),
      "margin": (0.0, 20.0),
      "negative_seconds": (0.0, 3600.0),
      "keeper_weight": (0.0, 64.0),
      "pull": (0.0, 64.0),
      "settle_seconds": (0.0, 60.0),
      "hard_steps": (0, 1 << 30),
      "refresh": (1, 1 << 20),
      "folds": (2, 64),
      "allowed_an_hour": (0.0, 1e6),
      "alike_allowed_an_hour": (0.0, 1e6),
      "least_likeness": (0.0, 1.0),
      "seed": (0, (1 << 64) - 1),
    }
    if not all(1 < h < 1e4 for h in self.heavier):
      raise TflmFgError(f"heavier={self.heavier}: need factors above 1")
    for name, (low, high) in limits.items():
      value = getattr(self, name)
      whole = isinstance(low, int)
      if not math.isfinite(value) or not low <= value <= high:
        raise TflmFgError(f"{name}={value}: need {low:g} to {high:g}")
      if whole and value != int(value):
        raise TflmFgError(f"{name}={value}: need a whole number")
