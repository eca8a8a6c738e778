"""A long recording with words at known times: made, and read with its times."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import room
from apps.kws.synthetic import speech, voices
from tflm_fg import files
from tflm_fg.types import TflmFgError

RATE_HZ = room.SAMPLE_RATE_HZ


class Spoken(NamedTuple):
  """A word, and the time of the middle of its energy."""

  seconds: float
  word: str


def make(
  words: Sequence[str],
  others: Sequence[str],
  *,
  minutes: float,
  count: int,
  domain: str,
  split: str,
  seed: int,
) -> tuple[NDArray[np.int16], list[Spoken]]:
  """Speaks words at random times into one recording.

  Args:
    words: the words to be spotted; they take turns.
    others: other words, as many times again; none where it is empty.
    minutes: length of the recording.
    count: how many times a word to be spotted is said.
    domain: a key of `voices.DOMAINS`; one speaker of it says all.
    split: one of `voices.SPLITS`.
    seed: which recording.

  Returns:
    int16 [n] at 16 kHz, and what was said when.

  Raises:
    TflmFgError: if so many words do not fit, or speech cannot be made.
  """
  said = [words[i % len(words)] for i in range(count)]
  said += [others[i % len(others)] for i in range(count if others else 0)]
  samples = round(minutes * 60 * RATE_HZ)
  slot = samples // max(1, len(said))
  if slot < 2 * RATE_HZ:
    raise TflmFgError(
      f"{len(said)} words need two seconds each; {minutes:g} minutes are too "
      "short: raise --recording_minutes"
    )
  who = voices.get(domain)
  plans = [
    voices.plan_of_speaker(who, split, word, seed, take, seed)
    for take, word in enumerate(said)
  ]
  rng = np.random.default_rng([seed, voices.SPLITS.index(split), len(said)])
  sounds = [
    room.resample(pcm, speech.SAMPLE_RATE_HZ, plan.formant_scale)
    for plan, pcm in zip(plans, speech.synthesize([_of(p) for p in plans]))
  ]
  places = rng.permutation(len(said))
  words_at, spoken = [], []
  for place, word, sound in zip(places, said, sounds):
    start = int(place * slot + rng.integers(slot - RATE_HZ))
    energy = np.cumsum(sound**2)
    middle = start + int(np.searchsorted(energy, energy[-1] / 2))
    words_at.append((start, sound))
    spoken.append(Spoken(round(middle / RATE_HZ, 3), word))
  return who.microphone.record_long(words_at, samples, rng), sorted(spoken)


def _of(plan: voices.Plan) -> speech.Utterance:
  assert plan.utterance is not None
  return plan.utterance


def to_csv(spoken: Sequence[Spoken]) -> bytes:
  """The times as a table: seconds, word."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(Spoken._fields)
  writer.writerows(spoken)
  return text.getvalue().encode()


def read_csv(path: str) -> list[Spoken]:
  """Reads what `to_csv` wrote.

  Raises:
    TflmFgError: if it is no such table.
  """
  try:
    text = files.read_bytes(path).decode("utf-8-sig")
    table = csv.DictReader(io.StringIO(text))
    if not {"seconds", "word"} <= set(table.fieldnames or ()):
      raise ValueError("a column is missing")
    return sorted(
      _spoken(row, f"{path}: line {table.line_num}") for row in table
    )
  except (UnicodeDecodeError, ValueError, csv.Error):
    raise TflmFgError(
      f"{path}: no table of words; need the columns seconds and word"
    ) from None


def _spoken(row: dict[str, str | None], where: str) -> Spoken:
  """A row of a table."""
  text, word = row["seconds"] or "", (row["word"] or "").strip()
  try:
    seconds = float(text)
  except ValueError:
    seconds = np.nan
  if not (np.isfinite(seconds) and seconds >= 0):
    raise TflmFgError(f"{where}: {text!r} is no time; need seconds from 0 up")
  if not word:
    raise TflmFgError(f"{where}: holds no word; need seconds and a word")
  return Spoken(seconds, word)
