"""Say what an adaptation did, cost and chose; JSON-ready."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflm_fg.memory import footprint
from tflm_fg.placement.candidates import Candidate, Dropped, best_candidate
from tflm_fg.placement.phase import TrainingData
from tflm_fg.placement.run_plan import RunResult
from tflm_fg.tflite.training_metadata import strip
from tflm_fg.training.objective import Task, width
from tflm_fg.training.settings import Settings


def facts(
  run_result: RunResult,
  candidates: Sequence[Candidate],
  dropped: Sequence[Dropped],
  training_data: TrainingData,
  model: bytes,
  settings: Settings,
  seconds: float,
) -> dict[str, Any]:
  """All that a report tells beside scores.

  Args:
    run_result: what was done.
    candidates: what was tried before.
    dropped: what was not tried to its end, and why.
    training_data: the samples.
    model: the user's file.
    settings: as the user gave them.
    seconds: that it took.
  """
  return {
    **_cost(run_result, candidates, training_data, seconds),
    **_model_facts(run_result, model, settings, training_data.task),
    "ways": _tried(candidates),
    "dropped": [d._asdict() for d in dropped],
    "notes": [
      *run_result.marked.notes,
      *_remarks(run_result, training_data, settings),
    ],
    "versions": versions(),
  }


def _remarks(
  run_result: RunResult, training_data: TrainingData, settings: Settings
) -> list[str]:
  """What a user should know of the result."""
  if settings.validation_fraction != 0 and not len(training_data.kept):
    return ["too few samples to keep any aside; the last step was taken"]
  if len(training_data.kept) and not any(
    r.kept_step for r in run_result.records
  ):
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


def _cost(
  run_result: RunResult,
  candidates: Sequence[Candidate],
  training_data: TrainingData,
  seconds: float,
) -> dict[str, Any]:
  """What it took, all that was tried included, and how it ran."""
  tried = [
    o
    for candidate in candidates
    for o in (*candidate.phase_results, *candidate.others)
  ]
  ran = (*tried, *run_result.tried, *run_result.phase_results)
  graphs = {
    id(phase_result.graph): phase_result.graph for phase_result in ran
  }.values()
  measuring_passes = run_result.measuring_passes + sum(
    candidate.measuring_passes for candidate in candidates
  )
  last = (
    run_result.phase_results[-1]
    if run_result.phase_results
    else run_result.tried[-1]
  )
  return {
    "steps": sum(len(record.slopes) for record in run_result.records),
    "kept_step": sum(record.kept_step for record in run_result.records),
    "forward_passes": measuring_passes + sum(g.forward_passes for g in graphs),
    "samples_run": sum(g.samples_run for g in graphs),
    "seconds": seconds,
    "invoke_seconds": sum(g.invoke_seconds for g in graphs),
    "train_clips": len(training_data.fit),
    "validation_clips": len(training_data.kept),
    "feature_cache_bytes": last.cached_bytes,
    "prefix_runtime": last.graph.prefix and last.graph.prefix.traits.runtime,
    "strategy": last.choice.strategy,
    "strategy_reason": last.choice.reason,
    "strategy_seconds": last.choice.seconds,
    "workers": last.choice.workers,
  }


def _model_facts(
  run_result: RunResult, model: bytes, settings: Settings, task: Task
) -> dict[str, Any]:
  """What trained, in what file, with which settings."""
  tensors = {t.index: t for t in run_result.marked.mark.trainable}
  parts = footprint.trainer_bytes(
    run_result.marked.mark.trainable,
    [record.phase for record in run_result.records],
    width(run_result.tried[-1].graph.logits),
  )
  return {
    "trainable": [t.name for t in tensors.values()],
    "trainable_parameters": run_result.marked.mark.numbers,
    "trainer_bytes": parts.total,
    "trainer_bytes_parts": dataclasses.asdict(parts),
    "model_bytes": len(strip(run_result.marked.data)),
    "added_bytes": len(strip(run_result.marked.data)) - len(strip(model)),
    "method": "+".join(r.phase.settings.method for r in run_result.records)
    or "nothing",
    "labels": "given" if task.labelled else "none",
    "targets": task.targets,
    "loss": task.title,
    "seed": settings.seed,
    "settings": dataclasses.asdict(settings),
    "phases": [
      {
        "trainable": [tensors[i].name for i in record.phase.tensors],
        "steps": len(record.slopes),
        "kept_step": record.kept_step,
        "settings": dataclasses.asdict(record.phase.settings),
        "chosen": phase_result.reasons,
        "strategy": phase_result.choice.strategy,
        "strategy_reason": phase_result.choice.reason,
        "strategy_seconds": phase_result.choice.seconds,
        "workers": phase_result.choice.workers,
      }
      for record, phase_result in zip(
        run_result.records, run_result.phase_results, strict=True
      )
    ],
  }


_PACKAGES = (
  "tflm-fg",
  "numpy",
  "ai-edge-litert",
  "tflite-runtime",
  "tensorflow-cpu",
  "tensorflow",
  "tflite-micro",
)


def versions() -> dict[str, str]:
  """Versions of this project and of the engines that are installed."""
  found = {}
  for package in _PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found
