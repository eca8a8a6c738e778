"""What a model wants of samples, and the classes that names stand for."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence

import numpy as np

from tflm_fg.types import Int64, TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
  """What samples are read for.

  Attributes:
    shape: of a sample, as the model's input has it without the batch.
    outputs: of the model; 0 where they are not known.
    classes: names of the outputs in order; None where they are not known.
    window: rows of a table in a sample, where rows follow each other in time;
      None for what the input's shape says.
    stride: rows from one window to the next; None for as many as a window has.
    strict: whether a damaged file is refused and not passed over.
  """

  shape: tuple[int, ...]
  outputs: int = 0
  classes: tuple[str, ...] | None = None
  window: int | None = None
  stride: int | None = None
  strict: bool = False

  def __post_init__(self) -> None:
    for name in ("window", "stride"):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise TflmFgError(f"{name}={value}: need at least 1")
    names = self.classes
    if names and self.outputs > 1 and len(names) != self.outputs:
      raise TflmFgError(
        f"{len(names)} class names, and the model has {self.outputs} outputs; "
        "name each output, in order"
      )

  @property
  def axes(self) -> list[int]:
    """The axes of a sample that are longer than 1."""
    return [n for n in self.shape if n != 1]


def labels_of(
  found: Sequence[str], wanted: Wanted, source: str
) -> tuple[Int64, tuple[str, ...] | None, str]:
  """The classes that names stand for.

  They are the model's own names where it has some; else numbers from 0; else
  the names in their order, if there are as many as the model has outputs.

  Args:
    found: a name a sample.
    wanted: what the model has.
    source: what to call the data in errors.

  Returns:
    int64 [N]; the names in the order of the classes, None for numbers; and a
    remark on how they were found, empty where nothing had to be guessed.

  Raises:
    TflmFgError: if a name is no class, or it is not clear which it is.
  """
  there = sorted(set(found))
  if wanted.classes is not None:
    places = {_folded(name): n for n, name in enumerate(wanted.classes)}
    for name in there:
      if _folded(name) not in places:
        raise TflmFgError(
          f"{source}: {name!r} is no class of the model, which has "
          f"{_short(wanted.classes)}; rename it, or name the classes in the "
          "order of the outputs with --classes_file"
        )
    labels = [places[_folded(name)] for name in found]
    return np.array(labels, np.int64), wanted.classes, ""
  if all(name.isascii() and name.isdigit() for name in there):
    numbers = np.array([int(name) for name in found], np.int64)
    _require_classes(numbers, wanted.outputs, source)
    return numbers, None, ""
  enough = wanted.outputs if wanted.outputs != 1 else 2  # one output: no or yes
  if enough and len(there) != enough:
    raise TflmFgError(
      f"{source}: {len(there)} classes ({_short(there)}), and the model has "
      f"{wanted.outputs} outputs without names; name them, one a line in their "
      "order, in a file for --classes_file"
    )
  order = {name: n for n, name in enumerate(there)}
  said = ", ".join(f"{n} {name}" for n, name in enumerate(there[:12]))
  more = f" and {len(there) - 12} more" if len(there) > 12 else ""
  return (
    np.array([order[name] for name in found], np.int64),
    tuple(there),
    f"{source}: the model names no classes, so they were numbered in the order "
    f"of their names: {said}{more}",
  )


def _require_classes(numbers: Int64, outputs: int, source: str) -> None:
  """Refuses numbers of classes that the model does not have."""
  low, high = int(numbers.min()), int(numbers.max())
  if outputs > 1 and high >= outputs:
    raise TflmFgError(
      f"{source}: classes {low} to {high}, and the model has 0 to {outputs - 1}"
      + "; they look as if they count from 1" * (low == 1 and high == outputs)
      + "; number them from 0, or name the classes with --classes_file"
    )


def _folded(name: str) -> str:
  """A name as it is compared: accents composed, small letters, no _ or -."""
  plain = unicodedata.normalize("NFC", name).casefold().strip()
  return plain.replace("_", " ").replace("-", " ")


def _short(names: Sequence[str]) -> str:
  shown = ", ".join(names[:5])
  return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
