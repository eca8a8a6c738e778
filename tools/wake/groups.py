"""Which recordings a run learns from, and which it is measured on."""

from __future__ import annotations

from tools.wake import sentences
from tools.wake.corpus import Recording
from tools.wake.settings import ORIGINALS, OTHERS, SPOKEN, Setting

TRAIN = 20
"""Recordings of a voice to draw from; its others are for the test."""

TEST = 20

NEGATIVES = ("negatives", "ordinary", "noise")


def positives(setting: Setting) -> list[Recording]:
  """The voice's own recordings: TRAIN, then TEST."""
  return [
    _said(setting.model, setting.voice, setting.room, i)
    for i in range(TRAIN + TEST)
  ]


def siblings(setting: Setting) -> list[Recording]:
  """The wake word in other voices of the same accent and room."""
  each = 16 // len(setting.siblings())
  return [
    _said(setting.model, voice, setting.room, i)
    for voice in setting.siblings()
    for i in range(each)
  ]


def originals(model: str) -> list[Recording]:
  """The wake word in voices that the model was made for."""
  return [
    _said(model, voice, "near", i) for voice in ORIGINALS for i in range(8)
  ]


def negatives(group: str) -> list[Recording]:
  """Hours in which nobody says a wake word.

  Args:
    group: "negatives" for near misses, "ordinary" for everyday sentences,
      "noise" for rooms in which nobody speaks.
  """
  if group == "noise":
    return [
      Recording(
        name=f"noise/{where}/{i}",
        texts=(),
        voice="en-us",
        room=where,
        lead=(60.0, 60.0),
      )
      for where in ("near", "far", "noisy", "phone")
      for i in range(4)
    ]
  if group == "negatives":
    texts = sentences.CONFUSABLE["test"]
    return [
      _told(group, voice, where, tuple(texts))
      for voice in OTHERS
      for where in ("near", "far", "noisy", "phone")
    ]
  return [
    _told(group, voice, where, tuple(sentences.ordinary("test", 36, 2 * i + j)))
    for i, voice in enumerate(OTHERS)
    for j, where in enumerate(("near", "far"))
  ]


def own_negatives(setting: Setting) -> list[Recording]:
  """The missed voice says other things than its wake word."""
  texts = (
    *sentences.CONFUSABLE["test"][::2],
    *sentences.ordinary("test", 12, 999),
  )
  return [_told("own", setting.voice, setting.room, texts)]


def _said(model: str, voice: str, where: str, number: int) -> Recording:
  name = f"{model}/{voice}/{where}/{number}"
  return Recording(name=name, texts=(SPOKEN[model],), voice=voice, room=where)


def _told(
  group: str, voice: str, where: str, texts: tuple[str, ...]
) -> Recording:
  name = f"{group}/{voice}/{where}"
  return Recording(name=name, texts=texts, voice=voice, room=where)
