"""What a user asked for, and the samples, each in one piece."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from tflm_fg.checkpoint.memo import NOTHING_KEPT, Memo
from tflm_fg.forgetting.coverage import PULL, Coverage
from tflm_fg.gradients.method import Method, registered, require_taken
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.interruption import StopOnInterrupt, stop_of
from tflm_fg.training.objective import Objective, Task
from tflm_fg.types import Array, Tensors, TflmFgError, require_one

ABSENT_CLASSES = ("keep", "ignore")
"""What may become of classes without samples."""


class _HasMethod(Protocol):
  @property
  def method(self) -> Method: ...


_Phase = TypeVar("_Phase", bound=_HasMethod)

BEST = "the best of them"
"""What the candidate is called that is trained in the end."""

SCORES = "before and after", "scores"
"""The last part of the work."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What a user asked for, beside the model and the samples.

  Attributes:
    method: how to train.
    objective: what to lower.
    graph_options: how the file may change.
    runtime_options: the engine.
    absent_classes: one of `ABSENT_CLASSES`.
    callbacks: called after every step of forward gradients; a
      `StopOnInterrupt` among them keeps what is best where a signal comes.
    memo: where the results of finished work are kept.
  """

  method: Method
  objective: Objective = Objective()
  graph_options: GraphOptions = GraphOptions()
  runtime_options: RuntimeOptions = RuntimeOptions()
  absent_classes: str = "keep"
  callbacks: Sequence[Callback] = ()
  memo: Memo = NOTHING_KEPT

  def __post_init__(self) -> None:
    require_one("absent_classes", self.absent_classes, ABSENT_CLASSES)

  @property
  def is_auto(self) -> bool:
    """Whether phases choose their methods."""
    return self.method.name == "auto"

  @property
  def stop(self) -> StopOnInterrupt:
    """What a signal sets; nothing ever, where the user asked for none."""
    return stop_of(self.callbacks)

  @property
  def watchers(self) -> list[Callback]:
    """The callbacks that hear of every phase's steps."""
    return [c for c in self.callbacks if c.every_phase]

  @contextlib.contextmanager
  def phase(self, candidate: str, work: str) -> Iterator[None]:
    """Tells the callbacks of a part of the work; see `Callback.on_plan`.

    Args:
      candidate: what may train.
      work: the method's name, "folds" or "scores".
    """
    logs = {"candidate": candidate, "work": work}
    for callback in self.callbacks:
      callback.on_phase_begin(dict(logs))
    try:
      yield
    finally:
      for callback in self.callbacks:
        callback.on_phase_end(dict(logs))

  @property
  def is_dry(self) -> bool:
    """Whether nobody wants the result, but to know how long it takes."""
    return any(callback.dry_run for callback in self.callbacks)

  def tell_fits(self, ran: int, planned: int) -> None:
    """Tells the callbacks of fits over folds."""
    for callback in self.callbacks:
      callback.on_fits_end({"ran": ran, "planned": planned})

  def each(self, candidate: str, phases: Sequence[_Phase]) -> Iterator[_Phase]:
    """Phases, of which the callbacks are told as they come up."""
    self.tell_plan(*[(candidate, phase.method.name) for phase in phases])
    for phase in phases:
      with self.phase(candidate, phase.method.name):
        yield phase

  def tell_plan(self, *parts: tuple[str, str]) -> None:
    """Tells the callbacks what is left: (candidate, work) each."""
    plan = [
      {"candidate": name, "work": work} for name, work in (*parts, SCORES)
    ]
    for callback in self.callbacks:
      callback.on_plan({"plan": [dict(part) for part in plan]})

  def finishing(self) -> Request:
    """This request, but for what runs to its end though a signal has come."""
    if not self.stop.interrupted:
      return self
    stops = StopOnInterrupt
    left = [c for c in self.callbacks if not isinstance(c, stops)]
    return dataclasses.replace(self, callbacks=left)

  def require_use(self, kinds: Sequence[type[Method]]) -> None:
    """Refuses what was given and none of the methods that run takes."""
    require_taken(self.method.given, kinds)
    loss = self.objective.loss
    if loss != Objective.loss and not any(kind.takes_loss for kind in kinds):
      ran = " and ".join(repr(kind.name) for kind in dict.fromkeys(kinds))
      takers = [n for n, kind in registered().items() if kind.takes_loss]
      raise TflmFgError(
        f"loss={loss!r}: does nothing under method {ran}; leave it out, or "
        f"use one of {', '.join(takers)}"
      )


@dataclasses.dataclass(frozen=True)
class TrainingData:
  """The samples that phases learn from.

  Attributes:
    x: [N, ...] on the model's input grid.
    labels: int64 [N], -1 where there are none; real targets are float64, and
      each graph puts them on its own grid.
    fit: indices of those to train on.
    kept: indices of those kept aside.
    task: what is learned from them.
    at_head: more samples, [M, ...] on the grid of what the last layer reads;
      their labels are the last. Only a head can learn from them.
    coverage: what they show, where classes are to be kept that they do not
      show; None where there is nothing to keep.
  """

  x: Array
  labels: Array
  fit: Array
  kept: Array
  task: Task
  at_head: Array | None = None
  coverage: Coverage | None = None

  @property
  def pull(self) -> float | None:
    """Lambda of a head that keeps classes; None where there are none."""
    return None if self.coverage is None else PULL

  @property
  def labelled(self) -> bool:
    """Whether training looks at the labels."""
    return self.task.labelled

  def with_those_at_head(self, inputs: Tensors) -> Tensors:
    """What flows into a head: of x, and behind that of samples of before.

    Raises:
      TflmFgError: if what those are does not fit.
    """
    if self.at_head is None:
      return inputs
    first, *others = inputs
    if others or first.shape[1:] != self.at_head.shape[1:]:
      raise TflmFgError(
        f"replay x: shape {list(self.at_head.shape[1:])}, and what trains "
        f"reads {list(first.shape[1:])}; give samples as the model takes them"
      )
    return (np.concatenate([first, self.at_head]),)

  def only(self, fit: Array) -> TrainingData:
    """Some of the samples to train on, and none kept aside."""
    return dataclasses.replace(self, fit=fit, kept=fit[:0])

  def whole(self) -> TrainingData:
    """The same samples with none kept aside."""
    everything = np.arange(len(self.labels))
    return dataclasses.replace(self, fit=everything, kept=everything[:0])
