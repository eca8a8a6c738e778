"""Make Markdown tables of means and intervals from a grid's rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from apps.compare.data import registry
from apps.compare.grid import OF_8_BITS, PLAIN, WEIGHTS
from apps.compare.results import backprop_tables
from apps.compare.results.intervals import (
  LEAST_DOMAINS,
  Interval,
  interval,
  percent,
  verdict,
)
from apps.compare.results.markdown import table
from apps.compare.results.pairing import (
  after,
  after_over_domains,
  gain,
  gain_over_domains,
  grouped,
  name_of,
  pairs,
  place,
  shared,
)
from apps.compare.results.rows import Row

KERNELS = ("16w8a", *WEIGHTS)

PRECISION_POINTS = 1.5
"""How near 16w8a shall come to fp32."""


def markdown(rows: Sequence[Row]) -> str:
  """All tables that the rows have something for, the findings first."""
  parts = [
    _titled("Against backpropagation", backprop_tables.backprop(rows)),
    _titled("Precision", precision(rows)),
    _titled("Kernels of 16 bits in the file", precision(rows, KERNELS)),
    _titled("Statistic matching, without labels", unlabelled(rows)),
    _titled("Each enhancement alone against the plain method", against(rows)),
    _titled("All runs, means over seeds", means(rows)),
  ]
  return "\n\n".join(part for part in parts if part)


def _titled(title: str, text: str) -> str:
  return f"## {title}\n\n{text}" if text else ""


def means(rows: Sequence[Row]) -> str:
  """A row a cell without its seed."""
  body = []
  groups = grouped(rows, lambda c: dataclasses.replace(c, seed=0))
  for group in groups.values():
    cell, found = group[0].cell, [row.measured for row in group]
    body.append(
      [
        registry.title(cell.domain),
        cell.trainable,
        name_of(cell),
        cell.precision,
        str(len(group)),
        percent(interval(m.accuracy_before for m in found)),
        percent(after(group)),
        f"{interval(m.loss_after for m in found).mean:.3f}",
        f"{interval(m.forward_passes for m in found).mean:.0f}",
        f"{interval(m.seconds for m in found).mean:.1f}",
      ]
    )
  header = "domain,trains,method,precision,seeds,before %,after %,loss,passes"
  return table([*header.split(","), "seconds"], body)


def against(rows: Sequence[Row]) -> str:
  """Every variant and other method against the plain one, paired."""
  plain = [
    r for r in rows if r.cell.method == PLAIN and r.cell.variant == "plain"
  ]
  body = []
  for name, group in grouped(rows, name_of).items():
    found = pairs(group, plain, "method", "variant")
    found = [pair for pair in found if pair[0].cell != pair[1].cell]
    if not found or group[0].cell.method == "backprop":
      continue
    difference = gain_over_domains(found)
    body.append(
      [
        str(name),
        str(len(found)),
        str(difference.n),
        percent(after_over_domains(b for _, b in found)),
        percent(after_over_domains(a for a, _ in found)),
        percent(difference, "+"),
        verdict(difference),
      ]
    )
  header = "method,pairs,domains,plain %,its own %,difference,verdict"
  text = table(header.split(","), body)
  note = (
    "Paired over domain, seed, precision and what trains, averaged within a "
    "domain; intervals are Student's over the domains. A verdict is given "
    f"where there are {LEAST_DOMAINS} domains and the 95 % interval of the "
    "difference leaves out zero: of twenty that change nothing one is called "
    "by chance."
  )
  return f"{text}\n\n{note}" if text else ""


def precision(
  rows: Sequence[Row], precisions: Sequence[str] = OF_8_BITS
) -> str:
  """Precisions side by side, with paired differences.

  Args:
    rows: of a grid.
    precisions: the columns, "16w8a" among them.
  """
  forward = [
    r
    for r in rows
    if r.cell.variant == "plain"
    and r.cell.method != "backprop"
    and r.cell.precision in precisions
  ]
  body = []
  others = [p for p in precisions if p != "16w8a"]
  kinds = grouped(forward, lambda c: (c.trainable, c.method))
  for (trainable, method), group in kinds.items():  # type: ignore[misc]
    by = grouped(group, lambda c: c.precision)
    own = dict(zip(by, shared(by.values(), place)))
    if len(by) < 2 or not any(own.values()):
      continue
    first = own.get("16w8a", [])
    gaps = (gain_of(own.get(p, []), first) for p in others)
    body.append(
      [
        str(trainable),
        str(method),
        str(len({r.cell.domain for r in first})),
        *(percent(after_over_domains(own.get(p, []))) for p in precisions),
        *(percent(gap, "+") for gap in gaps),
      ]
    )
  header = ["trains", "method", "domains", *(f"{p} %" for p in precisions)]
  text = table([*header, *(f"{p} over 16w8a" for p in others)], body)
  parts = [text, _nearness(forward)] if text else []
  return "\n\n".join(part for part in parts if part)


def unlabelled(rows: Sequence[Row]) -> str:
  """Statistic matching against the file as it is, domain by domain."""
  start = [r for r in rows if r.cell.method == "zero-shot"]
  own = [r for r in rows if r.cell.method == "statistics"]
  body, found = [], dict[str, list[tuple[Row, Row]]]()
  for key, group in grouped(own, lambda c: (c.domain, c.trainable)).items():
    domain, trainable = key  # type: ignore[misc]
    both = pairs(group, start, *_NO_TRAINING)
    if not both:
      continue
    found.setdefault(trainable, []).extend(both)
    before, after_ = zip(*both)
    body.append(
      [
        registry.title(domain),
        trainable,
        str(len(both)),
        f"{interval(r.measured.forward_passes for r, _ in both).mean:.0f}",
        percent(after(after_)),
        percent(after(before)),
        percent(gain(both), "+"),
      ]
    )
  header = "domain,trains,seeds,passes,zero-shot %,statistics %,points"
  lines = [
    f"- {trainable}: {percent(over, '+')} points over {_count(over.n)}: "
    f"{verdict(over)}"
    for trainable, both in found.items()
    for over in [gain_over_domains(both)]
  ]
  text = table(header.split(","), body)
  return f"{text}\n\n" + "\n".join(lines) if text else ""


_NO_TRAINING = ("method", "trainable", "passes")
"""What a run that trains nothing has otherwise."""


def gain_of(rows: Sequence[Row], others: Sequence[Row]) -> Interval:
  """Of one precision over another, over the domains."""
  return gain_over_domains(pairs(rows, others, "precision"))


def _nearness(forward: Sequence[Row]) -> str:
  """What the whole grid says about 16w8a and fp32."""
  own, other = (
    [r for r in forward if r.cell.precision == p] for p in ("16w8a", "fp32")
  )
  overall = gain_of(own, other)
  if not overall.n:
    return ""
  judged = "no verdict from so few"
  if overall.n >= LEAST_DOMAINS:
    near = abs(100 * overall.mean) <= PRECISION_POINTS
    judged = f"{'within' if near else 'not within'} {PRECISION_POINTS} points"
  return (
    "Each row is over the domains, seeds and passes that all its precisions "
    f"share. 16w8a is {percent(overall, '+')} points from fp32 at equal "
    f"passes, mean and interval over {_count(overall.n)}: {judged}."
  )


def _count(domains_: int) -> str:
  return f"{domains_} domain{'s' * (domains_ != 1)}"
