"""Train what a user chose, and take back what may harm other classes."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings

from tflm_fg.forgetting.class_folds import judged
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.placement.candidates import HARM, Dropped
from tflm_fg.placement.head_folds import HeadFolds, room_note
from tflm_fg.placement.measure import answers_of, measured
from tflm_fg.placement.phase import OpenPhase, open_marked
from tflm_fg.placement.phase_record import masters_of, write_masters
from tflm_fg.placement.request import Request, TrainingData
from tflm_fg.placement.run_plan import (
  RunPlan,
  RunResult,
  from_the_file,
  phases_of,
  run_phases,
)
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel, mark_file
from tflm_fg.tflite.training_metadata import stripped
from tflm_fg.types import NotApplicable

MOST_FOLD_STEPS = 300
"""A head that takes more steps is not fitted over folds before it runs: that
would take as long, and an interrupted run would have nothing to keep."""


def run_choice(
  model: ModelFile,
  trainable: str,
  training_data: TrainingData,
  request: Request,
) -> tuple[RunResult, list[Dropped]]:
  """Trains what a user chose.

  A head alone whose weights end at -127 or 127 in folds of the samples is
  trained with room, if it then serves samples better that it has not seen.

  Args:
    model: the plain file.
    trainable: as for `mark_trainable`.
    training_data: the samples.
    request: what the user asked for.

  Returns:
    What trained, and the head without room, if one with room took its place.
  """
  graph_options, measuring_passes = request.graph_options, 0
  dropped = list[Dropped]()
  if training_data.coverage is not None:
    trainable, dropped = _narrower(trainable)
  if "wide-head" in [part.strip() for part in trainable.split(",")]:
    graph_options, measuring_passes = measured(
      model,
      training_data.x,
      graph_options,
      request.runtime_options,
      request.memo,
    )
  plan = RunPlan(trainable, graph_options)
  marked = mark_file(model, plan.trainable, graph_options=plan.graph_options)
  open_phase = _open_exact(marked, plan, training_data, request)
  opened = None
  if open_phase is not None:
    # Only an engine can compute some heads.
    with contextlib.suppress(NotApplicable):
      opened = HeadFolds.of(
        model,
        trainable.strip(),
        marked,
        graph_options,
        open_phase.graph,
        open_phase.inputs,
        training_data,
        request,
      )
  if opened is not None:
    request.tell_plan((trainable, "folds"), (trainable, ClosedForm.name))
    with request.phase(trainable, "folds"):
      score = opened.best(_pulls(opened))
      roomier = opened.roomier(score, _pulls(opened))
    if roomier is not None:
      run_result = _with_room(roomier[0], score.saturated, measuring_passes)
      reason = (
        f"{100 * score.saturated:.0f} % of its weights ended at -127 or 127"
      )
      if run_result.has_helped:
        dropped.append(Dropped(trainable.strip(), reason, opened.graph))
        return run_result, dropped
      dropped.append(Dropped(f"{trainable.strip()} with room", HARM))
  run_result = run_kept(
    model, marked, plan, training_data, request, measuring_passes, open_phase
  )
  tried = opened is not None
  return dataclasses.replace(run_result, room_tried=tried), dropped


def _narrower(trainable: str) -> tuple[str, list[Dropped]]:
  """The same with the head in place of a wide one."""
  parts = [part.strip() for part in trainable.split(",")]
  if "wide-head" not in parts:
    return trainable, []
  reason = (
    "nothing says what its new inputs are like in classes without samples; the "
    "head was trained in its place"
  )
  narrow = ["head" if part == "wide-head" else part for part in parts]
  return ",".join(narrow), [Dropped("wide-head", reason)]


def _open_exact(
  marked: MarkedModel,
  plan: RunPlan,
  training_data: TrainingData,
  request: Request,
) -> OpenPhase | None:
  """The phase of a head that may be given room, open; None for all else."""
  head, task = plan.trainable.strip(), training_data.task
  may = head in ("head", "wide-head") and plan.graph_options.head_room is None
  if not (may and task.is_exact and task.labelled and len(training_data.kept)):
    return None
  phase, *others = phases_of(
    marked, request.method, request.objective, training_data.pull
  )
  if others or not isinstance(phase.method, ClosedForm):
    return None
  if phase.method.steps > MOST_FOLD_STEPS:
    return None
  request.require_use([ClosedForm])
  return open_marked(
    phase, marked, masters_of(marked.file, marked.mark), training_data, request
  )


def _pulls(opened: HeadFolds) -> list[float]:
  """The pull that a user has set for a head; none by default.

  A head that keeps classes has one.
  """
  method = opened.method(opened.training_data.pull or 0.0)
  return [method.pull] if isinstance(method, ClosedForm) else [0.0]


def _with_room(
  opened: HeadFolds, saturated: float, measuring_passes: int
) -> RunResult:
  """A head trained with room, whose scores of before are the file's."""
  plan = RunPlan(opened.head, opened.graph_options)
  note = room_note(opened, saturated)
  marked = opened.marked._replace(notes=(note, *opened.marked.notes))
  training_data, request = opened.training_data, opened.request
  ran = run_phases(marked, plan, training_data, request, measuring_passes)
  first, passes = from_the_file(
    opened.model, ran.tried[0], training_data, request
  )
  passes += ran.measuring_passes
  return dataclasses.replace(
    ran, tried=(first, *ran.tried[1:]), measuring_passes=passes
  )


