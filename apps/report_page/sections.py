"""The sections of the page: each a title, what was measured, and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from apps.report_page import charts
from apps.report_page.intervals import wilson
from apps.report_page.markup import (
  Markup,
  element,
  facts,
  figure,
  joined,
  listed,
  paragraph,
  section,
  table,
)

Report = Mapping[str, Any]

ABSENT = "not in your data"
"""What marks a class without a sample to learn from."""


class Row(NamedTuple):
  """A class, before and after.

  Attributes:
    name: of the class.
    learned: samples of it that were learned from.
    scored: samples of it that were scored.
    before: share of them that was right, 0 to 1; None where none was scored.
    after: the same of the adapted file.
  """

  name: str
  learned: int
  scored: int
  before: float | None
  after: float | None


def percent(share: float) -> str:
  """A share for people."""
  return f"{100 * share:.1f} %"


def points(before: float, after: float) -> Markup:
  """A change in percentage points, with the mark of its direction."""
  kind, mark = charts.change_of(before, after)
  css = {"up": "gain", "down": "loss"}.get(kind, "")
  return element("span", f"{mark} {100 * (after - before):+.1f}", css)


def with_interval(share: float, samples: int) -> str:
  """A share with its interval."""
  low, high = (100 * end for end in wilson(share, samples))
  return f"{percent(share)} ({low:.1f} to {high:.1f})"


def accuracy_card(
  title: str, before: float, after: float, samples: int
) -> Markup:
  """Accuracy before and after on some samples, with both intervals."""
  return element(
    "div",
    joined(
      [
        element("span", title),
        element("b", f"{percent(before)} → {percent(after)}"),
        charts.track(before, after, samples),
        charts.SCALE,
        element(
          "span",
          f"before {with_interval(before, samples)}, after "
          f"{with_interval(after, samples)}",
        ),
        element("span", joined([points(before, after), " points"], "")),
      ]
    ),
    "card",
  )


def number_card(title: str, before: float, after: float) -> Markup:
  """A loss or an error before and after; lower is better."""
  shown = f"{before:.4g} → {after:.4g}"
  kind = "lower, which is better" if after < before else "not lower"
  pieces = [element("span", title), element("b", shown), element("span", kind)]
  return element("div", joined(pieces), "card")


def cards(pieces: Sequence[Markup]) -> Markup:
  """Cards side by side where there is room."""
  return element("div", joined(pieces), "cards") if pieces else Markup()


def overlap(before: float, after: float, samples: int) -> str:
  """What the intervals say of a change, in a sentence."""
  first, last = wilson(before, samples), wilson(after, samples)
  apart = first[1] < last[0] or last[1] < first[0]
  if apart:
    return "The intervals are apart: the change is more than chance."
  return (
    f"The intervals overlap: {samples} samples are too few to be sure of a "
    "change of this size."
  )


def class_section(
  title: str, rows: Sequence[Row], what: str, unit: str = "samples"
) -> Markup:
  """Each class before and after, and which have nothing to learn from.

  Args:
    title: of the section.
    rows: the classes; nothing is shown for fewer than two.
    what: which samples the shares are of, for the caption.
    unit: what samples are called.
  """
  if len(rows) < 2:
    return Markup()
  drawn = table(
    ["class", f"{unit} learned", "before", "after", "points", "0 to 100 %"],
    [_class_cells(row) for row in rows],
    "rows",
    ["name", "learned", "", "", "", "chart"],
  )
  absent = [row.name for row in rows if not row.learned]
  pieces = [figure(drawn, f"Right answers of each class, {what}. {charts.KEY}")]
  if absent:
    pieces.insert(
      0,
      paragraph(
        f"{len(absent)} of {len(rows)} classes had no {unit} to learn from: "
        f"{', '.join(absent)}.",
        "note",
      ),
    )
  return section(title, pieces)


def _class_cells(row: Row) -> list[Any]:
  name: Any = row.name
  learned: Any = row.learned
  if not row.learned:
    learned = element("span", ABSENT, "chip")
  if row.before is None or row.after is None:
    unscored = element("span", "not scored", "soft")
    return [name, learned, unscored, "", "", ""]
  return [
    name,
    learned,
    percent(row.before),
    percent(row.after),
    points(row.before, row.after),
    charts.track(row.before, row.after, row.scored),
  ]


def tried_section(report: Report) -> Markup:
  """The candidates that were compared, and what was dropped."""
  rows = [
    [
      c["trainable"] + (" ✓ chosen" if c["chosen"] else ""),
      f"{c['loss']:.4g}",
      "" if c["accuracy"] is None else percent(c["accuracy"]),
    ]
    for c in report["candidates"]
  ]
  dropped = [
    joined([element("b", d["candidate"]), f": {d['reason']}"], "")
    for d in report["dropped"]
  ]
  pieces = []
  if rows:
    pieces = [
      paragraph(
        "Places for the trainable numbers were compared on samples kept aside; "
        "the lowest loss is taken, or a simpler one that is not surely worse."
      ),
      table(["what trains", "loss", "accuracy"], rows),
    ]
  if dropped:
    pieces += [paragraph("Not tried to the end:", "soft"), listed(dropped)]
  return section("What was tried", pieces)


def curve_section(history: Any, unit: str) -> Markup:
  """Loss over forward passes; nothing where there are too few points.

  Args:
    history: a `tflm_fg.callbacks.History`.
    unit: of the loss, as " (nats)".
  """
  drawn = charts.curves(
    [
      ("training batches", history["forward_passes"], history["loss"]),
      (
        "samples kept aside",
        history["val_forward_passes"],
        history["val_loss"],
      ),
    ],
    "forward passes",
    f"loss{unit}",
  )
  if not drawn:
    return Markup()
  caption = (
    "Loss while it trained, phase after phase; lower is better. The solid line "
    "is of the batches that were trained on"
  )
  if len(history["val_loss"]) >= charts.FEWEST_POINTS:
    caption += ", the dashed one with dots of samples kept aside"
  return section("While it trained", [figure(drawn, caption + ".")])


def needs_section(needs: Report, agreement: Sequence[Report]) -> Markup:
  """What the adapted file needs beside what it needed before."""
  fresh = needs["new_operators"]
  if fresh:
    calls = dict.fromkeys(row["resolver"] for row in fresh)
    names = ", ".join(f"{r['name']} (version {r['version']})" for r in fresh)
    told = joined(
      [
        paragraph(f"It needs operators that it did not need before: {names}."),
        paragraph("TFLM's resolver must be told of them:", "soft"),
        element("pre", element("code", "\n".join(calls))),
      ]
    )
  else:
    told = paragraph("It needs no operator that it did not need before.")
  sizes = table(
    ["bytes", "before", "after", "more"],
    [
      _size("file", needs["model_bytes_before"], needs["model_bytes"]),
      _size(
        f"TFLM arena ({needs['arena_from']})",
        needs["arena_bytes_before"],
        needs["arena_bytes"],
      ),
    ],
  )
  apart = {row["engine"]: row["largest_difference"] for row in agreement}
  engines = table(
    ["engine", "loads and runs it", "steps apart"],
    [
      [
        row["engine"],
        "✓ yes" if row["runs"] else f"✗ no: {row['fault']}",
        "" if (steps := apart.get(row["engine"])) is None else f"{steps:g}",
      ]
      for row in needs["runs_in"]
    ],
  )
  note = paragraph(
    "Steps apart: the largest difference at the logits from LiteRT's reference "
    "kernels, on a few samples.",
    "soft",
  )
  pieces = [told, paragraph(""), sizes, paragraph(""), engines, note]
  return section("What the file needs", pieces)


def _size(name: str, before: int, after: int) -> list[str]:
  return [name, f"{before:,}", f"{after:,}", f"{after - before:+,}"]


def cost_section(
  report: Report, more: Sequence[tuple[str, Any]] = ()
) -> Markup:
  """What trained, how, and what it took."""
  names = report["trainable"]
  shown = ", ".join(names[:4]) + (
    f" and {len(names) - 4} more" * (len(names) > 4)
  )
  parts = report["trainer_bytes_parts"]
  largest = sorted(parts.items(), key=lambda one: -one[1])[:4]
  return section(
    "What was trained, and what it took",
    [
      facts(
        [
          ("trained tensors", shown),
          ("numbers in them", f"{report['trainable_parameters']:,}"),
          ("method", report["method"]),
          ("steps, kept", f"{report['steps']}, {report['kept_step']}"),
          ("forward passes", f"{report['forward_passes']:,} with all tries"),
          (
            "seconds",
            f"{report['seconds']:.2f}, of them {report['invoke_seconds']:.2f} "
            "in the engine",
          ),
          (
            "engine",
            f"{report['runtime']}, {report['strategy']}, {report['workers']} "
            "at once",
          ),
          (
            "memory beyond inference",
            f"{report['trainer_bytes']:,} bytes"
            + (
              f" ({', '.join(f'{k} {v:,}' for k, v in largest if v)})"
              if any(parts.values())
              else ""
            ),
          ),
          *more,
        ]
      )
    ],
  )


def again_section(
  report: Report, commands: Sequence[tuple[str, str]]
) -> Markup:
  """What repeats it: the command, the journal, the seed and the versions.

  Args:
    report: the report.
    commands: a sentence and a command each.
  """
  pieces: list[Markup] = []
  for told, command in commands:
    pieces += [paragraph(told), element("pre", element("code", command))]
  versions = ", ".join(f"{k} {v}" for k, v in report["versions"].items())
  known = [("seed", report.get("seed")), ("versions", versions)]
  pieces.append(facts([*known, ("file's SHA-256", report.get("out_sha256"))]))
  return section("To repeat it", pieces)


def notes_section(report: Report) -> Markup:
  """What a user should know."""
  found = [*report.get("data_notes", ()), *report["notes"]]
  return section("To know", [listed(dict.fromkeys(found))])


def change_sentence(report: Report) -> str:
  """Whether the file changed at all."""
  if report["kept_step"]:
    return ""
  return (
    "No step was better than the start on the samples kept aside, so the "
    "weights are as they came."
  )
