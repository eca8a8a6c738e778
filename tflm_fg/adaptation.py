"""From a .tflite and clips to an adapted .tflite and a report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflm_fg.evaluation import score_file
from tflm_fg.journal import Journal, sha256
from tflm_fg.losses.custom import LossFunction, exact_refusal
from tflm_fg.placement.candidates import Way, best_way
from tflm_fg.placement.measure import measured
from tflm_fg.placement.phase import Material
from tflm_fg.placement.phase_record import write_masters
from tflm_fg.placement.run_plan import Course, Grown, finish, follow
from tflm_fg.placement.search import try_ways
from tflm_fg.placement.split_model import Host, input_spec
from tflm_fg.report import facts
from tflm_fg.tflite.select_trainable import Marked, Surgery, mark, unmarked
from tflm_fg.tflite.tensors import TensorSpec, tensor_spec
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.training.callbacks import Callback, History
from tflm_fg.training.data import Dataset, array_of, hold_out, model_input
from tflm_fg.training.metrics import Score, score
from tflm_fg.training.objective import (
  CLASSIFY,
  Task,
  checked,
  spec_for,
  task_of,
)
from tflm_fg.training.settings import Settings
from tflm_fg.types import Array, TflmFgError

KEPT_FRACTION, COMPARED_FRACTION = 0.15, 0.25
"""Share of the clips kept aside; more where ways of adapting are compared."""


@dataclasses.dataclass(frozen=True)
class Adapted:
  """What adapting gives.

  Attributes:
    model: the adapted file, still marked; `tflm_fg.strip` takes the mark off.
    marked: the marked file that training began with.
    report: what was done and what it gave; JSON-ready.
    journal: seed and slopes, to make `model` again from `marked`.
    history: curves over forward passes.
  """

  model: bytes
  marked: bytes
  report: dict[str, Any]
  journal: Journal
  history: History


def adapt(
  model: bytes,
  x: Array,
  y: Array | None = None,
  *,
  test: tuple[Array, Array] | None = None,
  trainable: str | None = None,
  surgery: Surgery | None = None,
  runtime: str = "litert",
  strategy: str = "auto",
  exact_prefix: bool = False,
  workers: int | None = None,
  settings: Settings | None = None,
  loss: LossFunction | None = None,
  callbacks: Sequence[Callback] = (),
  name: str = "model",
) -> Adapted:
  """Adapts a quantized .tflite with forward passes alone.

  Args:
    model: an int8 or int16x8 .tflite, marked or not.
    x: clips [N, ...], floats in the units the model was trained on or
      integers of its input dtype.
    y: classes, integers [N]; real targets [N] or [N, outputs], under another
      loss than cross-entropy; None to learn without labels.
    test: clips and y that are only scored, before and after.
    trainable: as for `mark`, or "auto" to try the places that the file allows
      and take the best; None takes the file's mark, or "auto" where it has
      none.
    surgery: how the file may change for what shall train.
    runtime: one of `runtimes.NAMES`.
    strategy: "in-place"; "rebuild", on "litert" with XNNPACK's kernels; or
      "auto", which on "litert" times both and takes what is clearly faster.
    exact_prefix: run frozen layers on `runtime` too, and not on XNNPACK.
    workers: passes side by side, at most; None for as many as pay.
    settings: how to train.
    loss: a function of your own in place of `settings.loss`; see `BlackBox`.
    callbacks: told of every step of forward gradients.
    name: what to call the model in errors.

  Returns:
    The adapted file and a report. No phase is kept that is right on fewer of
    the clips kept aside than its start; without labels, for real targets and
    under a function, none with a higher loss there. The notes say where none.

  Raises:
    TflmFgError: in one line, if anything does not fit.

  Example:
    >>> result = tflm_fg.adapt(open("kws.tflite", "rb").read(), x, y)
    >>> open("adapted.tflite", "wb").write(tflm_fg.strip(result.model))
  """
  settings, surgery = settings or Settings(), surgery or Surgery()
  host = Host(
    runtime=runtime,
    strategy=strategy,
    exact_prefix=exact_prefix,
    workers=workers,
  )
  clips = _Clips.of(model, x, y, settings, loss, name)
  # Checked now, run after training.
  held_back = clips.others(test) if test else None
  began = time.perf_counter()
  course, ways, material = _run(
    model, trainable, surgery, clips, settings, host, callbacks, name
  )
  seconds = time.perf_counter() - began
  adapted = write_masters(
    course.marked.data, course.marked.mark, course.masters
  )
  scores = _scores(course, clips, material, held_back, adapted, runtime)
  report = {
    **scores,
    **facts(course, ways, material, model, settings, seconds),
    "runtime": runtime,
  }
  return Adapted(
    adapted,
    course.marked.data,
    report,
    Journal(
      sha256(course.marked.data), course.grown, course.records, sha256(adapted)
    ),
    _history(course),
  )


def _run(
  model: bytes,
  trainable: str | None,
  surgery: Surgery,
  clips: _Clips,
  settings: Settings,
  host: Host,
  callbacks: Sequence[Callback],
  name: str,
) -> tuple[Course, list[Way], Material]:
  """Goes the way that was chosen, or tries all and goes the best."""
  if surgery.weights != "int8" and trainable in (None, "auto"):
    raise TflmFgError(
      f"--weights={surgery.weights} needs --trainable: which layers get them"
    )
  own = read_mark(model, name) if trainable is None else None
  if own is not None:
    material = clips.material(settings, KEPT_FRACTION)
    given = Marked(model, own, ())
    return (
      follow(given, None, material, settings, host, callbacks),
      [],
      material,
    )
  if trainable is None:
    trainable = "auto" if settings.method == "auto" else "head"
  if trainable == "auto":
    material = clips.material(settings, COMPARED_FRACTION)
    if len(material.kept):
      ways = try_ways(model, material, settings, host, surgery, callbacks)
      best = best_way(ways)
      course = finish(model, best, material, settings, host, callbacks)
      return course, ways, material
  material = clips.material(settings, KEPT_FRACTION)
  grown, surveyed = _grown(model, trainable, surgery, material, host)
  marked = mark(model, grown.trainable, name, grown.surgery)
  course = follow(marked, grown, material, settings, host, callbacks, surveyed)
  return course, [], material


def _grown(
  model: bytes, trainable: str, surgery: Surgery, material: Material, host: Host
) -> tuple[Grown, int]:
  """A user's choice, with what a wide head must know, and the passes for it."""
  surveyed = 0
  if trainable == "auto":  # too few clips to compare by
    trainable = "head"
  if "wide-head" in [part.strip() for part in trainable.split(",")]:
    surgery, surveyed = measured(model, material.x, surgery, host)
  return Grown(trainable, surgery), surveyed


