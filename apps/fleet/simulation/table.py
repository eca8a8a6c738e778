"""What schemes came to: rows over seeds, for people and programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Result:
  """What a scheme came to with one seed.

  Attributes:
    accuracy: on samples that were not trained on.
    rounds: that it took.
    bytes_up: that a client sent, over all rounds.
    bytes_down: that a client was sent.
    seconds: that a client took, over all rounds.
    equal: whether all masters were equal; None where there are none.
    replays: whether the journal gives the same file; None without one.
  """

  accuracy: float
  rounds: int = 0
  bytes_up: int = 0
  bytes_down: int = 0
  seconds: float = 0.0
  equal: bool | None = None
  replays: bool | None = None


@dataclasses.dataclass(frozen=True)
class Row:
  """A scheme's results, one a seed."""

  title: str
  results: Sequence[Result]

  @property
  def accuracy(self) -> float:
    """The mean, as a share."""
    return float(np.mean([r.accuracy for r in self.results]))

  @property
  def spread(self) -> float:
    """The standard deviation over seeds; 0 of a single one."""
    own = [r.accuracy for r in self.results]
    return float(np.std(own, ddof=1)) if len(own) > 1 else 0.0

  def mean(self, name: str) -> float:
    """The mean of one of the results' numbers."""
    return float(np.mean([getattr(r, name) for r in self.results]))

  def said(self, name: str) -> str:
    """Whether something held with every seed: yes, no, or nothing."""
    own = [getattr(r, name) for r in self.results]
    if any(value is None for value in own):
      return ""
    return "yes" if all(own) else "no"

  def record(self) -> dict[str, Any]:
    """For a report."""
    return {
      "scheme": self.title,
      "accuracy": self.accuracy,
      "spread": self.spread,
      "results": [dataclasses.asdict(r) for r in self.results],
    }


HEAD = (
  f"{'':34} {'accuracy':>13} {'rounds':>6} {'up':>9} {'down':>9} "
  f"{'s/client':>8}  equal  replays"
)


def line(row: Row) -> str:
  """A row for people, under `HEAD`."""
  rounds = row.mean("rounds")
  cost = ""
  if rounds:
    cost = (
      f"{rounds:6.0f} {in_bytes(row.mean('bytes_up')):>9} "
      f"{in_bytes(row.mean('bytes_down')):>9} {row.mean('seconds'):8.2f}  "
      f"{row.said('equal'):5}  {row.said('replays')}"
    )
  return (
    f"{row.title:34} {100 * row.accuracy:5.1f} ± {100 * row.spread:3.1f} % "
    f"{cost}"
  ).rstrip()


MARKDOWN = (
  "scheme | accuracy | rounds | sent | received | seconds | masters equal, "
  "journal replays"
)


def markdown(row: Row) -> str:
  """A row for a page, under `MARKDOWN`."""
  if not row.mean("rounds"):
    return f"{row.title} | {_share(row)} | | | | | "
  said = [row.said("equal"), row.said("replays")]
  return (
    f"{row.title} | {_share(row)} | {row.mean('rounds'):.0f} | "
    f"{in_bytes(row.mean('bytes_up'))} | {in_bytes(row.mean('bytes_down'))} | "
    f"{row.mean('seconds'):.2f} | {', '.join(filter(None, said))}"
  )


def _share(row: Row) -> str:
  return f"{100 * row.accuracy:.1f} ± {100 * row.spread:.1f} %"


def in_bytes(count: float) -> str:
  """A count of bytes for people; a kB is 1,000."""
  return f"{count / 1000:.1f} kB" if count < 1e6 else f"{count / 1e6:.2f} MB"
