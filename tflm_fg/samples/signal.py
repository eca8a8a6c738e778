"""Find samples that hold no signal, and say why: wrong units, copies, silence.

What is said here is a doubt: the samples are sound arrays, and still training
on them may harm. What would harm for certain is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import quantize
from tflm_fg.limits import parts
from tflm_fg.samples import units
from tflm_fg.samples.arrays import counted, listed
from tflm_fg.types import Array, Int64, TensorSpec, TflmFgError

FEW_NUMBERS = 16
"""Samples of fewer numbers may be constant or alike, and honest."""

EMPTY = ("silence", "background", "none", "nothing", "empty", "blank")
"""Names of classes whose samples may hold nothing."""

FEW_COPIES = 0.02
"""Share of copies that public sets of recordings have too: no harm is done."""

_FEW_LEVELS = {8: 16, 16: 1024}
"""Bits of a grid -> how few of its levels are too few to tell things apart."""


@dataclasses.dataclass(frozen=True)
class Examined:
  """What was found in samples.

  Attributes:
    kept: int64, indices of the samples to learn from, in order.
    doubts: what a user should know before training, a line each.
    remarks: what is worth a note, and no doubt.
  """

  kept: Int64
  doubts: tuple[str, ...]
  remarks: tuple[str, ...] = ()


def examine(
  x: Array,
  spec: TensorSpec,
  name: str,
  y: Array | None = None,
  *,
  are_classes: bool = True,
  names: Sequence[str] = (),
) -> Examined:
  """Looks for what training samples should not be.

  Constant samples are left out, and copies whose classes contradict each other.
  Of other copies one is kept, where they are more than a few.

  Args:
    x: on the input's grid or in real units, [N, ...], N > 0.
    spec: the model's input.
    name: of the data set, for people: "train".
    y: checked targets [N, ...]; None for none.
    are_classes: whether y is classes or labels of 0 and 1, so that copies of a
      sample with different ones contradict each other.
    names: of the classes in order; samples of a class that is called by one of
      EMPTY may be constant.

  Raises:
    TflmFgError: if nothing can be learned: all samples are the same, or fall
      on one level of the input, or none is left.
  """
  doubts = [*levels(x, spec, name, refuse=True)]
  everything = np.arange(len(x))
  if y is not None and len(y) > 1 and np.all(y == y[0]):
    value = y[0].tolist()
    doubts.append(f"{name} y: every target is {value}, one for all samples")
  if spec.rows or not x.size:  # what has no numbers the model refuses itself
    return Examined(everything, tuple(doubts))
  digests = _digests(x)
  if len(x) > 1 and len(set(digests)) == 1:
    raise TflmFgError(
      f"{name} x: all {len(x)} samples are the same, so nothing tells them "
      "apart; give samples that differ"
    )
  if x[0].size < FEW_NUMBERS:
    return Examined(everything, tuple(doubts))
  flat = constant(x)
  if y is not None and are_classes and y.ndim == 1:
    empty = [n for n, name in enumerate(names) if name.strip("_ ") in EMPTY]
    flat &= ~np.isin(y, empty)
  if flat.all():
    raise TflmFgError(
      f"{name} x: every sample is constant, all its values equal, as of a "
      "muted microphone or a covered lens; nothing can be learned from them"
    )
  left = ~flat
  if flat.any():
    doubts.append(_constants_said(flat, name) + "; they are left out")
  firsts, torn = _copies(digests, y if are_classes else None, y)
  again = left & ~firsts & ~torn
  said = (
    f"{name} x: {_are(again, 'an exact duplicate', 'exact duplicates')} of "
    f"others ({listed(np.flatnonzero(again))})"
  )
  remarks = [said] * bool(again.any())
  if again.sum() > FEW_COPIES * len(x):
    doubts.append(f"{said}; each sample counts once")
    remarks, left = [], left & ~again
  if (left & torn).any():
    doubts.append(
      f"{name}: {_are(left & torn, '', 'exact duplicates')} with different "
      f"classes ({listed(np.flatnonzero(left & torn))}); they are left out"
    )
  left &= ~torn
  if not left.any():
    raise TflmFgError(
      f"{name}: no sample is left: {'; '.join(doubts)}; check the labels"
    )
  return Examined(np.flatnonzero(left), tuple(doubts), tuple(remarks))


def doubts_of(
  x: Array, spec: TensorSpec, name: str, trained: Array | None = None
) -> tuple[str, ...]:
  """What should be known of samples that are only scored, beside `levels`.

  Args:
    x: on the input's grid, [N, ...], N > 0.
    spec: the model's input.
    name: of the data set, for people: "test".
    trained: what was trained on, on the same grid; None for nothing.
  """
  doubts: list[str] = []
  if spec.rows or x[0].size < FEW_NUMBERS:
    return ()
  flat = constant(x)
  if flat.any():
    doubts.append(
      _constants_said(flat, name) + "; the score counts them all the same"
    )
  digests = _digests(x)
  again = ~_copies(digests, None, None)[0]
  if again.sum() > FEW_COPIES * len(x):
    doubts.append(
      f"{name} x: {_are(again, 'an exact duplicate', 'exact duplicates')} of "
      "others, and the score counts each"
    )
  if trained is not None:
    known = set(_digests(trained))
    seen = np.array([digest in known for digest in digests])
    if seen.any():
      doubts.append(
        f"{name} x: {_are(seen, 'a duplicate', 'duplicates')} of training "
        f"samples ({listed(np.flatnonzero(seen))}), so the score says less of "
        "new data"
      )
  return tuple(doubts)


def levels(
  x: Array, spec: TensorSpec, name: str, refuse: bool = False
) -> list[str]:
  """Whether samples reach only a few levels of the model's input.

  Args:
    x: on the input's grid or in real units, [N, ...], N > 0.
    spec: the model's input.
    name: of the data set, for people.
    refuse: whether one level for all is refused and not only said.

  Returns:
    A line, or none.

  Raises:
    TflmFgError: if all samples lie on one level, and that is refused.
  """
  grid, ends = units.grid_of(spec), units.reach(spec)
  bits = 0 if grid is None else 8 * np.dtype(grid.dtype).itemsize
  if grid is None or ends is None or bits not in _FEW_LEVELS or not x.size:
    return []
  if x.dtype.kind == "f":
    wide = np.array([x.min(), x.max()], np.float64)
    ends_on_grid = quantize(wide, grid.scale, grid.zero_point, grid.dtype)
    first, last = (int(q) for q in ends_on_grid)
    low, high = wide.tolist()
  else:
    first, last = int(x.min()), int(x.max())
    low, high = ((q - grid.zero_point) * grid.scale for q in (first, last))
  used = last - first + 1
  if used > _FEW_LEVELS[bits]:
    return []
  said = (
    f"{name} x spans {low:.3g} to {high:.3g} and the model's input "
    f"{ends[0]:.3g} to {ends[1]:.3g}, so it reaches {counted(used, 'level')} "
    f"of {2**bits}: {units.why_small((low, high), ends)}"
  )
  if refuse and used == 1 and x.size > 1:
    raise TflmFgError(said)
  return [said]


def constant(x: Array) -> NDArray[np.bool_]:
  """Which samples have all their values equal, bool [N]."""
  flat = x.reshape(len(x), -1)
  same = [(flat[r] == flat[r][:, :1]).all(axis=1) for r in parts(flat)]
  return np.concatenate([np.zeros(0, bool), *same])


def _constants_said(flat: NDArray[np.bool_], name: str) -> str:
  return (
    f"{name} x: {_are(flat, 'constant', 'constant')}, all values equal, as of "
    "a muted microphone or a covered lens "
    f"({listed(np.flatnonzero(flat))})"
  )


def _are(some: NDArray[np.bool_], one: str, many: str) -> str:
  """How many of the samples are something: "2 samples of 9 are constant"."""
  count = int(some.sum())
  what = f"is {one}" if count == 1 else f"are {many}"
  return f"{counted(count, 'sample')} of {len(some)} {what}"


def _digests(x: Array) -> list[bytes]:
  """A digest of every sample's bytes."""
  rows = np.ascontiguousarray(x).reshape(len(x), -1)
  return [
    hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows
  ]


def _copies(
  digests: list[bytes], classes: Array | None, targets: Array | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
  """Which samples come first of their copies, and which contradict copies.

  Args:
    digests: of the samples.
    classes: [N, ...] where copies of one sample may contradict each other.
    targets: [N, ...]; copies with other targets count as other samples where
      there are no classes.
  """
  firsts, torn = np.zeros((2, len(digests)), bool)
  seen: dict[bytes, list[int]] = {}
  for number, digest in enumerate(digests):
    key = digest
    if classes is None and targets is not None:
      key += targets[number].tobytes()
    members = seen.setdefault(key, [])
    firsts[number] = not members
    members.append(number)
  if classes is not None:
    for members in seen.values():
      if len(members) > 1 and len(np.unique(classes[members], axis=0)) > 1:
        torn[members] = True
  return firsts, torn
