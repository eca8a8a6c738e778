"""Count what an adaptation took: passes, samples and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tflm_fg.placement.candidates import Candidate, Dropped
from tflm_fg.placement.request import TrainingData
from tflm_fg.placement.run_plan import RunResult
from tflm_fg.placement.split_model import SplitModel


def _graphs(
  run_result: RunResult,
  candidates: Sequence[Candidate],
  dropped: Sequence[Dropped],
) -> list[SplitModel]:
  """All that ran, each once."""
  tried = [
    o
    for candidate in candidates
    for o in (*candidate.phase_results, *candidate.others)
  ]
  ran = (*tried, *run_result.tried, *run_result.phase_results)
  opened = [phase_result.graph for phase_result in ran]
  others = [c.graph for c in candidates] + [d.graph for d in dropped]
  opened += [graph for graph in others if graph is not None]
  return list({id(graph): graph for graph in opened}.values())


def passes_of(
  run_result: RunResult,
  candidates: Sequence[Candidate],
  dropped: Sequence[Dropped],
) -> int:
  """Forward passes of a run and of all that was tried before it."""
  measuring_passes = run_result.measuring_passes + sum(
    candidate.measuring_passes for candidate in candidates
  )
  graphs = _graphs(run_result, candidates, dropped)
  return measuring_passes + sum(graph.forward_passes for graph in graphs)


def cost(
  run_result: RunResult,
  candidates: Sequence[Candidate],
  dropped: Sequence[Dropped],
  training_data: TrainingData,
  seconds: float,
) -> dict[str, Any]:
  """What it took, all that was tried included, and how it ran."""
  graphs = _graphs(run_result, candidates, dropped)
  last = (
    run_result.phase_results[-1]
    if run_result.phase_results
    else run_result.tried[-1]
  )
  return {
    "steps": sum(len(record.slopes) for record in run_result.records),
    "kept_step": sum(record.kept_step for record in run_result.records),
    "forward_passes": passes_of(run_result, candidates, dropped),
    "samples_run": sum(g.samples_run for g in graphs),
    "seconds": seconds,
    "invoke_seconds": sum(g.invoke_seconds for g in graphs),
    "train_samples": len(training_data.fit),
    "validation_samples": len(training_data.kept),
    "feature_cache_bytes": last.cached_bytes,
    "prefix_runtime": last.graph.prefix and last.graph.prefix.traits.runtime,
    **last.choice.told(),
  }
