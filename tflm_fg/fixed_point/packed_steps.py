"""Write the steps of a phase for a journal in few bytes, and read them.

A step whose slopes are signs is two bits a direction; steps in a row that have
as many directions share a line. Other slopes are integers, one line a step. An
exact gradient has as many slopes as there are numbers, in every step: there the
masters that it ended with say the same, and are far fewer.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
"""A line of a journal."""

ONE = 1 << 16
"""A sign as a slope, in Q16."""

_MOST = (1 << 31) - 1
"""No line has more steps or directions."""


def packed(slopes: Sequence[Sequence[int]], phase: int) -> list[Row]:
  """The lines of a phase's steps.

  Args:
    slopes: one list of integers (Q16) a step.
    phase: its number.
  """
  if not slopes or any(s not in (0, ONE, -ONE) for row in slopes for s in row):
    return [
      {"phase": phase, "step": step, "slopes": list(row)}
      for step, row in enumerate(slopes)
    ]
  rows: list[Row] = []
  step = 0
  for directions, group in itertools.groupby(slopes, len):
    run = list(group)
    rows.append(
      {
        "phase": phase,
        "step": step,
        "steps": len(run),
        "directions": directions,
        "signs": _text(_codes(run)),
      }
    )
    step += len(run)
  return rows


def unpacked(row: Row) -> list[Row]:
  """A line as one row of slopes a step; as it is where it holds slopes.

  Args:
    row: a line whose "phase" and "step" are whole numbers.

  Raises:
    ValueError: if its signs are none.
  """
  if "signs" not in row:
    return [row]
  steps, directions = row.get("steps"), row.get("directions")
  sizes = (steps, directions)
  if any(type(n) is not int or not 1 <= n <= _MOST for n in sizes):
    raise ValueError("a line of signs without its steps and directions")
  count = steps * directions  # type: ignore[operator]
  coded = bytes_of(row["signs"])
  if len(coded) != -(-count // 4):
    raise ValueError(f"signs in {len(coded)} bytes, need {-(-count // 4)}")
  quarters = np.frombuffer(coded, np.uint8)[:, None] >> np.arange(0, 8, 2) & 3
  codes = quarters.reshape(-1)
  if (codes == 3).any() or codes[count:].any():
    raise ValueError("a sign that is none")
  values = np.array([0, ONE, -ONE])[codes[:count]].reshape(steps, directions)
  return [
    {"phase": row["phase"], "step": row["step"] + n, "slopes": slopes}
    for n, slopes in enumerate(values.tolist())
  ]


def masters_row(phase: int, steps: int, masters: Sequence[bytes]) -> Row:
  """The line of a phase that is known by its masters.

  Args:
    phase: its number.
    steps: how many it took.
    masters: of each of its tensors, little-endian integers.
  """
  return {"phase": phase, "steps": steps, "masters": [*map(_text, masters)]}


def by_form(
  rows: Sequence[Row],
) -> tuple[list[Row], list[Row]]:
  """One row of slopes a step, and the rows of phases known by their masters.

  Args:
    rows: lines of a journal whose kinds are checked.

  Raises:
    ValueError: if signs or a count of steps are none.
  """
  masters = [row for row in rows if "masters" in row]
  if any(row["steps"] < 1 for row in masters):
    raise ValueError("masters of no step")
  others = [row for row in rows if "masters" not in row]
  return [one for row in others for one in unpacked(row)], masters


def bytes_of(text: object) -> bytes:
  """What a text holds in base64.

  Raises:
    ValueError: if it is not such a text.
  """
  try:
    if isinstance(text, str):
      return base64.b64decode(text.encode("ascii"), validate=True)
  except (binascii.Error, UnicodeError):
    pass
  raise ValueError("bytes that are not in base64")


def _text(data: bytes) -> str:
  return base64.b64encode(data).decode()


def _codes(slopes: Sequence[Sequence[int]]) -> bytes:
  """0, 1 for + and 2 for -, four to a byte, the first in the lowest bits."""
  signs = np.array(slopes, np.int64).reshape(-1)
  codes = np.where(signs < 0, 2, signs > 0).astype(np.uint8)
  padded = np.concatenate([codes, np.zeros(-len(codes) % 4, np.uint8)])
  places = np.arange(0, 8, 2, dtype=np.uint8)
  quarters = padded.reshape(-1, 4) << places
  return quarters.sum(axis=1, dtype=np.uint8).tobytes()
