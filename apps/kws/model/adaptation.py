"""Adapt a spotter to clips, and score it before and after."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

import tflm_fg
from apps.kws.features.examples import Examples
from apps.kws.model import head_model, saved_clips
from apps.kws.model.saved_clips import Kept
from apps.kws.model.scores import WordScores, score
from apps.kws.model.spotter import Spotter
from tflm_fg import dry_run, methods
from tflm_fg.callbacks import Callback, StopOnInterrupt
from tflm_fg.marking import mark_trainable
from tflm_fg.requirements import requirements
from tflm_fg.runtimes import require_loads
from tflm_fg.tflite import GraphOptions, ModelFile, unnamed_note
from tflm_fg.types import NotApplicable, TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """What to adapt to and by what to judge it.

  Attributes:
    spotter: the model to begin with.
    train: clips to adapt to, with their copies.
    test: clips that are only scored; None where there are too few.
    old: clips of what the model could do before, only scored.
    replay: old clips that are trained on too.
    imagined: clips that nobody said, of what has none in the replay set.
    method: how to train.
    trainable: what to train; None takes `UNASKED`, where that fits.
    runtime: the engine.
    layer: "input" to train in the whole model, "head" to train its last layer
      as a model of its own, whose clips are small.
    absent_classes: "keep" or "ignore" what has no clips; see `tflm_fg.adapt`.
    target: one of `runtimes.TARGETS`: an engine that must run the result too.
    operators: "any", or "same" for no operator that the model has not.
    came: the model before it was given outputs for new words; else None.
  """

  spotter: Spotter
  train: Examples
  test: Examples | None = None
  old: Examples | None = None
  replay: Kept | None = None
  imagined: Kept | None = None
  method: methods.Method
  trainable: str | None = None
  runtime: str = "litert"
  layer: str = "input"
  absent_classes: str = "keep"
  target: str = "any"
  operators: str = "any"
  came: Spotter | None = None

  def fresh(self) -> Kept:
    """The clips to adapt to, with their copies, as the layer takes them."""
    return saved_clips.of(self.spotter, self.train.x, self.train.y, self.layer)

  def clips(self) -> tuple[Any, Any]:
    """What is learned, as the layer takes it: x and y."""
    parts = [self.fresh(), *filter(None, [self.imagined])]
    x, y = ([getattr(part, key) for part in parts] for key in ("x", "y"))
    return np.concatenate(x), np.concatenate(y)

  def before(self, old: Examples | Kept | None) -> tuple[Any, Any] | None:
    """Clips of before, as the layer takes them: x and y; None for none."""
    if old is None:
      return None
    if self.layer != getattr(old, "layer", "input"):
      old = saved_clips.of(self.spotter, old.x, old.y, self.layer)
    return old.x, old.y

  def require_classes(self) -> None:
    """Refuses clips of a single class where nothing keeps the others.

    Raises:
      TflmFgError: naming the class.
    """
    if self.absent_classes == "keep":
      return
    labels = self.clips()[1]
    if self.replay is not None:
      labels = np.concatenate([labels, self.replay.y])
    labels = np.unique(labels)
    if len(labels) < 2:
      only = self.spotter.classes[labels[0]]
      raise TflmFgError(
        f"--data holds clips of one class, {only!r}; record two or more, or "
        "give --replay"
      )


@dataclasses.dataclass(frozen=True)
class SpotterResult:
  """An adapted spotter, with its scores before and after.

  Attributes:
    job: what was asked.
    spotter: the adapted model.
    scores: part -> (before, after); the parts are keys of `outcome.TITLES`.
    adapted: what `tflm_fg.adapt` returned: model, report, history, journal.
    report: all of it, JSON-ready.
  """

  job: Job
  spotter: Spotter
  scores: dict[str, tuple[WordScores, WordScores]]
  adapted: tflm_fg.AdaptResult
  report: dict[str, Any]


HEAD: dict[str, Any] = {"method": "closed-form"}
"""How the head of an enrolment learns: exactly."""

REPLAY_STEPS = 300
"""Steps of a head that learns new clips beside old ones: it takes longer."""

UNASKED = "wide-head"
"""What is trained where a user names nothing.

