"""What a user asked for, in one piece that is handed down."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tflm_fg.gradients.method import Method, registered, require_taken
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.interruption import StopOnInterrupt, stop_of
from tflm_fg.training.objective import Objective
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What a user asked for, beside the model and the samples.

  Attributes:
    method: how to train.
    objective: what to lower.
    graph_options: how the file may change.
    runtime_options: the engine.
    callbacks: called after every step of forward gradients; a
      `StopOnInterrupt` among them keeps what is best where a signal comes.
  """

  method: Method
  objective: Objective = Objective()
  graph_options: GraphOptions = GraphOptions()
  runtime_options: RuntimeOptions = RuntimeOptions()
  callbacks: Sequence[Callback] = ()

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