def run_kept(
  model: ModelFile | None,
  marked: MarkedModel,
  plan: RunPlan | None,
  training_data: TrainingData,
  request: Request,
  measuring_passes: int = 0,
  opened: OpenPhase | None = None,
) -> RunResult:
  """Runs the phases of a choice, and takes back what may harm other classes.

  A head that imagined inputs keep is trained without more ado. All else is
  judged by samples of classes that are left out.

  Args:
    model: the plain file; None where `marked` is the user's own.
    marked: the marked file.
    plan: how it came from the plain file; None where it was given.
    training_data: the samples.
    request: what the user asked for.
    measuring_passes: passes that measured what a wide head joins.
    opened: the first phase, where it is open already.
  """

  def ran(
    part: TrainingData,
    first: OpenPhase | None = None,
    request: Request = request,
  ) -> RunResult:
    return run_phases(marked, plan, part, request, measuring_passes, first)

  if training_data.coverage is None:
    return ran(training_data, opened)
  phase, *others = phases_of(
    marked, request.method, request.objective, training_data.pull
  )
  if not others and opened is None:
    masters = masters_of(marked.file, marked.mark)
    opened = open_marked(phase, marked, masters, training_data, request)
  if not others and opened is not None and opened.head is not None:
    return ran(training_data, opened)
  quiet = dataclasses.replace(request, callbacks=())
  task, engine = training_data.task, request.runtime_options
  fault = judged(
    stripped(marked.file),
    training_data.labels[: len(training_data.x)],
    training_data.coverage,
    lambda fit: stripped(
      adapted_by(ran(training_data.only(fit), request=quiet))
    ),
    lambda file, rows: answers_of(file, training_data.x[rows], task, engine),
  ).fault
  run_result = ran(training_data, opened)
  if not fault:
    return run_result
  told = (
    f"the file is left as it was: {fault}; train the head, give samples of the "
    "other classes, or let them go with absent_classes=ignore"
  )
  return untrained(run_result, model, told)


def untrained(
  run_result: RunResult, model: ModelFile | None, told: str
) -> RunResult:
  """A run whose phases are all taken back.

  Args:
    run_result: what was done.
    model: the plain file, to drop what was added to it; None to leave the
      marked file that the run began with.
    told: why, for people; it is warned of, and becomes a note.
  """
  warnings.warn(told, stacklevel=3)
  marked, plan = run_result.marked, run_result.plan
  if model is not None:
    plan = RunPlan("head", GraphOptions())
    marked = mark_file(model, plan.trainable)._replace(notes=marked.notes)
  marked = marked._replace(notes=(*marked.notes, told))
  return dataclasses.replace(
    run_result,
    marked=marked,
    plan=plan,
    masters=masters_of(marked.file, marked.mark),
    phase_results=(),
  )


def adapted_by(run_result: RunResult) -> ModelFile:
  """The file with what was trained, marked."""
  marked = run_result.marked
  return write_masters(marked.file, marked.mark, run_result.masters)
