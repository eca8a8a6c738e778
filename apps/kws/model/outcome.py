"""Print what adapting a spotter would take, and what it gave."""

from __future__ import annotations

from typing import Any

import numpy as np

from apps.kws.model.adaptation import Job, SpotterResult
from apps.kws.model.spotter import is_free
from apps.printed_report import print_forgetting
from tflm_fg.requirements import in_words

TITLES = {
  "test": "clips that were not trained on",
  "train": "the clips that were trained on",
  "old": "what the model knew",
  "replay": "the replay set",
}
"""What the parts of the scores are called."""


def print_estimate(estimate: dict[str, Any]) -> None:
  """What a run would do, for people."""
  print(
    f"would train {estimate['trainable_parameters']} numbers "
    f"({', '.join(estimate['trainable'])}) on {estimate['train_clips']} clips "
    f"in {estimate['steps']} steps and {estimate['forward_passes']} forward "
    f"passes, with {estimate['trainer_bytes']} bytes beyond inference: about "
    f"{estimate['seconds']:.1f} s"
  )


def print_gaps(job: Job) -> None:
  """Which words nobody has said, for people: before anything is trained."""
  known = set(job.train.y.tolist())
  if job.replay is not None:
    known |= set(np.unique(job.replay.y).tolist())
  missing = [
    name
    for label, name in enumerate(job.spotter.classes)
    if label not in known and not is_free(name)
  ]
  if missing:
    print(
      f"no clips of {len(missing)} of {len(job.spotter.classes)} classes: "
      f"{', '.join(missing)}"
    )


def print_outcome(result: SpotterResult) -> None:
  """The main numbers, for people."""
  report, classes = result.report, result.job.spotter.classes
  for note in report["notes"]:
    print(f"note: {note}")
  for name, (before, after) in result.scores.items():
    print(
      f"{TITLES[name]} ({before.clips} clips): accuracy "
      f"{100 * before.accuracy:.1f} % -> {100 * after.accuracy:.1f} %"
    )
  before, after = next(iter(result.scores.values()))
  firsts = {row["word"]: row for row in before.words(classes)}
  for row in after.words(classes):
    change = row["recall"] - firsts[row["word"]]["recall"]
    print(
      f"  {row['word']:12} {100 * row['recall']:5.1f} % "
      f"({100 * change:+.1f} points, {row['clips']} clips)"
    )
  print(
    f"{report['trainable_parameters']} numbers trained on "
    f"{sum(report['clips'].values())} clips, {report['augmented_clips']} "
    f"copies and {report['replay_clips']} old clips\n"
    f"{report['forward_passes']} forward passes, {report['seconds']:.1f} s; "
    f"training adds {report['trainer_bytes']} bytes to inference, the replay "
    f"set is {report['replay_bytes']} bytes"
  )
  told = report["forgetting"]
  if told and told["measured_on"] == "estimate":
    print_forgetting(told)
  for line in in_words(report["needs"]):
    print(line)
