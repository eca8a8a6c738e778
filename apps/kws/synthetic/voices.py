"""Make the plan of one clip from a domain, a class and an index.

A domain is who speaks into which microphone. Everything drawn for a clip
comes from (seed, domain, split, class, index) alone, so a clip does not
depend on which others are made.
"""

from __future__ import annotations

import dataclasses
import types
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import room
from apps.kws.synthetic import speech
from tflm_fg.types import TflmFgError


def _words(text: str) -> tuple[str, ...]:
  return tuple(text.split())


CLASSES = _words("down go left no off on right stop up yes silence unknown")
SILENCE = CLASSES.index("silence")
UNKNOWN = CLASSES.index("unknown")
SPLITS = ("train", "adapt", "test")

UNKNOWN_WORDS = _words(
  "backward bed bird cat dog eight five follow forward four garden green happy"
  " house learn marvin music nine one orange paper seven sheila six table three"
  " tree two visual water window wow yellow zero"
)

_ACCENTS = _words(
  "en-us en en-gb-scotland en-gb-x-rp en-gb-x-gbclan en-gb-x-gbcwmd en-029"
  " en-us-nyc"
)
_TRAIN_VARIANTS = _words("m1 m2 m3 m5 m6 m8 f1 f2 f4 f5")
_UNSEEN_VARIANTS = _words("m4 m7 f3 Annie")


def _voices(variants: tuple[str, ...]) -> tuple[str, ...]:
  return tuple(f"{a}+{v}" for a in _ACCENTS for v in variants)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
  """Who speaks, how, and into which microphone; ranges are drawn per clip.

  Attributes:
    name: Its key in DOMAINS.
    voices: The espeak-ng voices of the splits "adapt" and "test".
    train_voices: The voices of the split "train"; empty means `voices`.
    rate_wpm: Range of the words a minute that a listener hears.
    pitch: Range of espeak-ng's pitch, 0 to 99.
    pitch_range: Range of espeak-ng's intonation, 0 to 99.
    formant_scale: Range of the factor on all frequencies: above 1 for a vocal
      tract that is shorter than the voice's own.
    microphone: What records it.
  """

  name: str
  voices: tuple[str, ...]
  train_voices: tuple[str, ...] = ()
  rate_wpm: tuple[int, int] = (130, 210)
  pitch: tuple[int, int] = (20, 80)
  pitch_range: tuple[int, int] = (20, 80)
  formant_scale: tuple[float, float] = (1.0, 1.0)
  microphone: room.Microphone = room.Microphone()


_CHEAP = room.Microphone(
  low_hz=300.0,
  high_hz=3400.0,
  order=4,
  level_db=(-40.0, -24.0),
  snr_db=(20.0, 30.0),
  overdrive_db=(1.5, 1.5),
)

DOMAINS: Mapping[str, Domain] = types.MappingProxyType(
  {
    domain.name: domain
    for domain in (
      Domain(
        name="source",
        voices=_voices(_UNSEEN_VARIANTS),
        train_voices=_voices(_TRAIN_VARIANTS),
        rate_wpm=(110, 220),
        formant_scale=(0.95, 1.05),
        microphone=room.Microphone(snr_db=(0.0, 40.0)),
      ),
      Domain(
        name="whisper",
        voices=("en-us+whisper",),
        microphone=_CHEAP,
      ),
      Domain(
        name="child",
        voices=("en-us+f4",),
        pitch=(69, 99),
        formant_scale=(1.35, 1.35),
      ),
      Domain(name="hungarian", voices=("hu",)),
      Domain(name="accent", voices=_words("cs de es fi fr it nl pl pt ro sv")),
      Domain(
        name="microphone",
        voices=_voices(_UNSEEN_VARIANTS),
        microphone=_CHEAP,
      ),
    )
  }
)


@dataclasses.dataclass(frozen=True)
class Plan:
  """One clip that is yet to be made: what is said, and how it is recorded."""

  domain: Domain
  utterance: speech.Utterance | None
  formant_scale: float
  address: tuple[int, ...]

  def record(self, pcm: bytes) -> NDArray[np.int16]:
    """Turns the utterance's PCM into the clip.

    Args:
      pcm: What `speech.synthesize` yields for the utterance; ignored for a
        clip of silence.

    Returns:
      int16 [16000]: one second at 16 kHz.
    """
    rng = np.random.default_rng([*self.address, 1])
    spoken = None
    if self.utterance is not None:
      spoken = room.resample(pcm, speech.SAMPLE_RATE_HZ, self.formant_scale)
    return self.domain.microphone.record(spoken, rng)


