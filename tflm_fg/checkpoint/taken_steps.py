"""Keep the steps of a phase as they are taken, and take them again.

Slopes are all that a step needs: with them it is taken again without a pass.
They are written every few steps and at every validation, each lot behind the
one before it. A validation keeps its score, since it needs passes too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tflm_fg.checkpoint.memo import Kept, Memo, address
from tflm_fg.types import Array, Int64

LOT = 16
"""Steps of a lot, at most: what a kill may lose."""

MOST_NUMBERS = 1 << 24
"""Slopes of a phase that are kept: 128 MB. Steps behind them are taken anew."""


class Ran(NamedTuple):
  """What was run for a step or a validation.

  Attributes:
    passes: runs of one batch.
    samples: in those runs.
  """

  passes: int
  samples: int


class Step(NamedTuple):
  """A step as it was taken.

  Attributes:
    slopes: int64 [m], see `state.Estimate`.
    losses: int64, one a pass.
    ran: what it took.
  """

  slopes: Int64
  losses: Int64
  ran: Ran


class TakenSteps:
  """The steps of one run of a phase."""

  def __init__(self, memo: Memo, *parts: Any) -> None:
    """Reads the lots that are there.

    Args:
      memo: where they are kept.
      *parts: what the steps depend on, as for `address`.
    """
    self._memo, self._parts = memo, parts
    self._steps: list[Step] = []
    self._validations: dict[int, tuple[dict[str, Any], Ran]] = {}
    self._lots = self._numbers = 0
    self._new: list[Step] = []
    self._new_validations: dict[int, tuple[dict[str, Any], Ran]] = {}
    while memo.keeps:
      kept = memo.find(self._address())
      if kept is None:
        break
      self._take(kept)
      self._lots += 1

  def step(self, number: int) -> Step | None:
    """A step that was taken before; None for one that was not."""
    return self._steps[number] if number < len(self._steps) else None

  def validation(self, step: int) -> tuple[dict[str, Any], Ran] | None:
    """The score behind a step, and what it took; None where there is none."""
    return self._validations.get(step)

  def keep_step(self, step: Step) -> None:
    """Keeps the step behind those that are kept."""
    if not self._memo.keeps or self._numbers > MOST_NUMBERS:
      return
    self._new.append(step)
    self._numbers += step.slopes.size
    if len(self._new) == LOT:
      self._write(firmly=False)

  def keep_validation(self, step: int, score: dict[str, Any], ran: Ran) -> None:
    """Keeps the score behind a step, and all steps before it, on the disk."""
    if self._memo.keeps and self._numbers <= MOST_NUMBERS:
      self._new_validations[step] = score, ran
      self._write(firmly=True)

  def end(self) -> None:
    """Keeps what is left, on the disk."""
    if self._new:
      self._write(firmly=True)

  def _address(self) -> str:
    return address("steps", self._lots, *self._parts)

  def _write(self, firmly: bool) -> None:
    own = self._new
    arrays = {
      "slopes": _joined([step.slopes for step in own]),
      "losses": _joined([step.losses for step in own]),
    }
    values = {
      "slopes": [step.slopes.size for step in own],
      "losses": [step.losses.size for step in own],
      "ran": [list(step.ran) for step in own],
      "validations": [
        [step, score, list(ran)]
        for step, (score, ran) in self._new_validations.items()
      ],
    }
    self._memo.keep(self._address(), Kept(arrays, values), firmly)
    self._lots += 1
    self._new, self._new_validations = [], {}

  def _take(self, kept: Kept) -> None:
    values = kept.values
    slopes, losses = (
      np.split(kept.arrays[name], np.cumsum(values[name])[:-1])
      for name in ("slopes", "losses")
    )
    for own, lost, ran in zip(slopes, losses, values["ran"]):
      self._steps.append(Step(_wide(own), _wide(lost), Ran(*ran)))
      self._numbers += own.size
    for step, score, ran in values["validations"]:
      self._validations[step] = score, Ran(*ran)


def _wide(array: Array) -> Int64:
  return array.astype(np.int64)


def _joined(arrays: list[Int64]) -> Array:
  """Behind one another; slopes fit 32 bits but for one end."""
  whole = np.concatenate([np.zeros(0, np.int64), *arrays])
  narrow = whole.astype(np.int32)
  return narrow if np.array_equal(narrow, whole) else whole
