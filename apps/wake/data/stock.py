"""Give negatives and keepers: those that are shipped, and those made here.

Negatives are sound in which nobody says the wake word; keepers are voices that
say it, and that a model must go on hearing. Both decide what training does, and
few users have enough of them. The shipped file holds micro front end frames,
since sound of the same length would take many times as much. Where a model has
another front end, or the file lacks the wake word, the same plans are spoken
here by espeak-ng.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from apps.wake.data import noises, phrases, speaking, stock_file, voices
from apps.wake.data.features import Frontend
from apps.wake.data.manifest import Manifest
from apps.wake.data.speaking import NEAR, Plan
from tflm_fg import files
from tflm_fg.types import Array, TflmFgError, one_line

FILE = "stock.bin"

NEGATIVE, ALIKE, KEEPER, NOISE = "negative", "alike", "keeper", "noise"

_ORDINARY, _CONFUSED = 13, 6
"""Phrases of each kind that a voice of the stock says in turn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
  """A stream, and what is known of it.

  Attributes:
    sound: int8 [frames, 40], a frame every 10 ms, or int16 [n] at 16 kHz; what
      `Frontend.steps` takes.
    kind: NEGATIVE, ALIKE, KEEPER or NOISE.
    voice: who speaks, espeak-ng's name.
    manner: how, one of `speaking.MANNERS`.
    texts: what is said.
    made: whether it was spoken here, and not shipped.
  """

  sound: NDArray[Any] = dataclasses.field(repr=False)
  kind: str
  voice: str
  manner: str
  texts: tuple[str, ...]
  made: bool = False


@dataclasses.dataclass(frozen=True)
class Steps:
  """What a model is fed of the stock.

  Attributes:
    negatives: int8 [T, *step_shape] for each stream without the wake word:
      ordinary speech, and noise.
    alike: the same for phrases that sound like the wake word, and for other
      wake words. They are dense: what is heard in them says nothing of false
      accepts an hour.
    keepers: the same for each recording of the wake word.
    negative_names: the voice of each, to keep some of them aside.
    alike_names: the same.
    keeper_names: the same.
    notes: for the user: what was made, and what is missing.
  """

  negatives: list[Array]
  alike: list[Array]
  keepers: list[Array]
  negative_names: list[str]
  alike_names: list[str]
  keeper_names: list[str]
  notes: tuple[str, ...]


def steps(manifest: Manifest, frontend: Frontend, *, seed: int = 0) -> Steps:
  """All that the stock has for a model: shipped where it serves, else made.

  Args:
    manifest: names the wake word and the languages.
    frontend: of the model.
    seed: which of the streams that are made here.

  Raises:
    TflmFgError: if nothing is shipped for the front end, and nothing can be
      made.
  """
  word, notes = manifest.wake_word, list[str]()
  made = frontend.name != "micro"
  others = negatives(word, made=made)
  near, keeping = list[Sound](), list[Sound]()
  if not phrases.normal(word):  # another word's keepers may be this one's
    notes.append(
      "no wake word is named, so no voices that say it are kept; name it with "
      "--wake_word"
    )
  else:
    near = [s for s in others if s.kind == KEEPER]
    has_keepers = not made and phrases.normal(word) in shipped_words()
    try:
      near += alike(word, languages=manifest.languages, seed=seed)
      keeping = keepers(
        word, made=not has_keepers, languages=manifest.languages, seed=seed
      )
    except TflmFgError as fault:
      keeping = keepers(word) if has_keepers else []
      notes.append(
        f"no phrases {'' if has_keepers else 'and no keepers '}were made for "
        f"{word!r}: {one_line(fault)}"
      )
  kinds = [[s for s in others if s.kind != KEEPER], near, keeping]
  inputs = ([frontend.steps(s.sound) for s in sounds] for sounds in kinds)
  names = ([s.voice for s in sounds] for sounds in kinds)
  return Steps(*inputs, *names, tuple(notes))


def negatives(wake_word: str = "", *, made: bool = False) -> list[Sound]:
  """Streams in which nobody says the wake word.

  Args:
    wake_word: streams with it are left out; other wake words are in, as
      phrases that are near.
    made: whether to speak them here, as sound, in place of shipped frames.

  Returns:
    A stream of half a minute or more for each of `voices.NEGATIVES`, other wake
    words, and noise in which nobody speaks.

  Raises:
    TflmFgError: if they cannot be made.
  """
  if made:
    plans = [(NEGATIVE, plan) for plan in negative_plans(wake_word)]
    return [*_spoken(plans), *_wordless()]
  usual = [s for s in shipped() if not _is_the_word(s, wake_word)]
  return [*usual, *_wordless()]


