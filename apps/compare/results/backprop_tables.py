"""Make the tables that hold a grid's rows against backpropagation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apps.compare.data.registry import title
from apps.compare.grid import HEADS, OWN_PASSES
from apps.compare.results.intervals import interval, percent
from apps.compare.results.markdown import table
from apps.compare.results.pairing import (
  NONE,
  after,
  gain,
  grouped,
  name_of,
  pairs,
  shared,
)
from apps.compare.results.rows import Row

BACKPROP_POINTS = 2.0
"""How near forward gradients shall come to backpropagation."""


def backprop(rows: Sequence[Row]) -> str:
  """Each setting with backpropagation's accuracy and each method's gap.

  Of equal passes; methods with their own count have a table of their own.
  """
  others = [r for r in rows if r.cell.method == "backprop"]
  if not others:
    return ""
  plain = [
    r
    for r in rows
    if r.cell.variant == "plain"
    and r.cell.precision == "16w8a"
    and r.cell.method not in ("zero-shot", *OWN_PASSES)
  ]
  start = [r for r in rows if r.cell.method == "zero-shot"]
  names = list(grouped(plain, name_of))
  gaps: dict[object, list[float]] = {name: [] for name in names}
  body = []
  settings = grouped(
    others, lambda c: (c.domain, c.trainable, c.passes, c.batch)
  )
  for key, own in settings.items():
    domain, trainable, passes, _ = key  # type: ignore[misc]
    here = [
      r
      for r in plain
      if (r.cell.domain, r.cell.trainable, r.cell.passes, r.cell.batch) == key
    ]
    by = grouped(here, name_of)
    zero = [r for r in start if r.cell.domain == domain]
    lines = [own, *([zero] if zero else []), *by.values()]
    own, *lines = shared(lines, lambda c: c.seed)
    zero = lines.pop(0) if zero else []
    found = {
      name: gain(pairs(line, own, "method", "precision"))
      for name, line in zip(by, lines)
    }
    for name, gap in found.items():
      gaps[name] += [gap.mean] * (gap.n > 0)
    body.append(
      [
        title(domain),
        trainable,
        str(passes),
        str(len(own)),
        percent(after(zero)),
        percent(after(own)),
        *(percent(found.get(name, NONE), "+") for name in names),
      ]
    )
  header = ["domain", "trains", "passes", "seeds", "zero-shot %", "backprop %"]
  text = table([*header, *(f"{name}, points" for name in names)], body)
  parts = (text, _counts(gaps, "settings"), own_passes(rows, others))
  return "\n\n".join(part for part in parts if part)


def own_passes(rows: Sequence[Row], others: Sequence[Row]) -> str:
  """Methods with their own count of passes against the best backpropagation.

  What "auto" trains is its own choice, so backpropagation may choose as well;
  the closed form, which is for heads, is compared with the best head.
  """
  body, gaps = [], dict[object, list[float]]()
  own = [r for r in rows if r.cell.method in ("closed-form", "auto")]
  kinds = grouped(own, lambda c: (c.method, c.domain, c.trainable))
  for (method, domain, trainable), group in kinds.items():  # type: ignore[misc]
    lines = [
      line
      for (there, what, _), line in grouped(
        others, lambda c: (c.domain, c.trainable, c.passes)
      ).items()  # type: ignore[misc]
      if there == domain and (method == "auto" or what in HEADS)
    ]
    found, *lines = shared([group, *lines], lambda c: c.seed)
    if not found or not lines:
      continue
    best = max(lines, key=lambda line: after(line).mean)
    gap = gain(
      pairs(found, best, "method", "precision", "trainable", "passes", "batch")
    )
    gaps.setdefault(method, []).append(gap.mean)
    body.append(
      [
        title(domain),
        f"{method}, {trainable}" if method != "auto" else method,
        percent(after(found)),
        _mean_passes(found),
        best[0].cell.trainable,
        percent(after(best)),
        _mean_passes(best),
        percent(gap, "+"),
      ]
    )
  header = "domain,method,its own %,passes,best backprop,%,steps,points"
  text = table(header.split(","), body)
  note = (
    "Methods with their own count of passes, against what backpropagation "
    "trains best in that domain; the closed form against its best head."
  )
  return "\n\n".join([note, text, _counts(gaps, "rows")]) if text else ""


def _mean_passes(rows: Iterable[Row]) -> str:
  return f"{interval(r.measured.forward_passes for r in rows).mean:.0f}"


def _counts(gaps: dict[object, list[float]], what: str) -> str:
  """In how many settings each method comes near enough, or beyond."""
  lines = [
    f"- {name}: within {BACKPROP_POINTS:g} points of backpropagation, or above "
    f"it, in {sum(100 * g >= -BACKPROP_POINTS for g in found)} of {len(found)} "
    f"{what}"
    for name, found in gaps.items()
    if found
  ]
  return "\n".join(lines)
