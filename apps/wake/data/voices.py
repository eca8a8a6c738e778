"""Name the synthetic voices that the stock is made of.

They have other timbres (espeak-ng's variants) than the voices that tests and
benchmarks speak with, so that a test voice has never been trained on.
"""

from __future__ import annotations

import functools
import importlib.util
import pathlib
from collections.abc import Sequence

from apps.wake.data.speaking import CHILD, FAR, NEAR, WHISPER

KEEPERS = tuple(
  "en-us+rob en+gustave en-029+sandro en-gb-scotland+robert en-us+travis "
  "en+belinda en-gb-scotland+grandma en-us+anika en+pablo en-029+grandpa "
  "en-gb-scotland+michel en-us+Nguyen en+john en-029+Michael en-us+pedro "
  "en-gb-scotland+quincy en+Andrea en-029+aunty en-us+edward en+iven".split()
)
"""Voices that say the wake word and must go on being heard."""

_NEGATIVES = (
  "en-us+Alex en+linda en-gb-scotland+max en-029+shelby en-us+Gene en+steph "
  "de+Henrique fr+anika es+Diogo it+belinda nl+Mike sv+grandma pl+paul "
  "hi+antonio tr+Andrea ru+boris en-us+caleb en+norbert en-gb-x-rp+miguel "
  "en-us-nyc+ed en-us+Mario en+steph2 en-029+victor hu+Hugo en-us+benjamin "
  "en+Reed"
).split()
_MANNERS = (NEAR, NEAR, FAR, CHILD, NEAR, WHISPER, NEAR)

NEGATIVES = tuple(
  (voice, _MANNERS[number % len(_MANNERS)])
  for number, voice in enumerate(_NEGATIVES)
)
"""Voices, and manners of speaking, that say other things."""

ALIKE = tuple(
  (voice, manner)
  for voice, manner in zip(
    (*KEEPERS[::3], *_NEGATIVES[3:11]), _MANNERS + _MANNERS
  )
)
"""Voices that say phrases which sound like a wake word."""

VARIANTS = frozenset(
  voice.partition("+")[2] for voice in (*KEEPERS, *_NEGATIVES)
)
"""espeak-ng's variants that the stock speaks with; tests speak with others."""

_OTHER_NAMES = {"no": "nb", "zh": "cmn", "pt": "pt", "iw": "he", "in": "id"}


def of_languages(voices: Sequence[str], languages: Sequence[str]) -> list[str]:
  """The same timbres, with the languages that a model was trained for.

  Args:
    voices: espeak-ng's names, English ones.
    languages: such as "en" or "de-CH", of the manifest. English stays as the
      voices have it; others take turns with it. Unknown ones are left out.

  Returns:
    As many voices.
  """
  known = [name for code in languages if (name := _language(code))]
  if not known:
    return list(voices)
  return [
    voice if name == "en" else f"{name}+{voice.partition('+')[2]}"
    for number, voice in enumerate(voices)
    for name in (known[number % len(known)],)
  ]


def _language(code: str) -> str:
  """espeak-ng's name of a language; "" if it has none."""
  plain = code.replace("_", "-").lower()
  short = plain.split("-")[0]
  if short == "en":
    return "en"
  for name in (plain, short, _OTHER_NAMES.get(short, "")):
    if name and name in _languages():
      return name
  return ""


@functools.cache
def _languages() -> frozenset[str]:
  if importlib.util.find_spec("espeakng_loader") is None:
    return frozenset()
  import espeakng_loader  # type: ignore[import-untyped]

  folder = pathlib.Path(espeakng_loader.get_data_path()) / "lang"
  files = (path for path in folder.rglob("*") if path.is_file())
  return frozenset(path.name.lower() for path in files)