def _require_function(loss: object, settings: Settings) -> None:
  """Refuses what is no function, or what goes with no function."""
  if loss is None:
    return
  if not callable(loss):
    raise TflmFgError(
      f"loss={loss!r}: need a function of outputs and y; built-in losses are "
      "chosen by Settings(loss=...)"
    )
  if settings.loss != "cross-entropy":
    raise TflmFgError(
      f"loss: both a function and Settings(loss={settings.loss!r}); give one"
    )
  if settings.method == "closed-form":
    raise TflmFgError(exact_refusal(loss))


@dataclasses.dataclass(frozen=True)
class _Clips:
  """The user's clips, checked against the model.

  Attributes:
    x: on the input's grid.
    y: targets, real ones as they came; None where there are none.
    task: what is learned.
    scored: what reports score by; classes may be known and not looked at.
    input: the model's input.
    output: what the loss looks at.
  """

  x: Array
  y: Array | None
  task: Task
  scored: Task
  input: TensorSpec
  output: TensorSpec

  @classmethod
  def of(
    cls,
    model: bytes,
    x: Array,
    y: Array | None,
    settings: Settings,
    function: LossFunction | None,
    name: str,
  ) -> _Clips:
    _require_function(function, settings)
    x = array_of(x, "train x")
    y = None if y is None else array_of(y, "train y")
    plain = unmarked(model, name)
    inputs = input_spec(model, name)
    task = task_of(settings, y, tensor_spec(model, plain.logits), function)
    output = spec_for(task, model, plain, name)
    if y is None:
      if settings.labels == "given":
        raise TflmFgError(
          "train: holds no array 'y'; add it or use --labels=none"
        )
      on_grid = model_input(x, inputs, "train x")
      return cls(on_grid, None, task, task, inputs, output)
    scored = task if task.labelled else CLASSIFY
    on_grid, targets = checked(Dataset(x, y), inputs, output, "train", scored)
    return cls(on_grid, targets, task, scored, inputs, output)

  @property
  def for_others(self) -> Task:
    """What clips with targets are scored by, whatever was learned from."""
    return self.task if self.task.labelled else CLASSIFY

  def others(self, test: tuple[Array, Array]) -> tuple[Array, Array]:
    """Other clips and their targets, checked likewise."""
    x, y = (array_of(a, f"test {n}") for a, n in zip(test, "xy"))
    part = Dataset(x, y)
    return checked(part, self.input, self.output, "test", self.for_others)

  def material(self, settings: Settings, fraction: float) -> Material:
    """The clips, with a share kept aside."""
    if settings.validation_fraction is not None:
      fraction = settings.validation_fraction
    labels: Array = np.full(len(self.x), -1, np.int64)
    if self.task.labelled and self.y is not None:
      labels = self.y
    fit, kept = hold_out(self.task.strata(labels), fraction, settings.seed)
    return Material(self.x, labels, fit, kept, self.task)


