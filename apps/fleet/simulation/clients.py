"""Who is in a simulated fleet: clients with few samples each, and a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import Array, TflmFgError

SPREADS = ("words", "voices", "mixed")
"""How samples are dealt: two words a client, a voice a client, or by chance."""

WORDS_A_CLIENT = 2


@dataclasses.dataclass(frozen=True)
class Samples:
  """Samples of one client, or of a test.

  Attributes:
    x: float32 [N, ...], in the units that the model was trained on.
    y: int64 [N], classes.
  """

  x: Array
  y: NDArray[np.int64]

  def __len__(self) -> int:
    return len(self.y)


@dataclasses.dataclass(frozen=True)
class Fleet:
  """Clients and what they are scored on.

  Attributes:
    clients: what each of them has.
    test: other samples, of all classes.
    tests: of them those that a client meets itself, where clients differ in
      more than their classes; empty where each meets all.
  """

  clients: Sequence[Samples]
  test: Samples
  tests: Sequence[Samples] = ()

  @property
  def union(self) -> Samples:
    """All clients' samples in one place, for training at the centre."""
    return joined(self.clients)


def joined(parts: Sequence[Samples]) -> Samples:
  """Samples of several in one place."""
  return Samples(
    np.concatenate([part.x for part in parts]),
    np.concatenate([part.y for part in parts]),
  )


def drawn(samples: Samples, one_of: int, seed: int) -> Samples:
  """One of so many samples of each class, by chance.

  Args:
    samples: as many of each class as can be divided.
    one_of: how many there are for each that is drawn.
    seed: which ones.
  """
  order = np.random.default_rng(seed).permutation(len(samples))
  order = order[np.argsort(samples.y[order], kind="stable")]
  rows = np.sort(order[::one_of])
  return Samples(samples.x[rows], samples.y[rows])


def dealt(
  samples: Samples, clients: int, spread: str, seed: int
) -> list[Samples]:
  """Samples dealt to clients.

  Args:
    samples: of all classes.
    clients: how many.
    spread: "words" sorts the samples by class and deals each client two pieces
      of the row, so that it has two classes or three; "mixed" deals by chance.
    seed: who gets what.

  Raises:
    TflmFgError: if there are fewer samples than pieces.
  """
  rng = np.random.default_rng(seed)
  pieces = WORDS_A_CLIENT if spread == "words" else 1
  if len(samples) < clients * pieces:
    raise TflmFgError(
      f"{len(samples)} samples for {clients} clients: need at least "
      f"{clients * pieces}; take fewer clients or more samples"
    )
  order = rng.permutation(len(samples))
  if spread == "words":
    order = order[np.argsort(samples.y[order], kind="stable")]
  cut = np.array_split(order, clients * pieces)
  whose = rng.permutation(clients * pieces).reshape(clients, pieces)
  parts = [np.concatenate([cut[i] for i in own]) for own in whose]
  return [Samples(samples.x[rows], samples.y[rows]) for rows in parts]
