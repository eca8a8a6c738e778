"""The speech of the demo: voices that a published model misses, and others.

Every sound is made by espeak-ng, from a seed. The stock speaks with none of
these voices, and says none of these sentences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from apps.wake.data import phrases, speaking
from apps.wake.data.speaking import NEAR, Plan
from apps.wake.sounds import Sound


@dataclasses.dataclass(frozen=True)
class Speaker:
  """Who speaks.

  Attributes:
    title: for people.
    voice: espeak-ng's, such as "de+f2".
    manner: one of `speaking.MANNERS`.
  """

  title: str
  voice: str
  manner: str = NEAR


_GERMAN = Speaker("a German accent", "de+f2")
_WHISPER = Speaker("a whisper", "en-us+whisper")

MISSED = {
  "hey_jarvis": (_GERMAN, _WHISPER),
  "okay_nabu": (
    Speaker("a Dutch accent", "nl+f2"),
    Speaker("a Turkish accent", "tr+m7"),
  ),
  "alexa": (_GERMAN, _WHISPER),
  "hey_mycroft": (Speaker("a French accent", "fr+f2"), _WHISPER),
}
"""Two voices that each of the published models misses."""

ORIGINALS = tuple(
  Speaker("", voice)
  for voice in (
    "en-us+f4 en+m2 en-us+f5 en-gb-scotland+f3 en-us+m8 en+m6"
  ).split()
)
"""Voices as the models were trained for."""

TALKERS = tuple(
  Speaker("", voice)
  for voice in (
    "en-us+m1 en+f1 en-gb-x-gbclan+m4 en-029+f3 en-us-nyc+m8 en-gb-x-rp+f4 "
    "ro+m8 fi+m4 it+f3 pt-br+m7 ja+f5 hi+m2"
  ).split()
)
"""Voices that say what is not the word."""

SENTENCES = tuple(
  """where did you put the remote control
the news at nine begins with sport
she plays chess every thursday evening
I would like two coffees and a cake
election results are expected tonight
how do you spell that word
they drove north along the river
please open the window a little
hey janice did you call the service
okay let us go to the naval museum
a lexicon lists words
hey mike off we go
he jars the fruit in autumn
my mother called me yesterday
harvest season is almost over
can you pass me the salt""".splitlines()
)
"""What they say; some of it is near to a wake word."""


def recordings(
  speakers: Sequence[Speaker], word: str, each: int, part: int, seed: int
) -> list[Sound]:
  """Recordings of a wake word, those of each speaker one behind the other.

  Args:
    speakers: who speak.
    word: what is said, once in a recording.
    each: how many recordings of each.
    part: a number for what they are for; parts share no recording.
    seed: which recordings.

  Raises:
    TflmFgError: if speech cannot be made.
  """
  text = phrases.said(word)
  return _sounds(
    [
      Plan(
        texts=(text,),
        voice=who.voice,
        manner=who.manner,
        seed=(seed * 10 + part) * 1000 + number,
        fast=True,
      )
      for who in speakers
      for number in range(each)
    ]
  )


def talk(speakers: Sequence[Speaker], times: int, seed: int) -> list[Sound]:
  """Speakers who say all sentences, a long sound of each.

  Args:
    speakers: who speak.
    times: how often each says them.
    seed: which sounds.
  """
  return _sounds(
    [
      Plan(texts=SENTENCES * times, voice=who.voice, seed=seed, fast=True)
      for who in speakers
    ]
  )


def _sounds(plans: Sequence[Plan]) -> list[Sound]:
  return [
    Sound(f"{plan.voice} {number}", sound, speaking.LEAD_SECONDS)
    for number, (plan, sound) in enumerate(zip(plans, speaking.spoken(plans)))
  ]
