"""Turn sound into the steps that a wake word model is fed, one after another.

Which front end a model wants follows from the shape of its input. The values
must be those that the device computes, so each front end also has the rule by
which its values become int8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import files
from apps.kws.features import registry
from apps.wake.data import filterbank, micro_frames
from apps.wake.data.manifest import Manifest
from tflm_fg.types import TflmFgError

RATE_HZ = files.SAMPLE_RATE_HZ

ESPHOME, WHEEL = "esphome", "wheel"
RULES = (ESPHOME, WHEEL)
"""How micro features become int8: see `micro_frames`."""

_OPEN_WAKE_WORD = {
  (16, 96): (
    "this is an openWakeWord model: floats on top of embeddings that another "
    "network computes"
  ),
  (
    76,
    32,
  ): "this is the network of embeddings that openWakeWord's models share",
}

WINDOW_HOP_MS = 100
"""From one input to the next of a model that is fed whole seconds."""


class Model(Protocol):
  """What a front end asks of a model; `streaming.StreamModel` has it."""

  @property
  def step_shape(self) -> tuple[int, ...]:
    """The shape of one step."""

  @property
  def input_dtype(self) -> str:
    """Of a step, such as "int8"."""

  @property
  def input_scale(self) -> float:
    """What one unit of the int8 input is worth."""

  @property
  def input_zero_point(self) -> int:
    """The int8 that means 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frontend:
  """What makes a model's steps of sound.

  Attributes:
    name: "micro", "filterbank", or "clips of" a spotter's front end.
    step_shape: of one step.
    step_seconds: from one step to the next.
    scale: of the model's input.
    zero_point: of the model's input.
    rule: one of RULES, for "micro".
    stride: frames of a step, for "micro".
    frame_step: every how many frames of 10 ms one is kept, for "micro".
    window: the spotter's front end, where a step is a whole clip of sound.
    note: what a user should know of it, "" for nothing.
  """

  name: str
  step_shape: tuple[int, ...]
  step_seconds: float
  scale: float
  zero_point: int
  rule: str = ESPHOME
  stride: int = 1
  frame_step: int = 1
  window: registry.Frontend | None = None
  note: str = ""

  def steps(self, sound: NDArray[Any]) -> NDArray[np.int8]:
    """Computes the steps of one stream, from a front end without history.

    Args:
      sound: int16 [n] at 16 kHz; or, for "micro", int8 [frames, 40], the
        frames of every 10 ms as ESPHome rounds them, such as a stock has.

    Returns:
      int8 [T, *step_shape]. A rest that does not fill a step is left out.

    Raises:
      TflmFgError: if the sound is neither.
    """
    if sound.ndim == 2 and sound.dtype == np.int8:
      if self.name != "micro":
        raise TflmFgError(
          f"frames of 10 ms are no input of the front end {self.name!r}; give "
          "sound"
        )
      frames = sound
    elif sound.ndim == 1 and sound.dtype == np.int16:
      if self.name == "micro":
        return self.cut(self.rounded(micro_frames.raw(sound)))
      return self._windows(sound)
    else:
      raise TflmFgError(
        f"sound: need int16 [n] at {RATE_HZ} Hz, got {sound.dtype} "
        f"{list(sound.shape)}"
      )
    if self.rule == ESPHOME:
      return self.cut(frames)
    return self.cut(self.rounded(micro_frames.raw_of_esphome(frames)))

  def warm_up(self, seconds: float) -> int:
    """How many steps have heard nothing but the first seconds of a stream."""
    return len(self.steps(np.zeros(int(seconds * RATE_HZ), np.int16)))

  def rounded(self, raw: NDArray[np.int32]) -> NDArray[np.int8]:
    """Frames of "micro" as this front end's rule rounds them."""
    if self.rule == ESPHOME:
      return micro_frames.esphome(raw)
    return micro_frames.wheel(raw, self.scale, self.zero_point)

  def cut(self, frames: NDArray[np.int8]) -> NDArray[np.int8]:
    """Frames one behind another, without overlap, as steps."""
    kept = frames[:: self.frame_step]
    count = len(kept) // self.stride
    return kept[: count * self.stride].reshape(count, *self.step_shape)

  def _windows(self, sound: NDArray[np.int16]) -> NDArray[np.int8]:
    """Overlapping windows of features, each a step."""
    if self.window is None:
      frames = filterbank.rounded(
        filterbank.features(sound), self.scale, self.zero_point
      )
      width = max(self.step_shape[:-1])
      if len(frames) < width:
        return np.zeros((0, *self.step_shape), np.int8)
      seen = np.lib.stride_tricks.sliding_window_view(frames, width, axis=0)
      steps = seen.transpose(0, 2, 1)
      return np.ascontiguousarray(steps).reshape(len(steps), *self.step_shape)
    length, hop = self.window.clip_samples, WINDOW_HOP_MS * RATE_HZ // 1000
    starts = range(0, len(sound) - length + 1, hop)
    found = np.zeros((len(starts), *self.step_shape), np.int8)
    for row, start in enumerate(starts):
      values = self.window.features(sound[start : start + length])
      units = np.rint(values / np.float32(self.scale)) + self.zero_point
      found[row] = np.clip(units, -128, 127).reshape(self.step_shape)
    return found


