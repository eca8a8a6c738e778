"""A wake word model with all that says when it hears its word."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.wake.data import features, manifest
from apps.wake.data.features import Frontend
from apps.wake.data.manifest import Manifest
from tflm_fg import detection, streaming
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detector:
  """A wake word model with all that says when it hears its word.

  Attributes:
    path: of the model.
    model: opened on the engine that runs it.
    manifest: of the model.
    frontend: what turns sound into its steps.
    rule: when a stream of its outputs counts as a detection.
    runtime: the engine's name.
  """

  path: str
  model: streaming.StreamModel
  manifest: Manifest
  frontend: Frontend
  rule: detection.Rule
  runtime: str

  @property
  def wake_word(self) -> str:
    """What is said to be heard, as people write it."""
    return self.manifest.wake_word or "the wake word"

  def steps(self, sound: NDArray[Any]) -> NDArray[np.int8]:
    """The steps of one stream: int8 [T, *step_shape]."""
    return self.frontend.steps(sound)

  def outputs(self, sound: NDArray[Any]) -> NDArray[Any]:
    """What the model gives for a sound, from a fresh state.

    Args:
      sound: int16 [n] at 16 kHz.

    Returns:
      uint8 or int8 [T, outputs].
    """
    return self.model.run(self.steps(sound))


def opened(
  path: str,
  *,
  manifest_path: str | None = None,
  cutoff: float | None = None,
  window: int | None = None,
  wake_word: str | None = None,
  output: int | None = None,
  rule: str = features.ESPHOME,
  runtime: str = "litert-reference",
) -> Detector:
  """Opens a model with its manifest.

  Args:
    path: of the .tflite.
    manifest_path: of its manifest; None for the one beside it.
    cutoff: in place of the manifest's; None for that.
    window: the same, of the sliding window in steps.
    wake_word: the same, of what is said.
    output: which output stands for the word, in a model that has several.
    rule: how features become int8, one of `features.RULES`.
    runtime: the engine.

  Raises:
    TflmFgError: naming what it is not, and what to do.
  """
  model = streaming.StreamModel.open(path, runtime=runtime)
  asked: dict[str, Any] = {
    "manifest": manifest_path or "",
    "cutoff": cutoff,
    "window": window,
    "wake_word": wake_word or "",
  }
  found = manifest.of_model(path, **asked)
  frontend = features.of_model(model, found, rule=rule)
  chosen = _output(path, model.num_outputs, output)
  if frontend.name == "micro":  # formats without manifests have defaults
    manifest.of_model(path, **asked, needed=True)
  return Detector(
    path=path,
    model=model,
    manifest=found,
    frontend=frontend,
    rule=detection.Rule.of_manifest(
      found.cutoff, found.window, frontend.step_seconds, chosen
    ),
    runtime=runtime,
  )


def _output(path: str, count: int, output: int | None) -> int:
  """Which output stands for the word."""
  if output is None:
    if count > 1:
      raise TflmFgError(
        f"{path}: has {count} outputs; say with --output, counted from 0, "
        "which of them stands for the word"
      )
    return 0
  if not 0 <= output < count:
    raise TflmFgError(
      f"--output={output}: {path} has {count} outputs, counted from 0"
    )
  return output
