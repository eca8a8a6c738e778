"""What a user asked for, in one piece that is handed down."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tflm_fg.gradients.method import Method, require_taken
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.training.auto import Auto
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.objective import Objective
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
  """Which engine runs the passes, and how.

  Attributes:
    runtime: one of `runtimes.NAMES`, for what trains.
    strategy: "in-place"; "rebuild", on "litert" with XNNPACK's kernels; or
      "auto", which on "litert" times both and takes what is clearly faster.
    exact_prefix: run frozen layers on `runtime` too. By default they run on
      XNNPACK, three to four times faster than optimized kernels; features
      differ by up to 3 steps, 0.1 to 0.3 on the mean, which changed up to
      2.6 % of a head's answers and its accuracy by less than a point
      (docs/method.md). Where XNNPACK refuses them, they run on `runtime`.
    workers: passes side by side, at most; None for as many as pay.
  """

  runtime: str = "litert"
  strategy: str = "auto"
  exact_prefix: bool = False
  workers: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What a user asked for, beside the model and the samples.

  Attributes:
    method: how to train.
    objective: what to lower.
    graph_options: how the file may change.
    runtime_options: the engine.
    callbacks: told of every step of forward gradients.
  """

  method: Method = dataclasses.field(default_factory=Auto)
  objective: Objective = Objective()
  graph_options: GraphOptions = GraphOptions()
  runtime_options: RuntimeOptions = RuntimeOptions()
  callbacks: Sequence[Callback] = ()

  @property
  def is_auto(self) -> bool:
    """Whether phases choose their methods."""
    return isinstance(self.method, Auto)

  def require_use(self, kinds: Sequence[type[Method]]) -> None:
    """Refuses what was given and none of the methods that run takes."""
    require_taken(self.method.given, kinds)
    loss = self.objective.loss
    if loss != Objective.loss and not any(kind.takes_loss for kind in kinds):
      ran = " and ".join(repr(kind.name) for kind in dict.fromkeys(kinds))
      raise TflmFgError(
        f"loss={loss!r}: does nothing under method {ran}; leave it out"
      )
