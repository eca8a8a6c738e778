"""Find a front end, which turns a clip into a model's input, by its name.

Its parameters go to and from JSON, so that they travel in a model's mark and
whoever adapts or listens cannot disagree with training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.kws.features import mel, micro
from tflm_fg.types import TflmFgError, one_line

Features = Callable[[NDArray[np.int16]], NDArray[np.float32]]

NAMES = ("micro", "mfcc", "logmel")


@dataclasses.dataclass(frozen=True)
class Frontend:
  """What turns one clip into a model's input.

  Attributes:
    name: one of NAMES.
    parameters: what defines the features.
  """

  name: str
  parameters: micro.Parameters | mel.Parameters

  @property
  def shape(self) -> tuple[int, int, int]:
    """The shape of one clip's features: frames, columns, 1."""
    return self.parameters.shape

  @property
  def clip_samples(self) -> int:
    """Samples of a clip, at 16 kHz."""
    return self.parameters.clip_samples

  def features(self, clip: NDArray[np.int16]) -> NDArray[np.float32]:
    """Computes one clip's features.

    Args:
      clip: int16 [clip_samples] at 16 kHz.

    Returns:
      float32 of `shape`.
    """
    if isinstance(self.parameters, mel.Parameters):
      return mel.features(clip, self.parameters)
    return micro.features(clip)

  def to_json(self) -> dict[str, Any]:
    """What `from_json` reads again."""
    return {"name": self.name, **dataclasses.asdict(self.parameters)}

  def __str__(self) -> str:
    frames, columns, _ = self.shape
    return f"{self.name} {frames}x{columns}"


def named(name: str) -> Frontend:
  """The front end of that name, with its usual parameters.

  Raises:
    TflmFgError: if there is none.
  """
  if name not in NAMES:
    raise TflmFgError(
      f"--frontend={name!r} is unknown; choose of {', '.join(NAMES)}"
    )
  if name == "micro":
    return Frontend(name, micro.PARAMETERS)
  return Frontend(name, mel.MFCC if name == "mfcc" else mel.LOGMEL)


def from_json(content: dict[str, Any], source: str) -> Frontend:
  """Reads a front end back; one without a name is TFLM's micro front end.

  Args:
    content: what `to_json` gave.
    source: where it comes from, for errors.

  Raises:
    TflmFgError: if it is not one that this release can compute.
  """
  parameters = dict(content)
  name = parameters.pop("name", "micro")
  usual = named(name) if name in NAMES else None
  try:
    if usual is None:
      raise ValueError(f"its name is {name!r}")
    found = Frontend(name, type(usual.parameters)(**parameters))
    if name == "micro" and found != usual:
      raise ValueError("the micro front end has other parameters")
    if name != "micro":
      found.parameters.check()  # type: ignore[union-attr]
  except (TypeError, ValueError) as fault:
    raise TflmFgError(
      f"{source}: its front end cannot be computed here: {one_line(fault)}; "
      f"name one with --frontend={','.join(NAMES)}"
    ) from None
  return found