def keepers(
  wake_word: str,
  *,
  made: bool = False,
  languages: Sequence[str] = ("en",),
  seed: int = 0,
) -> list[Sound]:
  """Recordings of the wake word by many voices.

  Args:
    wake_word: such as "Hey Jarvis".
    made: whether to speak them here, in place of shipped frames.
    languages: that the voices speak, where they are made.
    seed: which, where they are made.

  Returns:
    One for each of `voices.KEEPERS`; none where they are not shipped.

  Raises:
    TflmFgError: if no wake word is given, or they cannot be made.
  """
  if not phrases.normal(wake_word):
    raise TflmFgError("keepers: need a wake word; name it with --wake_word")
  if made:
    plans = keeper_plans(wake_word, languages, seed)
    return _spoken([(KEEPER, plan) for plan in plans])
  said = phrases.said(wake_word)
  return [s for s in shipped() if s.kind == KEEPER and s.texts == (said,)]


def alike(
  wake_word: str, *, languages: Sequence[str] = ("en",), seed: int = 0
) -> list[Sound]:
  """Phrases that sound like the wake word, made here by some voices.

  Raises:
    TflmFgError: if they cannot be made.
  """
  texts = phrases.alike(wake_word)
  names = [voice for voice, _ in voices.ALIKE]
  plans = [
    Plan(texts=tuple(texts), voice=voice, manner=manner, seed=seed, fast=True)
    for voice, (_, manner) in zip(
      voices.of_languages(names, languages), voices.ALIKE
    )
    if texts
  ]
  return _spoken([(ALIKE, plan) for plan in plans])


def shipped_words() -> frozenset[str]:
  """The wake words whose keepers are shipped, as `phrases.normal` has them."""
  said = {s.texts[0] for s in shipped() if s.kind == KEEPER}
  return frozenset(
    word for word in phrases.COMMON if phrases.said(word) in said
  )


@functools.cache
def shipped() -> tuple[Sound, ...]:
  """All that is in the file.

  Raises:
    TflmFgError: if it is damaged.
  """
  path = str(importlib.resources.files("apps.wake.data").joinpath(FILE))
  return tuple(
    Sound(sound=frames, **about)
    for about, frames in stock_file.read(files.read_bytes(path), path)
  )


def negative_plans(wake_word: str = "", seed: int = 0) -> list[Plan]:
  """What the voices of the stock say that is not the wake word."""
  near = [text for word in phrases.COMMON for text in phrases.alike(word, 10)]
  near = [text for text in dict.fromkeys(near) if not _holds(text, wake_word)]
  plans = []
  for number, (voice, manner) in enumerate(voices.NEGATIVES):
    usual = phrases.ordinary(_ORDINARY, seed + number, wake_word)
    first = number * _CONFUSED
    confused = [near[(first + i) % len(near)] for i in range(_CONFUSED)]
    texts = [*usual, *confused]
    texts = [text for pair in zip(usual, confused) for text in pair]
    texts += usual[len(confused) :]
    plans.append(
      Plan(texts=tuple(texts), voice=voice, manner=manner, seed=seed)
    )
  return plans


def keeper_plans(
  wake_word: str, languages: Sequence[str] = ("en",), seed: int = 0
) -> list[Plan]:
  """The wake word, once by each of `voices.KEEPERS`."""
  text = phrases.said(wake_word)
  return [
    Plan(texts=(text,), voice=voice, manner=NEAR, seed=seed)
    for voice in voices.of_languages(voices.KEEPERS, languages)
  ]


def _spoken(plans: Sequence[tuple[str, Plan]]) -> list[Sound]:
  sounds = speaking.spoken([plan for _, plan in plans])
  return [
    Sound(
      sound=sound,
      kind=kind,
      voice=plan.voice,
      manner=plan.manner,
      texts=plan.texts,
      made=True,
    )
    for (kind, plan), sound in zip(plans, sounds)
  ]


@functools.cache
def _wordless() -> tuple[Sound, ...]:
  return tuple(
    Sound(sound=sound, kind=NOISE, voice=name, manner=NEAR, texts=(), made=True)
    for name, sound in noises.streams()
  )


def _is_the_word(sound: Sound, wake_word: str) -> bool:
  """Whether the wake word is said in a stream, or is most of it."""
  words = {wake_word}
  if sound.kind == KEEPER:
    words.add(phrases.content(wake_word))
  return any(_holds(text, word) for text in sound.texts for word in words)


def _holds(text: str, wake_word: str) -> bool:
  return bool(wake_word) and phrases.holds(text, wake_word)
