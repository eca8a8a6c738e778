"""Say what an adaptation did, cost and chose; JSON-ready."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflm_fg.memory import footprint
from tflm_fg.placement.candidates import Way, best_way
from tflm_fg.placement.phase import Material
from tflm_fg.placement.run_plan import Course
from tflm_fg.tflite.training_metadata import strip
from tflm_fg.training.objective import Task, width
from tflm_fg.training.settings import Settings


def facts(
  course: Course,
  ways: Sequence[Way],
  material: Material,
  model: bytes,
  settings: Settings,
  seconds: float,
) -> dict[str, Any]:
  """All that a report tells beside scores.

  Args:
    course: what was done.
    ways: what was tried before.
    material: the clips.
    model: the user's file.
    settings: as the user gave them.
    seconds: that it took.
  """
  return {
    **_cost(course, ways, material, seconds),
    **_model_facts(course, model, settings, material.task),
    "ways": _tried(ways),
    "notes": [*course.marked.notes, *_remarks(course, material, settings)],
    "versions": versions(),
  }


def _remarks(
  course: Course, material: Material, settings: Settings
) -> list[str]:
  """What a user should know of the result."""
  if settings.validation_fraction != 0 and not len(material.kept):
    return ["too few clips to keep any aside; the last step was taken"]
  if len(material.kept) and not any(r.kept_step for r in course.records):
    return [
      "no step was better than the start on the clips kept aside; the weights "
      "are unchanged: try more steps or a lower learning rate"
      if material.labelled
      else "without labels there was nothing to gain on the clips kept aside; "
      "the weights are unchanged"
    ]
  return []


def _tried(ways: Sequence[Way]) -> list[dict[str, Any]]:
  """What was tried, for the report."""
  chosen = best_way(ways) if ways else None
  return [
    {
      "trainable": way.title,
      "loss": way.loss,
      "accuracy": None if np.isnan(way.accuracy) else way.accuracy,
      "chosen": way is chosen,
    }
    for way in ways
  ]


def _cost(
  course: Course, ways: Sequence[Way], material: Material, seconds: float
) -> dict[str, Any]:
  """What it took, all that was tried included, and how it ran."""
  tried = [o for way in ways for o in (*way.outcomes, *way.others)]
  ran = (*tried, *course.tried, *course.outcomes)
  graphs = {id(outcome.graph): outcome.graph for outcome in ran}.values()
  surveyed = course.surveyed + sum(way.surveyed for way in ways)
  last = course.outcomes[-1] if course.outcomes else course.tried[-1]
  return {
    "steps": sum(len(record.slopes) for record in course.records),
    "kept_step": sum(record.kept_step for record in course.records),
    "forward_passes": surveyed + sum(g.forward_passes for g in graphs),
    "samples_run": sum(g.samples_run for g in graphs),
    "seconds": seconds,
    "invoke_seconds": sum(g.invoke_seconds for g in graphs),
    "train_clips": len(material.fit),
    "validation_clips": len(material.kept),
    "feature_cache_bytes": last.cached_bytes,
    "prefix_runtime": last.graph.prefix and last.graph.prefix.traits.runtime,
    "strategy": last.choice.strategy,
    "strategy_seconds": last.choice.seconds,
    "workers": last.choice.workers,
  }


def _model_facts(
  course: Course, model: bytes, settings: Settings, task: Task
) -> dict[str, Any]:
  """What trained, in what file, with which settings."""
  tensors = {t.index: t for t in course.marked.mark.trainable}
  parts = footprint.trainer_bytes(
    course.marked.mark.trainable,
    [record.phase for record in course.records],
    width(course.tried[-1].graph.logits),
  )
  return {
    "trainable": [t.name for t in tensors.values()],
    "trainable_parameters": course.marked.mark.numbers,
    "trainer_bytes": parts.total,
    "trainer_bytes_parts": dataclasses.asdict(parts),
    "model_bytes": len(strip(course.marked.data)),
    "added_bytes": len(strip(course.marked.data)) - len(strip(model)),
    "method": "+".join(r.phase.settings.method for r in course.records)
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
        "chosen": outcome.reasons,
        "strategy": outcome.choice.strategy,
        "strategy_seconds": outcome.choice.seconds,
        "workers": outcome.choice.workers,
      }
      for record, outcome in zip(course.records, course.outcomes, strict=True)
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
