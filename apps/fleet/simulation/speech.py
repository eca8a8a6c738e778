"""Samples of a simulated fleet: twelve classes, spoken by voices it is new to.

Speech is synthetic, by the synthesizer of tflm-fg-kws. No utterance that is
scored on is ever trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from apps.compare.data.cache import cached
from apps.fleet.simulation.clients import Fleet, Samples, dealt, drawn, joined
from tflm_fg.types import TflmFgError

VOICES = ("whisper", "child", "hungarian")
"""Whose words are dealt out; as in tflm-fg-kws demo."""

VARIANTS = (
  *("en-us+m4", "en+f3", "en-gb-scotland+m7", "en-029+Annie", "hu", "vi"),
  *("en-us+whisper", "en-us+UniRobot", "de", "fr"),
)
"""Voices of clients that have one each; a larger fleet takes them in turn."""

POOL = 2
"""A pool has so many times the samples that one fleet draws of it."""


@dataclasses.dataclass(frozen=True)
class Pool:
  """Spoken samples, of which every seed draws a fleet.

  Attributes:
    parts: of one voice to be dealt out, or of each client.
    test: other samples, of all classes and voices.
    spread: as for `dealt`, or "voices".
    clients: how many a fleet has.
    tests: of the test what each client's voice says; empty for one voice.
  """

  parts: Sequence[Samples]
  test: Samples
  spread: str
  clients: int
  tests: Sequence[Samples] = ()

  def fleet(self, seed: int) -> Fleet:
    """The clients of a seed; the test is the same for all seeds."""
    parts = [drawn(part, POOL, seed) for part in self.parts]
    if self.spread != "voices":
      parts = dealt(parts[0], self.clients, self.spread, seed)
    return Fleet(parts, self.test, self.tests)


def pool(
  spread: str,
  voice: str,
  clients: int,
  samples: int,
  test: int,
  folder: str | None = None,
) -> Pool:
  """Speaks the samples of a fleet.

  Args:
    spread: one of `SPREADS`.
    voice: one of `VOICES`, whose words are dealt; "voices" has its own.
    clients: how many.
    samples: of a class, over all clients.
    test: samples of a class to score on.
    folder: where samples are kept, or None.

  Raises:
    TflmFgError: if the synthesizer is missing.
  """
  if spread != "voices":
    own = _spoken(voice, "adapt", 0, POOL * samples, folder)
    return Pool([own], _spoken(voice, "test", 0, test, folder), spread, clients)
  each, checks = max(1, samples // clients), max(1, test // clients)
  parts, tests = [], []
  for number in range(clients):
    name = VARIANTS[number % len(VARIANTS)]
    at = number // len(VARIANTS)
    parts.append(_spoken(name, "adapt", at, POOL * each, folder))
    tests.append(_spoken(name, "test", at, checks, folder))
  return Pool(parts, joined(tests), spread, clients, tests)


def _spoken(
  name: str, split: str, at: int, count: int, folder: str | None
) -> Samples:
  """Samples of a domain or a voice, so many of each class."""
  try:
    from apps.kws.synthetic import features, voices
  except ModuleNotFoundError as fault:
    raise TflmFgError(
      f"voices need: pip install 'tflm-fg[kws]' ({fault})"
    ) from None
  who = (
    voices.get(name)
    if name in VOICES
    else voices.Domain(name=f"fleet {name}", voices=(name,))
  )
  x, y = cached(
    folder,
    f"fleet-{name}-{split}-{at}-{count}",
    lambda: features.speak(
      who, split, count, first_index=at * count, progress=False
    ),
  )
  return Samples(x, np.asarray(y, np.int64))
