"""Read the JSON that stands beside a wake word model, and write the next one.

ESPHome's manifests have two versions. Of both, two values change when a model
was adapted: the name of its file, and the cutoff. They are replaced inside the
text, so that everything else, in its order, stays as its author wrote it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from tflm_fg import files
from tflm_fg.types import TflmFgError, one_line

VERSIONS = (1, 2)

CUTOFF, WINDOW = 0.5, 1
"""Where no manifest and no flag says better, of formats that have none."""

_OLD_FEATURE_STEP_MS = 20  # what ESPHome takes where version 1 names none
_WINDOW_OF = {1: "sliding_window_average_size", 2: "sliding_window_size"}
_LONGEST_STEP_MS, _LARGEST_WINDOW = 30, 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
  """What a device needs to know of a wake word model.

  Attributes:
    path: of the manifest, or of the model where it has none; for errors.
    wake_word: what is said to be heard, "" if nobody knows.
    cutoff: the mean probability above which the word counts as heard, 0 to 1.
    window: over how many steps of the model the mean is taken.
    feature_step_ms: distance from one frame of features to the next.
    languages: that the model was trained for, such as "en".
    text: the whole file; "" where there is none.
  """

  path: str
  wake_word: str = ""
  cutoff: float = CUTOFF
  window: int = WINDOW
  feature_step_ms: int = 10
  languages: tuple[str, ...] = ("en",)
  text: str = dataclasses.field(default="", repr=False)

  def __post_init__(self) -> None:
    _cutoff(self.cutoff, f"{self.path}: the cutoff")
    _whole(self.window, f"{self.path}: the window", 1, _LARGEST_WINDOW)

  @classmethod
  def read(cls, path: str) -> Manifest:
    """Reads a manifest of version 1 or 2.

    Args:
      path: of a .json file.

    Raises:
      TflmFgError: if there is no such file, or it is no such manifest: naming
        the key, what it holds, and what to write.
    """
    content = files.read_bytes(path)
    try:
      return cls.parse(content.decode("utf-8-sig"), path)
    except UnicodeDecodeError:
      raise TflmFgError(
        f"{path}: a manifest is text in UTF-8, and this is not; save it again"
      ) from None

  @classmethod
  def parse(cls, text: str, path: str) -> Manifest:
    """Reads the text of a manifest; see `read`."""
    content = _loaded(text, path)
    _fields(content, path, _KEYS)
    version = content["version"]
    old = version == 1
    micro = content["micro"]
    keys = dict(_MICRO)
    keys[_WINDOW_OF[version]] = _window
    if not old:
      keys["feature_step_size"] = _step
    other = _WINDOW_OF[2 if old else 1]
    if other in micro and _WINDOW_OF[version] not in micro:
      raise TflmFgError(
        f"{path}: micro has {other!r}, which is of version {2 if old else 1}, "
        f"and the manifest says version {version}; name it "
        f"{_WINDOW_OF[version]!r}, or write the right version"
      )
    _fields(micro, f"{path}: micro", keys)
    languages = content.get("trained_languages", ["en"])
    _languages(languages, f"{path}: trained_languages")
    return cls(
      path=path,
      wake_word=content["wake_word"],
      cutoff=float(micro["probability_cutoff"]),
      window=int(micro[_WINDOW_OF[version]]),
      feature_step_ms=int(
        _OLD_FEATURE_STEP_MS if old else micro["feature_step_size"]
      ),
      languages=tuple([languages] if isinstance(languages, str) else languages),
      text=text,
    )

  def edited(self, *, model: str, cutoff: float, digits: int = 3) -> str:
    """The text with another file, cutoff and window, and nothing else changed.

    The window is that of this object, which a flag may have set.

    Args:
      model: what the model's file is called; it stands beside the manifest.
      cutoff: the new one, above 0, at most 1.
      digits: how many of it are written.

    Raises:
      TflmFgError: if there is no manifest to change, or no such cutoff.
    """
    if not self.text:
      raise TflmFgError(f"{self.path}: has no manifest that could be changed")
    rounded = round(_cutoff(cutoff, "the new cutoff"), digits)
    rounded = min(1.0, max(rounded, 10.0**-digits))
    top = _members(self.text, self.text.index("{"))
    micro = _members(self.text, top["micro"][0])
    places = {
      top["model"]: json.dumps(model),
      micro["probability_cutoff"]: repr(rounded),
    }
    for name in _WINDOW_OF.values():
      if name in micro:
        start, end = micro[name]
        if json.loads(self.text[start:end]) != self.window:
          places[micro[name]] = repr(self.window)
    text = self.text
    for (start, end), value in sorted(places.items(), reverse=True):
      text = text[:start] + value + text[end:]
    return text

  def write(
    self, path: str, *, model: str, cutoff: float, digits: int = 3
  ) -> None:
    """Writes `edited` to a file, whole or not at all."""
    text = self.edited(model=model, cutoff=cutoff, digits=digits)
    files.write_atomically(path, text.encode())


def of_model(
  model: str,
  manifest: str = "",
  *,
  cutoff: float | None = None,
  window: int | None = None,
  wake_word: str = "",
  needed: bool = False,
) -> Manifest:
  """The manifest of a model, found beside it by its name, or put together.

  Args:
    model: path of the .tflite.
    manifest: path of its .json; "" for the one of the model's name beside it.
    cutoff: what to take in place of the manifest's; None for that.
    window: the same.
    wake_word: the same.
    needed: whether a model without a manifest needs cutoff and window from
      flags, as one of microWakeWord does; otherwise defaults stand in.

  Raises:
    TflmFgError: if a manifest is needed and there is none, or it is not sound.
  """
  beside = path_beside(model)
  if manifest or (os.path.exists(beside) and (needed or _is_one(beside))):
    found = Manifest.read(manifest or beside)
  elif needed and (cutoff is None or window is None):
    raise TflmFgError(
      f"{model}: no manifest {os.path.basename(beside)} stands beside it; name "
      "one with --manifest, or say with --cutoff and --window when it counts "
      "as heard"
    )
  else:
    found = Manifest(path=model)
  said: dict[str, Any] = {
    "cutoff": cutoff,
    "window": window,
    "wake_word": wake_word or None,
  }
  return dataclasses.replace(
    found, **{k: v for k, v in said.items() if v is not None}
  )


def _is_one(path: str) -> bool:
  """Whether a JSON file means to be a manifest: a spotter's own is none.

  What cannot be read as JSON is taken for one, so that it is refused.
  """
  try:
    content = json.loads(files.read_bytes(path))
  except ValueError:
    return True
  return not isinstance(content, dict) or bool({"type", "micro"} & set(content))


def path_beside(model: str) -> str:
  """Where a model's manifest stands: M.json beside M.tflite."""
  return os.path.splitext(model)[0] + ".json"


