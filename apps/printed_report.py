"""Print the main numbers of an adaptation, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflm_fg import limits, requirements
from tflm_fg.callbacks import in_words as in_time_words
from tflm_fg.dry_run import Estimate
from tflm_fg.forgetting import in_words
from tflm_fg.training import NATURAL


def print_estimate(estimate: Estimate) -> None:
  """What adapting would try and take, for people."""
  print(f"would learn from {estimate.samples} samples:")
  for part in estimate.parts:
    steps = f", {part.steps} steps, {part.passes} passes" * bool(part.steps)
    print(
      f"  {part.candidate}: {part.work}{steps}, about {_time(part.seconds)}"
    )
  print(
    f"in all about {estimate.forward_passes} forward passes and "
    f"{_time(estimate.seconds)}; training the candidate that looks best now, "
    f"{estimate.trainable_parameters} numbers, would add "
    f"{estimate.trainer_bytes} bytes to inference; this process would hold "
    f"about {limits.shown(estimate.memory_bytes)}; nothing was written"
  )


def _time(seconds: float) -> str:
  """Seconds, with a digit where they are few."""
  return f"{seconds:.1f} s" if seconds < 10 else in_time_words(seconds)


def print_report(report: Mapping[str, Any]) -> None:
  """The main numbers, for people."""
  for note in report["notes"]:
    print(f"note: {note}")
  for dropped in report["dropped"]:
    print(f"note: {dropped['candidate']} was dropped: {dropped['reason']}")
  # Squares of any unit may be tiny or huge; nats never are.
  digits = ".3f" if report["loss"] in NATURAL else ".4g"
  for candidate in report["candidates"]:
    print(
      f"tried {candidate['trainable']}: loss {candidate['loss']:{digits}}"
      + " (chosen)" * candidate["chosen"]
    )
  accuracy = ""
  if report["accuracy_after"] is not None:
    accuracy = (
      f"accuracy {report['accuracy_before']:.3f} -> "
      f"{report['accuracy_after']:.3f}, "
    )
  elif report["mae_after"] is not None:
    accuracy = (
      f"mean absolute error {report['mae_before']:.4g} -> "
      f"{report['mae_after']:.4g}, "
    )
  print(
    f"{report['scored_on']} samples ({report['scored_clips']}): {accuracy}loss "
    f"{report['loss_before']:{digits}} -> {report['loss_after']:{digits}}"
  )
  _print_absent(report)
  if report["forgetting"]:
    print_forgetting(report["forgetting"], digits)
  for row in report["other_outputs"]:
    print(in_words(row))
  for phase in report["phases"]:
    for name, why in phase["chosen"].items():
      print(f"{name} {why}")
  _print_agreement(report["engine_agreement"])
  for line in requirements.in_words(report["needs"]):
    print(line)
  print(
    f"{report['trainable_parameters']} numbers, {report['steps']} steps, "
    f"{report['forward_passes']} forward passes, {report['seconds']:.2f} s "
    f"({report['invoke_seconds']:.2f} s in {report['runtime']}, "
    f"{report['strategy']}, {report['workers']} at once); training adds "
    f"{report['trainer_bytes']} bytes to inference"
  )


def _print_absent(report: Mapping[str, Any]) -> None:
  """Which classes had no samples, unless a note has said it."""
  absent = [
    r for r in report["classes"] if r["class"] in set(report["absent_classes"])
  ]
  if absent and not any(n.startswith(ABSENT) for n in report["notes"]):
    print(f"{ABSENT}: {', '.join(map(class_name, absent))}")


ABSENT = "no samples for"
"""How a line begins that names classes without samples."""

_BEFORE = {
  "old_data": "samples of before",
  "replay": "samples of before that were trained on too",
}


def print_forgetting(told: Mapping[str, Any], digits: str = ".3f") -> None:
  """How samples of before are answered now, and what lost most.

  Args:
    told: a report's `forgetting`.
    digits: how a loss is written.
  """
  title = _BEFORE.get(told["measured_on"])
  if title is None:
    title = f"ESTIMATE of what is forgotten, from {told['how']}"
  scored = "loss", told["loss_before"], told["loss_after"], digits
  if told["accuracy_after"] is not None:
    scored = "accuracy", told["accuracy_before"], told["accuracy_after"], ".3f"
  name, before, after, form = scored
  worst = min(
    (row for row in told["classes"] if row["scored_samples"]),
    key=lambda row: row["accuracy_after"] - row["accuracy_before"],
    default=None,
  )
  line = (
    f"{title} ({told['scored_samples']}): {name} {before:{form}} -> "
    f"{after:{form}}"
  )
  if worst and worst["accuracy_after"] < worst["accuracy_before"]:
    line += (
      f"; most is lost of {class_name(worst)}, "
      f"{worst['accuracy_before']:.3f} -> {worst['accuracy_after']:.3f}"
    )
  print(line)


def class_name(row: Mapping[str, Any]) -> str:
  """A class's number, with its name where the file says it."""
  return " ".join(filter(None, (str(row["class"]), row["name"])))


def _print_agreement(rows: Sequence[Mapping[str, Any]]) -> None:
  """How far engines are apart on the adapted file."""
  apart = [
    f"{row['engine']} {row['largest_difference']:g}"
    for row in rows
    if row["largest_difference"] is not None
  ]
  if apart:
    print(
      "engines differ from LiteRT's reference kernels by at most so many "
      f"steps at the logits: {', '.join(apart)}"
    )
