"""Score the model after every step of a run, from its journal.

The journal makes each step again without an engine, and the clips are scored
with the weights of that step. So a curve has points wherever it is looked at,
and training itself runs no pass more for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import tflm_fg
from tflm_fg.fixed_point import Layout
from tflm_fg.placement import SplitModel, masters_of
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.samples import Dataset
from tflm_fg.tflite import read_mark
from tflm_fg.training import StepRule, score_weights, step_rule
from tflm_fg.types import Array, Mark, Params, TrainableTensor

MOST_POINTS = 50
"""Points of a phase; a phase of fewer steps has one a step."""

EXACT = "head: exact gradient"
"""What a phase in the closed form is called."""


@dataclasses.dataclass(frozen=True)
class CurvePhase:
  """One phase of a run.

  Attributes:
    title: what it trains and how.
    passes: forward passes of the run before each point.
    accuracies: share of the clips that are right there, 0 to 1.
  """

  title: str
  passes: list[int]
  accuracies: list[float]


class _Point(NamedTuple):
  """Masters of all marked tensors, and the passes that led to them."""

  passes: int
  masters: dict[int, Array]


def curve_of(
  result: tflm_fg.AdaptResult,
  clips: tuple[Array, Array],
  runtime: str = "litert",
) -> list[CurvePhase]:
  """The accuracy over the forward passes of the phases that were kept.

  Passes that chose a candidate or a setting, or only validated, do not count.

  Args:
    result: of adapting.
    clips: x and y of clips to score, none of which was trained on.
    runtime: the engine that scores.
  """
  mark = read_mark(result.start)
  layout = Layout(mark.trainable)
  # XNNPACK's kernels score a whole network several times faster.
  strategy = "rebuild" if runtime == "litert" else "auto"
  options = RuntimeOptions(runtime=runtime, strategy=strategy, workers=1)
  graph = SplitModel(result.start, mark, options)
  samples = graph.samples(Dataset(*clips), "clips")
  loss = graph.loss()
  masters = masters_of(result.start, mark)
  passes, phases = 0, []
  records = result.journal.records
  for place, record in enumerate(records):
    points = _points(record, mark.trainable, masters, passes)
    passes, masters = points[-1]
    scores = [
      score_weights(
        graph.suffix, layout.weights(layout.gather(p.masters)), samples, loss
      )
      for p in points
    ]
    phases.append(
      CurvePhase(
        _title(record, mark, place == len(records) - 1),
        [p.passes for p in points],
        [score.accuracy for score in scores],
      )
    )
  return phases


def _title(record: Any, mark: Mark, is_last: bool) -> str:
  """What a phase trains, in a picture's words."""
  method = record.phase.method
  if method.is_exact:
    return EXACT
  is_stage = len(record.phase.tensors) < len(mark.trainable) or not is_last
  return f"{'input stage' if is_stage else 'trained'}: {method.name}"


def _points(
  record: Any,
  trainable: Sequence[TrainableTensor],
  masters: Mapping[int, Array],
  passes: int,
) -> list[_Point]:
  """What a phase's steps make of the masters, at some of them."""
  addresses = record.addresses
  own = {t.index for t in trainable if t.index in addresses}
  layout = Layout(
    tuple(
      dataclasses.replace(t, index=addresses[t.index])
      for t in trainable
      if t.index in own
    )
  )
  method = record.phase.method
  rule: StepRule = step_rule(
    method, layout, record.batch_size, centre=record.centre
  )
  held = {addresses[i]: masters[i] for i in own if i in masters}
  state = rule.start(layout.gather(held))

  def point(step: int, params: Params) -> _Point:
    found = layout.scatter(params)
    trained = {i: found[addresses[i]] for i in own if i in masters}
    return _Point(
      passes + step * max(1, method.passes_at_once()), {**masters, **trained}
    )

  kept = record.kept_step
  due = {int(s) for s in np.rint(np.linspace(0, kept, MOST_POINTS))}
  points = [point(0, state.params)]
  for slopes in record.slopes[:kept]:
    state = rule.replayed(state, slopes)
    if state.step in due:
      points.append(point(state.step, state.params))
  return points