def _loaded(text: str, path: str) -> dict[str, Any]:
  """The JSON, in which no key stands twice and no number is none."""

  def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
      raise ValueError(f"the key {twice[0]!r} stands twice")
    return dict(members)

  def constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")

  try:
    content = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
  except (ValueError, RecursionError) as fault:
    raise TflmFgError(
      f"{path}: not a manifest that can be read: {one_line(fault, 120)}; it is "
      "the JSON file that came with the model"
    ) from None
  if not isinstance(content, dict):
    raise TflmFgError(
      f"{path}: a manifest is an object in braces, this is "
      f"{_shown(content)}; give the JSON file that came with the model"
    )
  return content


def _members(text: str, start: int) -> Mapping[str, tuple[int, int]]:
  """Where the values of an object's keys stand in a sound JSON text."""
  decoder, found = json.JSONDecoder(), {}
  at = _after_space(text, start + 1)
  while text[at] != "}":
    key, at = decoder.raw_decode(text, at)
    at = _after_space(text, _after_space(text, at) + 1)  # the colon
    _, end = decoder.raw_decode(text, at)
    found[key] = (at, end)
    at = _after_space(text, end)
    if text[at] == ",":
      at = _after_space(text, at + 1)
  return found


def _after_space(text: str, at: int) -> int:
  found = re.compile(r"[ \t\r\n]*").match(text, at)
  assert found is not None
  return found.end()


Check = Callable[[Any, str], Any]


def _fields(
  content: dict[str, Any], where: str, keys: Mapping[str, Any]
) -> None:
  """Refuses an object in which a key is missing or holds what it cannot."""
  for key, check in keys.items():
    if key not in content:
      raise TflmFgError(
        f"{where}: the key {key!r} is missing; it holds "
        f"{', '.join(map(repr, content)) or 'nothing'}"
      )
    check(content[key], f"{where}: {key}")


def _text(value: Any, where: str) -> str:
  if not isinstance(value, str) or not value.strip():
    raise TflmFgError(
      f"{where}: need a text in quotes, got {_shown(value)}; write one"
    )
  return value


def _micro(value: Any, where: str) -> None:
  if value != "micro":
    raise TflmFgError(
      f'{where}: need "micro", got {_shown(value)}; other kinds of manifests '
      "are not read"
    )


def _version(value: Any, where: str) -> None:
  if type(value) is not int or value not in VERSIONS:
    raise TflmFgError(
      f"{where}: need {' or '.join(map(str, VERSIONS))}, got {_shown(value)}"
    )


def _object(value: Any, where: str) -> None:
  if not isinstance(value, dict):
    raise TflmFgError(f"{where}: need an object in braces, got {_shown(value)}")


def _cutoff(value: Any, where: str) -> float:
  if type(value) not in (int, float) or not 0 < value <= 1:
    raise TflmFgError(
      f"{where}: need a number above 0 and at most 1, got {_shown(value)}; "
      "0.97 is usual"
    )
  return float(value)


def _whole(value: Any, where: str, low: int, high: int) -> None:
  if type(value) is not int or not low <= value <= high:
    raise TflmFgError(
      f"{where}: need a whole number, {low} to {high}, got {_shown(value)}"
    )


def _window(value: Any, where: str) -> None:
  _whole(value, where, 1, _LARGEST_WINDOW)


def _step(value: Any, where: str) -> None:
  _whole(value, where, 1, _LONGEST_STEP_MS)


def _languages(value: Any, where: str) -> None:
  listed = [value] if isinstance(value, str) else value
  if not isinstance(listed, list) or not all(
    isinstance(name, str) and name.strip() for name in listed
  ):
    raise TflmFgError(
      f'{where}: need a list such as ["en"], got {_shown(value)}'
    )


def _shown(value: Any) -> str:
  return " ".join(json.dumps(value).split())[:60]


_KEYS: Mapping[str, Check] = {
  "version": _version,
  "type": _micro,
  "wake_word": _text,
  "model": _text,
  "micro": _object,
}

_MICRO: Mapping[str, Check] = {"probability_cutoff": _cutoff}