def _scores(
  course: Course,
  clips: _Clips,
  material: Material,
  held_back: tuple[Array, Array] | None,
  adapted: bytes,
  runtime: str,
) -> dict[str, Any]:
  """Before and after, on test clips or else on those kept aside."""
  if held_back is not None:
    # Whole files, as they will be used: no cut and no other engine's prefix.
    before, after = (
      score_file(file, runtime, held_back, clips.for_others)
      for file in (course.marked.data, adapted)
    )
    return _both("test", before, after, True)
  part = "validation" if len(material.kept) else "train"
  indices = material.kept if len(material.kept) else material.fit
  start = course.tried[0].start_logits
  # Without a phase the file was left alone, whatever the tries gave.
  ends = (start, course.tried[-1].logits if course.records else start)
  known = clips.y is not None
  given = clips.y if clips.y is not None else material.labels
  # Of the graph that ran: int16 weights bring finer logits than the plain file.
  graph = course.tried[0].graph
  labels = graph.targets(given, clips.scored)
  loss = graph.loss(clips.scored)
  before, after = (score(z, labels[indices], loss) for z in ends)
  return _both(part, before, after, known)


def _both(
  part: str, before: Score, after: Score, known: bool
) -> dict[str, Any]:
  return {
    "scored_on": part,
    "scored_clips": before.clips,
    "accuracy_before": before.accuracy if known else None,
    "accuracy_after": after.accuracy if known else None,
    "mae_before": before.mae,
    "mae_after": after.mae,
    "loss_before": before.loss,
    "loss_after": after.loss,
  }


def _history(course: Course) -> History:
  """The curves of the phases one behind the other."""
  joined, passes = History(), 0
  for outcome in course.tried:
    own = outcome.history
    joined.batches += [(passes + n, loss) for n, loss in own.batches]
    joined.tests += [(passes + n, loss, a) for n, loss, a in own.tests]
    passes += outcome.graph.forward_passes
  return joined
