"""Who speaks in the bench: voices that a model misses, and all others.

Settings of how a head is trained were chosen with other voices and sentences
than those below (`TUNE`), so that what is reported here was not tuned on. No
voice of this file speaks in the stock; `check` holds it.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Setting:
  """A voice that a model misses.

  Attributes:
    model: stem of the model's file.
    voice: an espeak-ng language and variant.
    room: a key of `rooms.ROOMS`.
    kind: accent, whisper, child, far, or one that no earlier trial had.
  """

  model: str
  voice: str
  room: str
  kind: str

  @property
  def name(self) -> str:
    """Unlike all others."""
    return f"{self.model}/{self.voice}/{self.room}"

  def siblings(self) -> list[str]:
    """Other voices of the same accent, heard in the same room."""
    language, variant = self.voice.split("+")
    return [f"{language}+{other}" for other in _SIBLINGS[variant]]


SPOKEN = {
  "okay_nabu": "okay naboo",
  "hey_jarvis": "hey jarvis",
  "alexa": "alexa",
  "hey_mycroft": "hey mycroft",
  "okay_computer": "okay computer",
  "hey_peppa_pig": "hey peppa pig",
  "choo_choo_homie": "choo choo homie",
  "hey_home_assistant": "hey home assistant",
}
"""What espeak-ng is given for a model's wake word."""

_SIBLINGS = {
  "m4": ("m6", "ian"),
  "f3": ("f4", "Alicia"),
  "f5": ("f4", "Alicia"),
  "Annie": ("f4", "f1"),
  "Alicia": ("Annie", "f4"),
  "croak": ("m8", "kaukovalta"),
  "whisper": ("whisperf",),
  "whisperf": ("whisper",),
}

_MISSED = {
  "okay_nabu": """
    es+Alicia/near nl+m4/near cs+f3/near pl+Annie/near
    en-gb-scotland+whisperf/near en-us+Annie/child nl+Annie/child
    en-us+Alicia/far en-gb-scotland+m4/far en-us+m4/noisy""",
  "hey_jarvis": """
    fr+Alicia/near es+m4/near tr+m4/near en+whisperf/near de+whisper/near
    en+f3/child en-029+Annie/child en+Annie/far en-gb-x-rp+m4/far
    en+croak/near""",
  "alexa": """
    sv+f3/near da+m4/near ro+f3/near en-us+whisper/near de+whisper/near
    en-029+f5/child nl+f3/child en+f3/far en-gb-x-rp+f3/far
    en-029+f3/phone""",
  "hey_mycroft": """
    cs+f3/near tr+f3/near pl+m4/near en-us+whisper/near fr+whisper/near
    en-us+Annie/child nl+f5/child en-us+Annie/far en-gb-x-rp+Annie/far
    en-us+m4/noisy""",
}


def _kind(voice: str, room: str) -> str:
  if "whisper" in voice:
    return "whisper"
  if "croak" in voice:
    return "hoarse"
  return "accent" if room == "near" else room


def settings(model: str) -> list[Setting]:
  """The ten voices of a model; for others than the four, six of all kinds.

  The first ones are of different kinds, so that a few of them say most.
  """
  missed = _MISSED.get(
    model,
    "fr+Alicia/near tr+m4/near en-us+whisper/near en+f3/child en-us+Annie/far"
    " en+croak/near",
  )
  places = [place.split("/") for place in missed.split()]
  found = [Setting(model, v, room, _kind(v, room)) for v, room in places]
  kinds = [setting.kind for setting in found]
  turn = [kinds[:place].count(kind) for place, kind in enumerate(kinds)]
  return [found[i] for i in sorted(range(len(found)), key=turn.__getitem__)]


ORIGINALS = tuple(
  f"{language}+{variant}"
  for language, variants in {
    "en-us": "m6 f4 ian f1",
    "en": "m8 f4 m1",
    "en-gb-scotland": "f4 m3",
    "en-gb-x-rp": "m6 f4",
    "en-029": "m8",
  }.items()
  for variant in variants.split()
)
"""Voices that a model was made for, whose recall must not fall."""

OTHERS = tuple(
  f"{language}+{variant}"
  for language, variants in {
    "en-us": "Gene2 Andy Jacky zac adam",
    "en": "david iven2 steph3",
    "en-gb-scotland": "Denis mike2",
    "en-029": "klatt",
    "en-gb-x-rp": "announcer",
    "de": "m2 f2",
    "nl": "Lee",
    "fr": "edward2",
    "es": "m5 f2",
    "it": "Marco",
    "tr": "m7",
    "cs": "klatt3",
    "pl": "marcelo",
    "sv": "iven3",
    "hi": "m2",
  }.items()
  for variant in variants.split()
)
"""Who says other things than the wake word."""