def of_model(
  model: Model,
  manifest: Manifest,
  *,
  rule: str = ESPHOME,
  window: registry.Frontend | None = None,
) -> Frontend:
  """Finds the front end of a model.

  Args:
    model: opened.
    manifest: of the model.
    rule: one of RULES; counts for microWakeWord's models.
    window: the front end of a keyword spotter, as its mark or its .json names
      it; by default it follows from the shape.

  Raises:
    TflmFgError: if no front end gives such an input.
  """
  if rule not in RULES:
    raise TflmFgError(
      f"the rule {rule!r} is unknown; need {' or '.join(RULES)}"
    )
  shape = tuple(model.step_shape)
  _refuse_others(model, shape, manifest.path)
  inner = tuple(size for size in shape if size > 1)
  common: dict[str, Any] = {
    "step_shape": shape,
    "scale": float(model.input_scale),
    "zero_point": int(model.input_zero_point),
  }
  if window is None and inner == (filterbank.WINDOW, filterbank.CHANNELS):
    return Frontend(
      name="filterbank", step_seconds=filterbank.STEP_MS / 1000, **common
    )
  window = window or _spotter_of(inner)
  if window is not None:
    if int(np.prod(window.shape)) != int(np.prod(shape)):
      raise TflmFgError(
        f"{manifest.path}: takes {list(shape)}, and the front end {window} "
        f"gives {list(window.shape)}; name the right one"
      )
    return Frontend(
      name=f"clips of {window.name}",
      step_seconds=WINDOW_HOP_MS / 1000,
      window=window,
      **common,
    )
  if not inner or shape[-1] != micro_frames.CHANNELS or len(inner) > 2:
    raise TflmFgError(
      f"{manifest.path}: an input of {list(shape)} is of no front end that is "
      "known here; known are [1, stride, 40] of microWakeWord, [1, 30, 1, 40] "
      "of MLPerf Tiny, [1, 49, 40, 1] and [1, 49, 10, 1] of keyword spotters"
    )
  return _micro(manifest, rule, inner[0] if len(inner) == 2 else 1, common)


def streams(
  sounds: Iterable[NDArray[Any]], frontend: Frontend
) -> list[NDArray[np.int8]]:
  """The steps of each sound, each from a front end without history.

  Args:
    sounds: see `Frontend.steps`.
    frontend: what makes them.

  Returns:
    int8 [T, *step_shape] for each.
  """
  return [frontend.steps(sound) for sound in sounds]


def _refuse_others(model: Model, shape: tuple[int, ...], name: str) -> None:
  """Refuses what is no int8 model, by its name where it is known."""
  inner = tuple(size for size in shape if size > 1)
  if inner in _OPEN_WAKE_WORD:
    raise TflmFgError(
      f"{name}: {_OPEN_WAKE_WORD[inner]}; it has no int8 weights that could be "
      "trained. Take a microWakeWord model of the same word, or train a "
      "verifier model with the package openwakeword"
    )
  if str(model.input_dtype) != "int8":
    raise TflmFgError(
      f"{name}: takes {model.input_dtype}, and front ends give int8; quantize "
      "it with tflm-fg-convert"
    )


def _micro(
  manifest: Manifest, rule: str, stride: int, common: dict[str, Any]
) -> Frontend:
  step_ms = manifest.feature_step_ms
  if step_ms not in (10, 20):
    raise TflmFgError(
      f"{manifest.path}: feature_step_size={step_ms}: the front end gives a "
      "frame every 10 ms or 20 ms; need 10 or 20"
    )
  note = (
    ""
    if step_ms == 10
    else (
      "frames of 20 ms are every second frame of 10 ms: the front end's "
      "estimate of the noise follows twice as fast as on a device"
    )
  )
  return Frontend(
    name="micro",
    step_seconds=stride * step_ms / 1000,
    rule=rule,
    stride=stride,
    frame_step=step_ms // 10,
    note=note,
    **common,
  )


def _spotter_of(inner: tuple[int, ...]) -> registry.Frontend | None:
  """The front end of a keyword spotter whose input has these sizes."""
  for name in ("micro", "mfcc"):
    found = registry.named(name)
    if tuple(size for size in found.shape if size > 1) == inner:
      return found
  return None
