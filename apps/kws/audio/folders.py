"""Read labelled takes from a folder in the Speech Commands layout.

The layout is `WORD/SPEAKER_nohash_N.wav`, with long recordings of noise in
`_background_noise_`. Which part a file belongs to (training, validation,
testing) follows from the hash of its name up to `_nohash_`, as in the Speech
Commands set itself, so that a speaker is always on one side.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from apps.kws.audio import files
from tflm_fg.types import TflmFgError

BACKGROUND = "_background_noise_"
SILENCE, UNKNOWN = "silence", "unknown"
FREE = "_free_"
"""The name of an output that no word has taken yet."""

SPLITS = (
  "all",
  "training",
  "validation",
  "testing",
  "training+validation",
)

_HASH_RANGE = (1 << 27) - 1
_TESTING_PERCENT = _VALIDATION_PERCENT = 10


@dataclasses.dataclass(frozen=True)
class Take:
  """One file that clips are cut from, or one window of noise.

  Attributes:
    path: the file.
    label: the class of its clips.
    word: the folder it lies in.
    start: first sample of a window of noise; None for a spoken word.
  """

  path: str
  label: int
  word: str
  start: int | None = None


def scan(root: str) -> dict[str, list[str]]:
  """Lists the recordings of a folder.

  Returns:
    word -> its sound files, both in the order of their names. The background
    noise stands under `BACKGROUND`.

  Raises:
    TflmFgError: if the folder is missing or holds no recordings.
  """
  if not os.path.isdir(root):
    raise TflmFgError(f"{root}: no such folder; need {root}/WORD/*.wav")
  words = {}
  try:
    for entry in sorted(os.listdir(root)):
      folder, word = os.path.join(root, entry), composed(entry)
      if not os.path.isdir(folder) or word.startswith("."):
        continue
      names = sorted(filter(files.is_sound, os.listdir(folder)))
      if names:
        words[word] = [os.path.join(folder, name) for name in names]
  except OSError as fault:
    raise TflmFgError(f"{root}: cannot be read: {fault.strerror}") from None
  if not set(words) - {BACKGROUND}:
    raise TflmFgError(f"{root}: holds no recordings; need {root}/WORD/*.wav")
  return words


def composed(word: str) -> str:
  """A word with its accents as one character each: some systems part them."""
  return unicodedata.normalize("NFC", word)


def split_of(path: str) -> str:
  """The part that a file belongs to: the Speech Commands rule.

  Args:
    path: any path; only the file's name counts, up to `_nohash_`.
  """
  speaker = re.sub(r"_nohash_.*$", "", os.path.basename(path))
  digest = hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest()
  place = int(digest, 16) % (_HASH_RANGE + 1)
  percent = place * 100.0 / _HASH_RANGE
  if percent < _VALIDATION_PERCENT:
    return "validation"
  if percent < _VALIDATION_PERCENT + _TESTING_PERCENT:
    return "testing"
  return "training"


def _is_in(path: str, split: str) -> bool:
  return split == "all" or split_of(path) in split.split("+")


def class_of(word: str, classes: Sequence[str]) -> int | None:
  """The output that a folder's recordings belong to, if any."""
  plain = word[1:-1] if re.fullmatch(r"_\w+_", word) else word
  for name in (word, plain):
    if name in classes:
      return list(classes).index(name)
  return list(classes).index(UNKNOWN) if UNKNOWN in classes else None


