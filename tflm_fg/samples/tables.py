"""Read sensor data from CSV: a row a sample, or rows that follow in time.

The first line names the columns. One of them may hold the label; columns of
times are left out; all others are the sample's numbers, in their order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.files import TEXT_TIMES, read_bytes
from tflm_fg.samples.arrays import counted
from tflm_fg.samples.wanted import Wanted, labels_of
from tflm_fg.types import Array, TflmFgError

SUFFIXES = (".csv", ".tsv")

LABEL_NAMES = ("label", "labels", "class", "target", "y", "activity")
TIME_NAMES = ("time", "timestamp", "t", "ms", "seconds", "index")


class Table(NamedTuple):
  """Rows as samples.

  Attributes:
    x: float64 [N, ...] in the shape of the model's input.
    y: int64 [N] classes, or float64 [N] real targets; None without labels.
    names: of the classes in order; None where they are numbers or unknown.
    notes: what a user should know.
  """

  x: NDArray[np.float64]
  y: Array | None
  names: tuple[str, ...] | None
  notes: tuple[str, ...]


def read_table(path: str, wanted: Wanted) -> Table:
  """Reads a table.

  Where a row has as many numbers as a sample, it is one. Where it has as many
  as the input's last axis, rows follow each other in time, and a sample is a
  window of them, never across a change of the label.

  Args:
    path: of a .csv with commas, semicolons or tabs.
    wanted: what the rows are read for.

  Raises:
    TflmFgError: naming the line or the column that is wrong.
  """
  names, rows, separator = _lines(path)
  label, times, columns = _columns(path, names)
  values = np.empty((len(rows), len(columns)))
  words = []
  for number, (line, row) in enumerate(rows):
    if len(row) != len(names):
      raise TflmFgError(
        f"{path}: line {line} has {counted(len(row), 'value')}, and the first "
        f"line names {len(names)}"
      )
    for place, column in enumerate(columns):
      values[number, place] = _number(
        row[column], separator, f"{path}: line {line}, {names[column]!r}"
      )
    words.append("" if label is None else row[label].strip())
    if label is not None and not words[-1]:
      raise TflmFgError(f"{path}: line {line} has no {names[label]!r}")
  notes = [f"{path}: {names[times[0]]!r} is left out"] if times else []
  window = _window(path, len(columns), wanted)
  if window > 1:
    starts = list(_starts(words, window, wanted.stride or window))
    if not starts:
      raise TflmFgError(
        f"{path}: {counted(len(rows), 'row')}, and no {window} that follow "
        "each other with one label; a sample needs so many"
      )
    x = np.stack([values[s : s + window] for s in starts])
    words = [words[s] for s in starts]
    notes.append(
      f"{path}: {counted(len(rows), 'row')} in time gave "
      f"{counted(len(starts), 'window')} of {window}, one every "
      f"{wanted.stride or window}"
    )
  else:
    x = values
  x = x.reshape(len(x), *wanted.shape)
  if label is None:
    return Table(x, None, None, tuple(notes))
  targets = _targets(words, separator)
  if isinstance(targets, np.ndarray):
    return Table(x, targets, None, tuple(notes))
  y, classes, said = labels_of(targets, wanted, path)
  return Table(x, y, classes, (*notes, *filter(None, [said])))


def _lines(path: str) -> tuple[list[str], list[tuple[int, list[str]]], str]:
  """The names of the columns, the rows with their lines, and what parts them.

  Raises:
    TflmFgError: if the file is no table with names in its first line.
  """
  content = read_bytes(path, TEXT_TIMES, "give fewer rows")
  try:
    text = content.decode("utf-8-sig")
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    lines = [(reader.line_num, row) for row in reader if any(row)]
  except (UnicodeDecodeError, csv.Error) as fault:
    raise TflmFgError(
      f"{path}: not a readable table ({fault}); save it as CSV in UTF-8"
    ) from None
  if len(lines) < 2:
    raise TflmFgError(f"{path}: no rows below a line of names")
  names = [name.strip() for name in lines[0][1]]
  if all(map(_is_number, names)):
    raise TflmFgError(
      f"{path}: the first line holds numbers; name the columns in it, the "
      "labels' one 'label'"
    )
  return names, lines[1:], separator


def _columns(
  path: str, names: list[str]
) -> tuple[int | None, list[int], list[int]]:
  """Which column is the label, which are times, and which are numbers."""
  folded = [name.casefold() for name in names]
  found = [n for n, name in enumerate(folded) if name in LABEL_NAMES]
  if len(found) > 1:
    raise TflmFgError(
      f"{path}: the columns {', '.join(names[n] for n in found)} may all be "
      "the label; rename all but one"
    )
  times = [n for n, name in enumerate(folded) if name in TIME_NAMES]
  others = [n for n in range(len(names)) if n not in (*found, *times)]
  if not others:
    raise TflmFgError(f"{path}: has no column of numbers beside the label")
  return (found[0] if found else None), times, others


def _window(path: str, columns: int, wanted: Wanted) -> int:
  """How many rows make a sample.

  Raises:
    TflmFgError: if no count of rows does.
  """
  size, axes = int(np.prod(wanted.shape, dtype=np.int64)), wanted.axes
  window = wanted.window
  if window is None:
    if columns == size:
      window = 1
    elif len(axes) == 2 and columns == axes[1]:
      window = axes[0]
    elif columns == 1:
      window = size
    else:
      window = 0
  if window * columns == size:
    return window
  raise TflmFgError(
    f"{path}: {counted(columns, 'column')} of numbers"
    + f", in windows of {window} rows" * bool(wanted.window)
    + f", and the model takes {size} ({'x'.join(map(str, wanted.shape))}); "
    "give one row a sample, or rows in time with a column a channel"
    + f" and --window={size // columns}"
    * (size % columns == 0 and not wanted.window)
  )


def _starts(words: list[str], window: int, stride: int) -> Iterator[int]:
  """Where windows begin: at each run of one label, and a stride further."""
  begin = 0
  for end in range(1, len(words) + 1):
    if end == len(words) or words[end] != words[begin]:
      yield from range(begin, end - window + 1, stride)
      begin = end


def _targets(
  words: list[str], separator: str
) -> list[str] | NDArray[np.float64]:
  """Labels as names of classes, or as real targets.

  Numbers are real targets if one of them is not whole or is negative; a
  spreadsheet may write whole ones with a point.
  """
  plain = [w.replace(",", ".") if separator == ";" else w for w in words]
  if not all(map(_is_number, plain)):
    return words
  values = np.array([float(word) for word in plain])
  if np.all((values == np.round(values)) & (values >= 0)):
    return [str(int(value)) for value in values]
  return values


def _number(text: str, separator: str, name: str) -> float:
  plain = text.replace(",", ".") if separator == ";" else text
  try:
    return float(plain)
  except ValueError:
    raise TflmFgError(
      f"{name} holds {text!r}; need a number"
      + (" (only a column named label may hold words)" if text else "")
    ) from None


def _is_number(text: str) -> bool:
  try:
    float(text)
  except ValueError:
    return False
  return True
