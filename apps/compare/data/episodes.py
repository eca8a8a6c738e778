"""Make a model and the samples that it shall adapt to, from a name and a seed.

  child-5shot            the shipped spotter, a new speaker, 5 samples a class
  words10-20shot         the same on a fresh head, 10 new words, 20 samples each
  digits-blur-5-20shot   the digits network, blurred images, 20 of each digit

A seed chooses what is adapted to; what is scored on is the same for all seeds.
"""

from __future__ import annotations

import dataclasses
import re

from apps.compare.data import corruptions, digits, voices
from apps.compare.data.sampling import Part, sample
from apps.kws.model import shipped
from tflm_fg.tflite import new_rows
from tflm_fg.types import Array, TflmFgError

__all__ = ["NAMES", "Episode", "Part", "episode", "sampled", "source_of"]

SHOTS = (5, 20)
WAYS = (5, 10)

SPOILT = (
  ("noise", (3, 5)),
  ("blur", (3, 5)),
  ("contrast", (3, 5)),
  ("rotation", (2, 4)),
  ("pixelation", (2, 4)),
)
"""Corruptions that leave the network room to learn, and it can."""

NAMES = (
  *(f"{voice}-{k}shot" for voice in voices.VOICES for k in SHOTS),
  *(f"words{n}-{k}shot" for n in WAYS for k in SHOTS),
  *(
    f"digits-{kind}-{severity}-{k}shot"
    for kind, severities in SPOILT
    for severity in severities
    for k in SHOTS
  ),
)
"""The built-in episodes; other ways, shots and severities have names too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episode:
  """Something to learn from few samples.

  Attributes:
    name: one of NAMES, or another of their kind.
    seed: what chose the training samples.
    model: the int8 .tflite to adapt, unmarked.
    train: samples [N, ...] in the model's float units; classes, int64 [N].
    test: other samples, the same for every seed but where it chooses the words.
  """

  name: str
  seed: int
  model: bytes
  train: Part
  test: Part


def episode(name: str, seed: int, cache: str | None = None) -> Episode:
  """Makes an episode.

  Args:
    name: one of NAMES, or the same with other numbers.
    seed: 0 or more; the same one gives the same bytes.
    cache: a folder that keeps spoken samples from one call to the next; without
      it they are spoken again, which takes seconds.

  Raises:
    TflmFgError: if there is no such episode, or a package is missing.
  """
  if seed < 0:
    raise TflmFgError(f"seed={seed}: need 0 or more")
  model, (train, test) = _parts(name, seed, cache)
  return Episode(name=name, seed=seed, model=model, train=train, test=test)


def sampled(
  name: str,
  model: bytes,
  pool: Part,
  shots: int,
  tests: int | None,
  seed: int,
  ways: int | None = None,
  groups: Array | None = None,
) -> Episode:
  """Samples an episode of a user's model and samples, as `readers` gives them.

  Args:
    name: what to call it.
    model: the int8 .tflite; its outputs are the pool's classes, unless `ways`.
    pool: samples in the model's float units, and their classes.
    shots: samples of a class to adapt to.
    tests: samples of a class to score on; None for all that are left.
    seed: which samples, which classes.
    ways: so many classes of the pool, on a fresh head; None for all classes
      on the model's own.
    groups: of each sample of the pool, as for `sample`.

  Raises:
    TflmFgError: if the pool is too small, or the head cannot be made anew.
  """
  train, test, classes = sample(*pool, ways, shots, tests, seed, groups)
  if ways is not None:
    model = new_rows(model, ways, name)
  else:  # an output that the pool has no samples of keeps its number
    train, test = ((x, classes[y]) for x, y in (train, test))
  return Episode(name=name, seed=seed, model=model, train=train, test=test)


def _parts(
  name: str, seed: int, cache: str | None
) -> tuple[bytes, tuple[Part, Part]]:
  kinds, names = "|".join(corruptions.KINDS), "|".join(voices.VOICES)
  if found := re.fullmatch(rf"({names})-([1-9]\d*)shot", name):
    voice, shots = found[1], int(found[2])
    parts = voices.split_of(voice, shots, seed, cache)
    return shipped.shipped_model(), parts
  if found := re.fullmatch(r"words([1-9]\d*)-([1-9]\d*)shot", name):
    ways, shots = int(found[1]), int(found[2])
    parts = voices.words_of(ways, shots, seed, cache)
    return new_rows(shipped.shipped_model(), ways, shipped.MODEL), parts
  if found := re.fullmatch(rf"digits-({kinds})-([1-5])-([1-9]\d*)shot", name):
    kind, severity, shots = found[1], int(found[2]), int(found[3])
    parts = digits.split_of(kind, severity, shots, seed)
    return digits.shipped_model(), parts
  raise TflmFgError(
    f"episode {name!r} is unknown; need VOICE-5shot "
    f"({', '.join(voices.VOICES)}), words10-5shot or digits-KIND-3-5shot "
    f"({', '.join(corruptions.KINDS)}; severities 1 to 5), or other counts"
  )


def source_of(name: str, cache: str | None = None) -> Array:
  """Samples like those that an episode's network was trained on.

  Args:
    name: of an episode.
    cache: as for `episode`.

  Returns:
    [N, ...], in the network's float units.

  Raises:
    TflmFgError: if the episode's source is not known, or a package is missing.
  """
  if name.startswith("digits-"):
    return digits.parts(*digits.images()).train[0]
  if name.split("-")[0] in voices.VOICES:
    return voices.source_samples(cache)[0]
  raise TflmFgError(
    f"{name}: nothing is known of what its model was trained on, which method "
    "statistics needs; use an episode of a voice or of digits"
  )