def takes(
  root: str,
  classes: Sequence[str],
  *,
  split: str = "all",
  seed: int = 0,
  name: str = "the model",
) -> tuple[list[Take], list[str]]:
  """Chooses the recordings of a folder that a model can learn or be tried on.

  Folders of other words count as "unknown" where the model has that class,
  about as many as of a keyword; "silence" is cut from the background noise.

  Args:
    root: the folder.
    classes: the model's, in the order of its outputs.
    split: one of SPLITS.
    seed: draws the other words' recordings and the windows of noise.
    name: what to call the model in errors.

  Returns:
    The takes, and what a user should know of the choice.

  Raises:
    TflmFgError: if no folder is a class of the model, or one is none.
  """
  words = scan(root)
  noise = words.pop(BACKGROUND, [])
  _require_known(root, words, classes, name)
  chosen: dict[int, list[Take]] = {}
  others = []
  for word, paths in words.items():
    label = class_of(word, classes)
    assert label is not None  # it was just required
    found = [Take(p, label, word) for p in paths if _is_in(p, split)]
    if classes[label] == UNKNOWN and word.strip("_") != UNKNOWN:
      others += found
    else:
      chosen[label] = found
  rng = np.random.default_rng([seed, SPLITS.index(split)])
  usual = _usual_count(chosen, classes)
  notes = _add_others(chosen, others, usual, rng)
  if SILENCE in classes and noise:
    label = list(classes).index(SILENCE)
    if label not in chosen:
      chosen[label] = _windows(noise, label, usual or len(noise), rng)
  return [take for label in sorted(chosen) for take in chosen[label]], notes


def _require_known(
  root: str,
  words: Mapping[str, list[str]],
  classes: Sequence[str],
  name: str,
) -> None:
  fitting = [w for w in words if w.strip("_") in classes or w in classes]
  strange = [w for w in words if class_of(w, classes) is None]
  known = ", ".join(c for c in classes if c != FREE)
  if not fitting:
    raise TflmFgError(
      f"{root}: its folders ({_short(list(words))}) are no classes of {name} "
      f"({known}); check --data or --classes"
    )
  if strange:
    raise TflmFgError(
      f"{root}: {name} does not know {_short(strange)}, only {known}; teach "
      f"new words with: tflm-fg-kws enrol --words={strange[0]}"
    )


def _usual_count(
  chosen: Mapping[int, list[Take]], classes: Sequence[str]
) -> int:
  """How many takes a keyword has: the mean."""
  counts = [
    len(found)
    for label, found in chosen.items()
    if found and classes[label] not in (SILENCE, UNKNOWN)
  ]
  return round(sum(counts) / len(counts)) if counts else 0


def _add_others(
  chosen: dict[int, list[Take]],
  others: list[Take],
  usual: int,
  rng: np.random.Generator,
) -> list[str]:
  """Adds as many recordings of other words as a keyword has."""
  if not others:
    return []
  label, count = others[0].label, len(others)
  if usual and count > usual:
    others = [others[i] for i in np.sort(rng.permutation(count)[:usual])]
  chosen[label] = [*chosen.get(label, []), *others]
  apart = sorted({take.word for take in others})
  return [
    f"{len(others)} of {count} recordings of other words count as "
    f"{UNKNOWN!r}: {_short(apart)}"
  ]


def _windows(
  paths: Sequence[str], label: int, count: int, rng: np.random.Generator
) -> list[Take]:
  """Draws windows of noise; where one starts is a share of its file."""
  picks = rng.integers(len(paths), size=count)
  starts = rng.integers(1 << 30, size=count)
  return [
    Take(paths[pick], label, BACKGROUND, int(start))
    for pick, start in zip(picks, starts)
  ]


def _short(names: Sequence[str]) -> str:
  shown = ", ".join(names[:5])
  return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def classes_of(root: str) -> tuple[str, ...]:
  """The classes that a folder asks for, where nobody names them.

  The ten keywords of Speech Commands with all else unknown, where all ten are
  there; else every folder. Silence comes with background noise.
  """
  words = scan(root)
  noise = words.pop(BACKGROUND, None)
  names = [word.strip("_") if word.startswith("_") else word for word in words]
  if set(KEYWORDS) < set(names):
    return (*KEYWORDS, *([SILENCE] if noise else []), UNKNOWN)
  chosen = [n for n in names if n not in (SILENCE, UNKNOWN)]
  if noise or SILENCE in names:
    chosen.append(SILENCE)
  return (*chosen, *([UNKNOWN] if UNKNOWN in names else []))


KEYWORDS = tuple("down go left no off on right stop up yes".split())
