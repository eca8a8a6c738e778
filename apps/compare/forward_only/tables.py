"""One table a data set: what each method costs, and how it bears a shift."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apps.compare.forward_only.registry import METHODS
from apps.compare.forward_only.rows import Result
from apps.compare.results.intervals import interval, percent
from apps.compare.results.markdown import table

PAPER = (
  "TinyFoA's own table, on MNIST with layers of 2,000 units (forward pass, "
  "gradient, update): TinyFoA 2.10 %, 0.50 / 4.01 / 8.00 MB; backpropagation "
  "1.33 %, 48 / 96 / 96 MB."
)


def markdown(rows: Sequence[Result]) -> str:
  """Tables with what their columns mean; empty where there are no rows."""
  parts = [_of_data(data, rows) for data in dict.fromkeys(r.data for r in rows)]
  if not parts:
    return ""
  return "\n\n".join([*parts, LEGEND, PAPER])


LEGEND = (
  "Errors are percent of the test samples, mean ± half of the 95 % interval "
  "over seeds. Memory is kB (1,000 bytes) of training one sample at a time: "
  "forward pass / gradient / update, by the rules of "
  "apps/compare/forward_only/memory.py. Of a shift: the int8 file before, "
  "behind it after `tflm_fg.adapt` with its defaults, and in brackets the "
  "float network after the method itself went on with the same samples, its "
  "rate (or none) chosen on a quarter of them. The last two columns are of "
  "`tflm_fg.adapt`: bytes beyond inference and forward passes, the most and "
  "the mean over shifts."
)


def _of_data(data: str, rows: Sequence[Result]) -> str:
  own = [row for row in rows if row.data == data]
  shifts = list(dict.fromkeys(row.shift for row in own if row.shift))
  known = [m for m in METHODS if any(row.method == m for row in own)]
  header = [
    "method",
    "seeds",
    "error",
    "int8",
    "memory, kB",
    "s",
    *(f"{shift.replace(':', ' ')}" for shift in shifts),
    "adapting, kB",
    "passes",
  ]
  body = [
    _cells([row for row in own if row.method == method], method, shifts)
    for method in known
  ]
  return f"### {data}\n\n{table(header, body)}"


def _cells(
  rows: Sequence[Result], method: str, shifts: Sequence[str]
) -> list[str]:
  scratch = [row for row in rows if not row.shift]
  behind = [row for row in rows if row.shift]
  return [
    method,
    str(len(scratch)),
    _percent(row.error for row in scratch),
    _percent(row.error_int8 for row in scratch),
    _memory(scratch),
    f"{interval(row.seconds for row in scratch).mean:.0f}",
    *(_shift([row for row in behind if row.shift == s]) for s in shifts),
    _most(row.trainer_bytes / 1000 for row in behind),
    f"{interval(row.passes for row in behind).mean:.0f}",
  ]


def _percent(values: Iterable[float]) -> str:
  return percent(interval(values))


def _shift(rows: Sequence[Result]) -> str:
  before, ours, own = (
    _percent(getattr(row, name) for row in rows)
    for name in ("error_int8", "error_ours", "error_own")
  )
  return f"{before} → {ours} ({own})"


def _memory(rows: Sequence[Result]) -> str:
  if not rows:
    return "-"
  first = rows[0]
  counts = (first.forward_bytes, first.gradient_bytes, first.update_bytes)
  return " / ".join(f"{count / 1000:,.0f}" for count in counts)


def _most(values: Iterable[float]) -> str:
  found = list(values)
  return f"{max(found):.1f}" if found else "-"