def get(name: str) -> Domain:
  """Returns the domain of that name.

  Raises:
    TflmFgError: There is none.
  """
  if name not in DOMAINS:
    raise TflmFgError(f"domain: need one of {', '.join(DOMAINS)}; got {name!r}")
  return DOMAINS[name]


def plan(domain: Domain, split: str, label: int, index: int, seed: int) -> Plan:
  """Draws one clip.

  Args:
    domain: Who speaks.
    split: One of SPLITS; two splits never share an utterance.
    label: The class, an index into CLASSES.
    index: Which clip of that class, from 0.
    seed: Which corpus, from 0.

  Returns:
    The plan of the clip.

  Raises:
    TflmFgError: The split is unknown, or a number is out of its range.
  """
  address = _address(domain, split, label, index, seed)
  rng = np.random.default_rng([*address, 0])
  scale = float(rng.uniform(*domain.formant_scale))
  utterance = None
  if label != SILENCE:
    utterance = _utterance(domain, split, _word(label, rng), scale, rng)
  return Plan(domain, utterance, scale, address)


def plan_of_speaker(
  domain: Domain,
  split: str,
  word: str | None,
  speaker: int,
  take: int,
  seed: int,
) -> Plan:
  """Draws one clip of a speaker, whose voice is the same in every clip.

  Args:
    domain: Who speaks.
    split: One of SPLITS; two splits never share an utterance.
    word: What is said; None for the speaker's silence.
    speaker: Which speaker, from 0.
    take: How often the speaker has said the word before.
    seed: Which corpus, from 0.
  """
  who = (*_address(domain, split, 0, speaker, seed), _SPEAKER)
  rng = np.random.default_rng(who)
  scale = float(rng.uniform(*domain.formant_scale))
  usual = _utterance(domain, split, "", scale, rng)
  address = (*who, zlib.crc32((word or "").encode()), take)
  rng = np.random.default_rng(address)
  utterance = None
  if word is not None:
    low, high = (edge // len(SPLITS) for edge in domain.pitch)
    tone = usual.pitch // len(SPLITS) + int(rng.integers(-1, 2))
    tone = min(max(tone, low), high - 1)
    utterance = dataclasses.replace(
      usual,
      text=word,
      pitch=tone * len(SPLITS) + SPLITS.index(split),
      rate_wpm=max(80, round(usual.rate_wpm * rng.uniform(0.92, 1.08))),
    )
  return Plan(domain, utterance, scale, address)


_SPEAKER = 1 << 20
"""Keeps a speaker's draws apart from those of single clips."""


def _address(
  domain: Domain, split: str, label: int, index: int, seed: int
) -> tuple[int, ...]:
  if split not in SPLITS:
    raise TflmFgError(f"split: need one of {', '.join(SPLITS)}; got {split!r}")
  if not 0 <= label < len(CLASSES):
    raise TflmFgError(f"label: need 0 to {len(CLASSES) - 1}, got {label}")
  if min(index, seed) < 0:
    raise TflmFgError(f"index, seed: need 0 or more, got {index}, {seed}")
  name = zlib.crc32(domain.name.encode())
  return seed, name, SPLITS.index(split), label, index


def _word(label: int, rng: np.random.Generator) -> str:
  words = UNKNOWN_WORDS if label == UNKNOWN else (CLASSES[label],)
  return words[rng.integers(len(words))]


def _utterance(
  domain: Domain, split: str, text: str, scale: float, rng: np.random.Generator
) -> speech.Utterance:
  voices = domain.voices
  if split == "train" and domain.train_voices:
    voices = domain.train_voices
  # The remainder of the pitch by the number of splits names the split: two
  # splits cannot draw the same utterance, however many clips are made.
  low, high = (edge // len(SPLITS) for edge in domain.pitch)
  pitch = int(rng.integers(low, high)) * len(SPLITS) + SPLITS.index(split)
  return speech.Utterance(
    text=text,
    voice=voices[rng.integers(len(voices))],
    # Moving the frequencies up shortens the word: speak slower before.
    rate_wpm=round(int(rng.integers(*domain.rate_wpm)) / scale),
    pitch=pitch,
    pitch_range=int(rng.integers(*domain.pitch_range)),
  )
