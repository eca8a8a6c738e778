"""Read a model file as a keyword spotter with its front end and classes."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import folders
from apps.kws.audio.augment import Augment
from apps.kws.features import examples
from apps.kws.features.registry import NAMES, Frontend, from_json, named
from apps.kws.model.shipped import shipped_path
from tflm_fg import files
from tflm_fg.runtimes import Session, open_session
from tflm_fg.samples import model_input
from tflm_fg.tflite import (
  describe_input,
  present_mark,
  read_mark,
  tensor_spec,
  unmarked,
  whole,
)
from tflm_fg.training import logits_of, logits_spec
from tflm_fg.types import Array, TensorSpec, TflmFgError

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Spotter:
  """A keyword model with what makes its input and what its outputs mean.

  Attributes:
    name: its file, for errors and reports.
    model: the .tflite, marked or not.
    frontend: what makes its input of a clip.
    classes: names of its outputs.
  """

  name: str
  model: bytes
  frontend: Frontend
  classes: tuple[str, ...]

  @property
  def words(self) -> tuple[str, ...]:
    """The classes that are words to be spotted."""
    other = (folders.SILENCE, folders.UNKNOWN)
    return tuple(c for c in self.classes if c not in other and not is_free(c))

  def to_bytes(self) -> bytes:
    """The model with its front end and classes in its mark."""
    marked = present_mark(self.model, None, self.name).data
    return describe_input(
      marked, self.frontend.to_json(), self.classes, self.name
    )

  def input(self) -> TensorSpec:
    """The model's input tensor."""
    part = whole(self.model, unmarked(self.model, self.name))
    return tensor_spec(self.model, part.inputs[0])

  def quantized(self, x: Array) -> Array:
    """Features [N, ...] on the grid of the model's input."""
    return model_input(x, self.input(), "features")

  def read_folder(
    self,
    root: str,
    *,
    seed: int,
    split: str = "all",
    augment: Augment | None = None,
    strict: bool = False,
  ) -> examples.Examples:
    """Reads a folder with this model's front end and classes.

    Args:
      root: a folder in the Speech Commands layout.
      seed: draws other words and windows of noise.
      split: one of `folders.SPLITS`.
      augment: how to make copies; None for none.
      strict: whether a recording that cannot be read stops it all.

    Raises:
      TflmFgError: if a file cannot be read, or nothing fits.
    """
    return examples.read(
      root,
      self.frontend,
      self.classes,
      split=split,
      augment=augment,
      seed=seed,
      name=self.name,
      strict=strict,
    )

  def open(self, runtime: str = "litert") -> Listener:
    """Opens the model in an engine."""
    mark = unmarked(self.model, self.name)
    part = whole(self.model, mark)
    session = open_session(runtime, part)
    return Listener(self, session, logits_spec(self.model, mark))


@dataclasses.dataclass(frozen=True)
class Listener:
  """A spotter open in an engine."""

  spotter: Spotter
  session: Session
  logits: TensorSpec

  def logits_of(self, x: Array) -> Array:
    """Integer logits [N, C] of features [N, ...]."""
    return logits_of(self.session, (self.spotter.quantized(x),))

  def probabilities(self, x: Array) -> Floats:
    """Class probabilities [N, C] of features [N, ...]."""
    wide = self.logits_of(x).astype(np.float64) * self.logits.scale
    plan = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(plan / plan.sum(axis=1, keepdims=True))


def is_free(name: str) -> bool:
  """Whether an output has no word yet."""
  return name == folders.FREE


def load(
  path: str | None,
  frontend: str | None = None,
  classes: Sequence[str] | None = None,
) -> Spotter:
  """Loads a keyword model.

  What flags do not say is read from the file's mark, else from the .json of
  the same name beside it.

  Args:
    path: a .tflite; None takes the one that ships with this package.
    frontend: a name in `features.registry.NAMES`.
    classes: names of the outputs, in order.

  Raises:
    TflmFgError: if the front end or the classes are not known, or do not fit
      the model.
  """
  path = path or shipped_path()
  model = files.read_bytes(path)
  mark = read_mark(model, path)
  known = _beside(path)
  if mark is not None and mark.frontend is not None:
    known["frontend"] = mark.frontend
  if mark is not None and mark.classes is not None:
    known["classes"] = mark.classes
  chosen = _frontend(path, frontend, known)
  names = _classes(path, classes, known)
  spotter = Spotter(path, model, chosen, names)
  require_fit(spotter)
  return spotter


def require_fit(spotter: Spotter) -> None:
  """Refuses a model whose input or outputs are not what they should be."""
  logits = logits_spec(spotter.model, unmarked(spotter.model, spotter.name))
  taken = spotter.input().shape[1:]
  if taken != spotter.frontend.shape:
    raise TflmFgError(
      f"{spotter.name}: takes {list(taken)}, the front end {spotter.frontend} "
      f"gives {list(spotter.frontend.shape)}; name the right one with "
      f"--frontend={','.join(NAMES)}"
    )
  if logits.shape[-1] != len(spotter.classes):
    raise TflmFgError(
      f"{spotter.name}: has {logits.shape[-1]} outputs, {len(spotter.classes)} "
      "classes are named; name all, in order, with --classes=WORD,WORD,..."
    )


def _beside(path: str) -> dict[str, Any]:
  """What the .json beside a model says; nothing where there is none."""
  beside = os.path.splitext(path)[0] + ".json"
  if not os.path.isfile(beside):
    return {}
  try:
    known = json.loads(files.read_bytes(beside, files.TEXT_TIMES))
  except (ValueError, RecursionError):
    return {}  # somebody else's file
  return dict(known) if isinstance(known, dict) else {}


def _frontend(path: str, flag: str | None, known: dict[str, Any]) -> Frontend:
  if flag:
    return named(flag)
  if not isinstance(known.get("frontend"), dict):
    raise TflmFgError(
      f"{path}: does not say what makes its input; name the front end with "
      f"--frontend={' or '.join(NAMES)}"
    )
  return from_json(known["frontend"], path)


def _classes(
  path: str, flag: Sequence[str] | None, known: dict[str, Any]
) -> tuple[str, ...]:
  names = list(flag or known.get("classes") or [])
  if not names or not all(isinstance(n, str) and n for n in names):
    raise TflmFgError(
      f"{path}: does not say what its outputs mean; name them, in order, with "
      "--classes=WORD,WORD,..."
    )
  twice = {n for n in names if names.count(n) > 1 and not is_free(n)}
  if twice:
    raise TflmFgError(f"--classes: {min(twice)!r} is named twice")
  return tuple(names)
