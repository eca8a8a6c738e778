"""The section that says what a file could do before, and can do now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.report_page import sections
from apps.report_page.markup import Markup, element, joined, paragraph, section
from apps.report_page.sections import Row

TITLE = "What it could do before"

_MEASURED = {
  "old_data": "measured on samples of before that were not trained on",
  "replay": "measured on the samples of before that were trained on too",
}


def rows_of(classes: Sequence[Mapping[str, Any]]) -> list[Row]:
  """The classes of a report, as the page shows them."""
  return [
    Row(
      str(row["class"]) if row["name"] is None else row["name"],
      row["train_samples"] + row.get("replay_samples", 0),
      row["scored_samples"],
      row["accuracy_before"],
      row["accuracy_after"],
    )
    for row in classes
  ]


def forgetting_section(told: Mapping[str, Any] | None) -> Markup:
  """What it could do before, and can do now.

  Args:
    told: a report's `forgetting`; None where nothing says.
  """
  if not told:
    unknown = (
      "Not measured: no samples of before were given (--old_data, --replay), "
      "and there is nothing that it could be estimated by."
    )
    return section(TITLE, [paragraph(unknown, "soft")])
  samples, how = told["scored_samples"], _MEASURED.get(told["measured_on"])
  before, after = told["accuracy_before"], told["accuracy_after"]
  if how is None:
    return _estimated(told)
  if after is None:
    losses = told["loss_before"], told["loss_after"]
    shown = sections.number_card("loss on samples of before", *losses)
  else:
    title = "accuracy on samples of before"
    shown = sections.accuracy_card(title, before, after, samples)
  scored = [row for row in rows_of(told["classes"]) if row.scored]
  rows = sections.class_section("The same, class by class", scored, how)
  said = paragraph(f"{samples} samples, {how}.")
  return joined([section(TITLE, [sections.cards([shown]), said]), rows])


def _estimated(told: Mapping[str, Any]) -> Markup:
  """An estimate has no interval: how far it is off, no count of it says."""
  before, after = told["accuracy_before"], told["accuracy_after"]
  shown = element(
    "div",
    joined(
      [
        element("span", "ESTIMATE of answers that stay as they were"),
        element("b", f"{sections.percent(before)} → {sections.percent(after)}"),
        element("span", f"on {told['scored_samples']} {told['how']}"),
      ]
    ),
    "card",
  )
  said = (
    "No samples of before were given, so this is an estimate. Give some with "
    "--old_data to measure it."
  )
  return section(TITLE, [sections.cards([shown]), paragraph(said)])
