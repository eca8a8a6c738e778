"""The page of tflm-fg-adapt: what an `AdaptResult` has to tell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from apps.report_page import sections
from apps.report_page.forgetting_section import forgetting_section, rows_of
from apps.report_page.markup import Markup, page, paragraph
from tflm_fg import AdaptResult
from tflm_fg.training import NATURAL

Report = Mapping[str, Any]

_SCORED = {
  "test": "on {n} test samples, which were not trained on",
  "validation": "on {n} samples kept aside, by which it was chosen what to "
  "keep: the numbers are a little too good; --test gives better ones",
  "train": "on the {n} samples that were trained on: the numbers are too good",
}


def adaptation_page(
  result: AdaptResult,
  *,
  model: str,
  samples: str,
  when: str,
  commands: Sequence[tuple[str, str]] = (),
  report: Report | None = None,
) -> str:
  """The page of an adaptation.

  Args:
    result: what adapting gave.
    model: the path of the model that came.
    samples: the path of what it was adapted to.
    when: the date, for people.
    commands: what repeats it: a sentence and a command each.
    report: the result's, with what is known of the file once it is written.

  Returns:
    HTML, which needs no other file.
  """
  report = report or result.report
  unit = " (nats)" if report["loss"] in NATURAL else ""
  return page(
    title_of(report, model, samples),
    when,
    [
      *_lead(report),
      sections.notes_section(report),
      sections.class_section(
        "Class by class",
        rows_of(report["classes"]),
        f"of {report['scored_samples']} {_part(report)}",
      ),
      forgetting_section(report["forgetting"]),
      sections.tried_section(report),
      sections.curve_section(result.history, unit),
      sections.needs_section(report["needs"], report["engine_agreement"]),
      sections.cost_section(report),
      sections.again_section(report, commands),
    ],
  )


def title_of(report: Report, model: str, samples: str) -> str:
  """What was adapted to what."""
  count = report["train_samples"] + report["validation_samples"]
  learned = sum(1 for row in report["classes"] if row["train_samples"])
  what = f"{count} samples"
  if report["labels"] == "none":
    what += " without labels"
  elif report["classes"]:
    of_all = f" of {len(report['classes'])}" * bool(report["absent_classes"])
    what += f" of {learned}{of_all} classes"
  name, source = (os.path.basename(p.rstrip("/")) for p in (model, samples))
  return f"{name}, adapted to {what} ({source})"


def _part(report: Report) -> str:
  names = {"validation": "samples kept aside", "train": "training samples"}
  return names.get(report["scored_on"], "test samples")


def _lead(report: Report) -> list[Markup]:
  """The main numbers, and what they are of."""
  pieces = []
  if report["interrupted"]:
    told = "It was interrupted: this is what was best by then."
    pieces.append(paragraph(told, "note"))
  if change := sections.change_sentence(report):
    pieces.append(paragraph(change, "note"))
  samples = report["scored_samples"]
  scored = _SCORED[report["scored_on"]].format(n=samples)
  shown = []
  before, after = report["accuracy_before"], report["accuracy_after"]
  told = f"Measured {scored}."
  if after is not None:
    told += " " + sections.overlap(before, after, samples)
    shown.append(sections.accuracy_card("accuracy", before, after, samples))
    if after < before:
      fewer = "It answers fewer of these samples right than it did before."
      pieces.append(paragraph(fewer, "note"))
  if report["mae_after"] is not None:
    mae = report["mae_before"], report["mae_after"]
    shown.append(sections.number_card("mean absolute error", *mae))
  losses = report["loss_before"], report["loss_after"]
  shown.append(sections.number_card(f"loss ({report['loss']})", *losses))
  return [*pieces, sections.cards(shown), paragraph(told)]
