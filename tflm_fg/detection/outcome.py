"""What adapting gave, and all that was tried for it."""

from __future__ import annotations

import dataclasses

from tflm_fg.detection.curve import Curve
from tflm_fg.detection.trial import Numbers
from tflm_fg.types import Int8, Int32


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
