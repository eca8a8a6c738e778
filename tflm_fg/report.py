"""Say what an adaptation did, cost and chose; JSON-ready."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tflm_fg.gradients.method import Method
from tflm_fg.memory import footprint
from tflm_fg.placement.candidates import Candidate, Dropped, best_candidate
from tflm_fg.placement.request import Request, TrainingData
from tflm_fg.placement.run_plan import RunResult
from tflm_fg.runtimes.registry import versions
from tflm_fg.tflite.choice.outputs import choice_note, meant_output
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import without_mark
from tflm_fg.training.objective import Task, width
from tflm_fg.training.settings_record import to_record

_OLD_KEYS = {
  "ways": "candidates",
  "train_clips": "train_samples",
  "validation_clips": "validation_samples",
  "scored_clips": "scored_samples",
}
"""Old names, which stay in the JSON beside the new ones for a version."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(Mapping[str, Any]):
  """What an adaptation did, cost and chose.

  It is also a mapping with the keys of its JSON form: `dict(report)`.

  Attributes:
    scored_on: "test", "validation" or "train": the samples of the scores.
    scored_samples: how many.
    accuracy_before: share of right answers of the file as it came; None
      without classes.
    accuracy_after: the same of the adapted file.
    mae_before: mean absolute error, for real targets; else None.
    mae_after: the same of the adapted file.
    loss_before: mean loss, in nats for cross-entropy.
    loss_after: the same of the adapted file.
    classes: a table a class: its samples and accuracy before and after; see
      `file_scores.class_rows`. Empty where there is no one class a sample.
    data_notes: what was found in the samples: copies, silence, units in doubt;
      each was warned of before training.
    absent_classes: numbers of the classes without samples to learn from.
    forgetting: how samples of before are answered before and after; None where
      neither samples nor an estimate say. `measured_on` is "old_data",
      "replay" (samples that were trained on too) or "estimate".
    method: the methods that ran, joined by "+".
    labels: "given" or "none".
    targets: "classes", "reals" or "none".
    loss: the loss's name.
    trainable: names of the tensors that trained.
    trainable_parameters: how many numbers they hold.
    steps: steps of all phases.
    kept_step: how many of them were kept.
    forward_passes: runs of one batch, all that was tried included.
    samples_run: samples in those runs.
    seconds: that it took.
    invoke_seconds: of them, inside the engine.
    train_samples: samples trained on.
    validation_samples: samples kept aside.
    feature_cache_bytes: of what flows into the trained part.
    prefix_runtime: what ran the frozen layers; None where all train.
    strategy: "in-place" or "rebuild".
    strategy_reason: why that one.
    strategy_seconds: seconds a pass, where it was timed.
    workers: passes side by side.
    trainer_bytes: what a step needs beyond inference on a microcontroller.
    trainer_bytes_parts: the same by part.
    model_bytes: of the plain adapted file.
    added_bytes: how much larger it is than the user's.
    seed: see `Method`.
    settings: of the method, as the user gave them.
    phases: a table a phase.
    candidates: a table a candidate that was tried.
    dropped: candidates that were not tried to their end, each with its reason.
    output: position of the output that was trained and scored.
    other_outputs: a table for each other output, how far it moved; see
      `forgetting.other_outputs`.
    notes: what a user should know.
    interrupted: whether a signal ended it early, see
      `callbacks.StopOnInterrupt`.
    engine_agreement: how far the installed engines are apart on the adapted
      file, in output steps; see `runtimes.agreement.Agreement`.
    needs: what the adapted file needs on a device, beside what the user's
      needed: operators, arena, bytes, engines that run it; see
      `requirements.requirements`.
    versions: of the packages.
    runtime: the engine of what trained.
  """

  scored_on: str
  scored_samples: int
  accuracy_before: float | None
  accuracy_after: float | None
  mae_before: float | None
  mae_after: float | None
  loss_before: float
  loss_after: float
  classes: list[dict[str, Any]]
  absent_classes: list[int]
  steps: int
  kept_step: int
  forward_passes: int
  samples_run: int
  seconds: float
  invoke_seconds: float
  train_samples: int
  validation_samples: int
  feature_cache_bytes: int
  prefix_runtime: str | None
  strategy: str
  strategy_reason: str
  strategy_seconds: dict[str, float]
  workers: int
  trainable: list[str]
  trainable_parameters: int
  trainer_bytes: int
  trainer_bytes_parts: dict[str, int]
  model_bytes: int
  added_bytes: int
  method: str
  labels: str
  targets: str
  loss: str
  seed: int
  settings: dict[str, Any]
  phases: list[dict[str, Any]]
  candidates: list[dict[str, Any]]
  dropped: list[dict[str, str]]
  output: int
  other_outputs: list[dict[str, Any]]
  notes: list[str]
  interrupted: bool
  engine_agreement: list[dict[str, Any]]
  needs: dict[str, Any]
  versions: dict[str, str]
  runtime: str
  data_notes: list[str] = dataclasses.field(default_factory=list)
  forgetting: dict[str, Any] | None = None

  def __getitem__(self, key: str) -> Any:
    try:
      return getattr(self, _OLD_KEYS.get(key, key))
    except AttributeError:
      raise KeyError(key) from None

  def __iter__(self) -> Iterator[str]:
    yield from (field.name for field in dataclasses.fields(self))
    yield from _OLD_KEYS

  def __len__(self) -> int:
    return len(dataclasses.fields(self)) + len(_OLD_KEYS)

  def summary(self) -> str:
    """The main numbers in one short line."""
    name, before, after = "loss", self.loss_before, self.loss_after
    for other in ("mae", "accuracy"):
      if self[f"{other}_after"] is not None:
        name = other
        before, after = self[f"{other}_before"], self[f"{other}_after"]
    return (
      f"{name} {before:.3g} -> {after:.3g} on {self.scored_samples} "
      f"{self.scored_on} samples, {self.forward_passes} passes, {self.method}"
    )