"auto" answers a point better at best, and takes many times as long.
"""


def method_of(name: str | None, **given: Any) -> methods.Method:
  """A method with what a user gave, and the library's defaults else.

  Args:
    name: of the method; None for the default.
    given: setting -> value, None where a user gave nothing.
  """
  known = {k: v for k, v in given.items() if v is not None}
  return methods.named(name or methods.Auto.name, **known)


def adapt(
  job: Job,
  callbacks: Sequence[Callback] = (),
  stop: StopOnInterrupt | None = None,
) -> SpotterResult:
  """Adapts and scores before and after.

  Args:
    job: what to adapt to.
    callbacks: as `tflm_fg.adapt` takes them.
    stop: what waits for Ctrl-C and SIGTERM, to keep what is best by then.

  Raises:
    Interrupted: if one of them comes before anything can be kept.
    TflmFgError: if anything does not fit.
  """
  job.require_classes()
  require_loads(ModelFile.open(job.spotter.model, job.spotter.name), job.target)
  stop = stop or StopOnInterrupt()
  with stop:
    adapted, model = _run(job, [stop, *callbacks])
    with stop.deferred():
      return _scored(job, adapted, model)


def _scored(
  job: Job, adapted: tflm_fg.AdaptResult, model: bytes
) -> SpotterResult:
  """What adapting gave, with scores before and after."""
  after = dataclasses.replace(job.spotter, model=model)
  after = dataclasses.replace(after, model=after.to_bytes())
  require_loads(ModelFile.open(after.model, after.name), job.target)
  scores = {
    name: (_score(job, job.spotter, part), _score(job, after, part))
    for name, part in _parts(job).items()
  }
  report = _report(job, adapted, scores)
  needs = requirements((job.came or job.spotter).model, after.model)
  added = needs["model_bytes"] - needs["model_bytes_before"]
  report |= {"needs": needs, "model_bytes": needs["model_bytes"]}
  report["added_bytes"] = added
  report["notes"] += unnamed_note(
    ModelFile.open(after.model, after.name),
    len((job.came or job.spotter).classes),
    after.classes,
  )
  if job.imagined is not None:
    report["notes"].append(
      f"no old clips of {len(np.unique(job.imagined.y))} classes: "
      f"{len(job.imagined.y)} were imagined from the old head"
    )
  return SpotterResult(job, after, scores, adapted, report)


def _run(
  job: Job, callbacks: Sequence[Callback] = ()
) -> tuple[tflm_fg.AdaptResult, bytes]:
  """Trains the whole model or its head alone; the whole model comes back."""
  head = _head(job)
  adapted = tflm_fg.adapt(**_asked(job, head), callbacks=callbacks)
  model = adapted.marked_model
  return adapted, head.graft(model) if head else model


def _head(job: Job) -> head_model.Head | None:
  """The last layer as a model of its own, where it alone is trained."""
  if job.layer != "head":
    return None
  return head_model.cut_off(job.spotter, job.runtime)


def _asked(job: Job, head: head_model.Head | None) -> dict[str, Any]:
  """The model, the clips and all settings, as `tflm_fg.adapt` takes them."""
  x, y = job.clips()
  return {
    # The whole model names its classes.
    "model": head.model if head else job.spotter.to_bytes(),
    "x": x,
    "y": y,
    "old_data": job.before(job.old),
    "replay": job.before(job.replay),
    "trainable": _trainable(job),
    "absent_classes": job.absent_classes,
    "graph_options": GraphOptions(operators=job.operators),
    # It is the whole that counts.
    "target": job.target if head is None else "any",
    "runtime": job.runtime,
    "method": job.method,
    "name": job.spotter.name,
  }


def _trainable(job: Job) -> str:
  """What trains: as the user says, or else what suits the model."""
  if job.layer == "head":
    return "head"
  if job.trainable is not None:
    return job.trainable
  if isinstance(job.method, methods.Auto):
    # There may be no layer to join, or none of int8.
    with contextlib.suppress(NotApplicable):
      mark_trainable(
        job.spotter.model,
        UNASKED,
        graph_options=GraphOptions(operators=job.operators),
        target=job.target,
        name=job.spotter.name,
      )
      return UNASKED
  return "head"


def _parts(job: Job) -> dict[str, tuple[Any, Any]]:
  """What is scored: clips in any unit, and their classes."""
  parts: dict[str, tuple[Any, Any]] = {}
  if job.test is not None and len(job.test):
    parts["test"] = (job.test.x, job.test.y)
  else:
    originals = job.train.take(job.train.copy == 0)
    parts["train"] = (originals.x, originals.y)
  if job.old is not None:
    parts["old"] = (job.old.x, job.old.y)
  elif job.replay is not None:
    parts["replay"] = (job.replay, job.replay.y)
  return parts


def _score(job: Job, spotter: Spotter, part: tuple[Any, Any]) -> WordScores:
  x, y = part
  if not isinstance(x, Kept):
    return score(spotter.open(job.runtime), x, y)
  if x.layer == "input":
    return score(spotter.open(job.runtime), x.x, y)
  head = dataclasses.replace(spotter, model=head_model.cut_off(spotter).model)
  return score(head.open(job.runtime), x.x, y)


def _report(
  job: Job,
  adapted: tflm_fg.AdaptResult,
  scores: dict[str, tuple[WordScores, WordScores]],
) -> dict[str, Any]:
  classes = job.spotter.classes
  return {
    **adapted.report,
    "model": job.spotter.name,
    "frontend": job.spotter.frontend.to_json(),
    "clips": job.train.counts(classes),
    "augmented_clips": int((job.train.copy > 0).sum()),
    "replay_clips": 0 if job.replay is None else len(job.replay.y),
    "replay_bytes": 0 if job.replay is None else job.replay.num_bytes,
    "scores": {
      name: {
        when: s.to_json(classes) for when, s in zip(("before", "after"), pair)
      }
      for name, pair in scores.items()
    },
    "classes": [
      {**row, "name": classes[row["class"]]}
      for row in adapted.report["classes"]
    ],
    "notes": [*adapted.report["notes"], *job.train.notes],
    "data_notes": list(
      dict.fromkeys(  # what is set apart of a folder has its doubts too
        [
          *job.train.doubts,
          *(job.test.doubts if job.test is not None else ()),
          *adapted.report["data_notes"],
        ]
      )
    ),
  }


def estimate(job: Job) -> dict[str, Any]:
  """Measures short runs, and says how long the whole will take.

  Returns:
    JSON-ready: what would be trained, and seconds.
  """
  job.require_classes()
  found = dry_run.estimate(**_asked(job, _head(job)))
  return {
    "trainable": list(found.trainable),
    "trainable_parameters": found.trainable_parameters,
    "trainer_bytes": found.trainer_bytes,
    "train_clips": found.samples,
    "steps": sum(part.steps for part in found.parts),
    "forward_passes": found.forward_passes,
    "seconds": found.seconds,
  }