def facts(
  run_result: RunResult,
  candidates: Sequence[Candidate],
  dropped: Sequence[Dropped],
  training_data: TrainingData,
  model: ModelFile,
  request: Request,
  notes: Sequence[str],
) -> dict[str, Any]:
  """All that a report tells beside scores and cost.

  Args:
    run_result: what was done.
    candidates: what was tried before.
    dropped: what was not tried to its end, and why.
    training_data: the samples.
    model: the user's file.
    request: what the user asked for.
    notes: of weights at an end of their range.
  """
  return {
    **_model_facts(run_result, model, request, training_data.task),
    "candidates": _tried(candidates),
    "dropped": [
      {"candidate": d.candidate, "reason": d.reason} for d in dropped
    ],
    "output": meant_output(model.subgraph).position,
    "notes": [
      *filter(None, [choice_note(model.subgraph)]),
      *run_result.marked.notes,
      *notes,
      *_remarks(run_result, training_data, request.method),
      *([_CUT_SHORT] if request.stop.interrupted else []),
    ],
    "interrupted": request.stop.interrupted,
    "versions": versions(),
    "runtime": request.runtime_options.runtime,
  }


_CUT_SHORT = "interrupted: what was best by then is kept"


def _remarks(
  run_result: RunResult, training_data: TrainingData, method: Method
) -> list[str]:
  """What a user should know of the result."""
  if method.validation_fraction != 0 and not len(training_data.kept):
    return ["too few samples to keep any aside; the last step was taken"]
  if len(training_data.kept) and not any(
    r.kept_step for r in run_result.records
  ):
    if not run_result.records and training_data.labelled:
      return [
        "nothing that was tried was surely better than the file as it is on "
        "samples that it had not seen; the weights are unchanged: more samples "
        "say more"
      ]
    return [
      "no step was better than the start on the samples kept aside; the "
      "weights are unchanged: try more steps or a lower learning rate"
      if training_data.labelled
      else "without labels there was nothing to gain on the samples kept "
      "aside; the weights are unchanged"
    ]
  return []


def _tried(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
  """What was tried, for the report."""
  chosen = best_candidate(candidates) if candidates else None
  return [
    {
      "trainable": candidate.title,
      "loss": candidate.loss,
      "accuracy": None if np.isnan(candidate.accuracy) else candidate.accuracy,
      "chosen": candidate is chosen,
    }
    for candidate in candidates
  ]


def _model_facts(
  run_result: RunResult, model: ModelFile, request: Request, task: Task
) -> dict[str, Any]:
  """What trained, in what file, with which settings."""
  tensors = {t.index: t for t in run_result.marked.mark.trainable}
  parts = footprint.trainer_bytes(
    run_result.marked.mark.trainable,
    [record.phase for record in run_result.records],
    width(run_result.tried[-1].graph.logits),
  )
  plain_bytes = len(without_mark(run_result.marked.file))
  return {
    "trainable": [t.name for t in tensors.values()],
    "trainable_parameters": run_result.marked.mark.numbers,
    "trainer_bytes": parts.total,
    "trainer_bytes_parts": dataclasses.asdict(parts),
    "model_bytes": plain_bytes,
    "added_bytes": plain_bytes - len(without_mark(model)),
    "method": "+".join(r.phase.method.name for r in run_result.records)
    or "nothing",
    "labels": "given" if task.labelled else "none",
    "targets": task.targets,
    "loss": task.title,
    "seed": request.method.seed,
    "settings": to_record(request.method, request.objective),
    "phases": [
      {
        "trainable": [tensors[i].name for i in record.phase.tensors],
        "saturated": run_result.saturated(record),
        "steps": len(record.slopes),
        "kept_step": record.kept_step,
        "settings": to_record(record.phase.method, record.phase.objective),
        "chosen": phase_result.reasons,
        **phase_result.choice.told(),
      }
      for record, phase_result in zip(
        run_result.records, run_result.phase_results, strict=True
      )
    ],
  }
