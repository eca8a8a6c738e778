"""A marked model open in a runtime: frozen prefix and trained suffix."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from tflm_fg.gradients.closed_form import REFUSAL, Head, head_of
from tflm_fg.gradients.node_perturbation import REFUSAL as NODE_REFUSAL
from tflm_fg.gradients.node_perturbation import Layer
from tflm_fg.gradients.statistic_matching import (
  REFUSAL as MEANS_REFUSAL,
)
from tflm_fg.gradients.statistic_matching import (
  known_targets,
)
from tflm_fg.losses.base import Loss
from tflm_fg.runtimes.parallel import Choice, choose
from tflm_fg.runtimes.registry import open_frozen, open_session, rebuilds_faster
from tflm_fg.runtimes.session import Session
from tflm_fg.tflite.layers import activations_of, outputs_of
from tflm_fg.tflite.select_trainable import unmarked
from tflm_fg.tflite.split_graph import cut, is_head, whole
from tflm_fg.tflite.tensors import TensorSpec, tensor_spec
from tflm_fg.tflite.workload import int8_work
from tflm_fg.training.data import Dataset
from tflm_fg.training.metrics import run_all
from tflm_fg.training.objective import (
  CLASSIFY,
  Task,
  checked,
  loss_of,
  output_spec,
  seen_by,
)
from tflm_fg.training.settings import Settings
from tflm_fg.types import (
  Array,
  Int64,
  Mark,
  Samples,
  Tensors,
  TflmFgError,
  TrainableTensor,
)

CHEAP_BATCH, DEAR_BATCH = 256, 64
"""Samples a pass where the head alone trains, and where more does."""


def input_spec(model: bytes, name: str = "model") -> TensorSpec:
  """A sound file's input tensor."""
  return tensor_spec(model, whole(model, unmarked(model, name)).inputs[0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
  """Which engine runs the passes, and how.

  Attributes:
    runtime: one of `runtimes.NAMES`, for what trains.
    strategy: "in-place"; "rebuild", on "litert" with XNNPACK's kernels; or
      "auto", which on "litert" rebuilds where a batch is much work.
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


def by_operator(mark: Mark) -> dict[int, dict[str, TrainableTensor]]:
  """The marked tensors by operator and role."""
  found: dict[int, dict[str, TrainableTensor]] = {}
  for tensor in mark.trainable:
    found.setdefault(tensor.operator, {})[tensor.role] = tensor
  return found


def _layer(
  marked: bytes,
  operator: int,
  tensors: dict[str, TrainableTensor],
  order: list[int],
) -> Layer:
  activation = activations_of(marked, [operator])[operator]
  spec = tensor_spec(marked, activation)
  bias = tensors.get("bias")
  if (
    bias is None
    or bias.op_name != "FULLY_CONNECTED"
    or int(np.prod(spec.shape[:-1])) != 1
  ):
    raise TflmFgError(NODE_REFUSAL)
  return Layer(
    bias=bias,
    kernel=tensors.get("kernel"),
    source=order.index(activation),
    input_scale=spec.scale,
    input_zero_point=spec.zero_point,
  )


class Graph:
  """Runs frozen operators once a sample and the trained ones once a pass.

  Attributes:
    input: the model's input tensor.
    logits: the model's logits, or a regression's output.
    suffix: from the cut to the logits; its weights are set.
    helpers: more sessions of the suffix, to run passes at the same time.
    prefix: from the input to the cut; None where all operators are trained.
  """

  suffix: Session
  helpers: list[Session]
  prefix: Session | None

  def __init__(
    self,
    marked: bytes,
    mark: Mark,
    runtime_options: RuntimeOptions,
    taps: Collection[int] = (),
  ) -> None:
    """Cuts the model and opens both pieces.

    Args:
      marked: the marked file.
      mark: its mark.
      runtime_options: the engine.
      taps: activations that a pass shall give beside the logits.

    Raises:
      TflmFgError: if the model cannot be cut, or an engine refuses it.
    """
    self._marked, self._mark = marked, mark
    self._runtime_options = runtime_options
    self._cut = cut(marked, mark, taps)
    self.input = tensor_spec(marked, self._cut.graph_input)
    self.logits = output_spec(marked, mark)
    self.suffix = self._open(runtime_options.strategy)
    self.helpers = []
    self.prefix = None
    if self._cut.prefix is not None:
      self.prefix = open_frozen(
        runtime_options.runtime, self._cut.prefix, runtime_options.exact_prefix
      )

  def _open(self, strategy: str) -> Session:
    return open_session(
      self._runtime_options.runtime, self._cut.suffix, strategy
    )

  def settle(self, inputs: Tensors, passes: int) -> Choice:
    """Chooses strategy and workers for training, where they are open.

    Args:
      inputs: a batch as training will have it.
      passes: passes that a step has to run at once.

    Returns:
      What `suffix` and `helpers` now are.
    """
    is_open = self._runtime_options.strategy == "auto" and rebuilds_faster(
      self._runtime_options.runtime
    )
    choice = choose(
      self.suffix,
      self._open,
      inputs,
      work=int8_work(self._cut.suffix.data) if is_open else None,
      passes=passes,
      workers=self._runtime_options.workers,
    )
    if self.suffix.traits.in_place != (choice.strategy == "in-place"):
      self.suffix = self._open(choice.strategy)
    self.helpers = [
      self._open(choice.strategy) for _ in range(choice.workers - 1)
    ]
    return choice

  def filled(self, settings: Settings) -> Settings:
    """Settings with a batch size: a large one where a pass is cheap."""
    if settings.batch_size is not None:
      return settings
    size = (
      CHEAP_BATCH
      if is_head(self._cut, self._marked, self._mark)
      else DEAR_BATCH
    )
    return dataclasses.replace(settings, batch_size=size)

  def features(self, x: Array) -> Tensors:
    """The suffix's inputs for some samples.

    Args:
      x: [N, ...] of the input's dtype.
    """
    values = {self._cut.graph_input: x}
    if self.prefix is not None and self._cut.prefix is not None:
      values.update(zip(self._cut.prefix.outputs, run_all(self.prefix, (x,))))
    return tuple(values[i] for i in self._cut.suffix.inputs)

  def checked(self, part: Dataset, name: str) -> tuple[Array, Array]:
    """Samples on the model's input grid and class indices that it knows.

    Raises:
      TflmFgError: naming the array that does not fit.
    """
    return checked(part, self.input, self.logits, name)

  def samples(self, part: Dataset, name: str) -> Samples:
    """Checks a data set and brings it to the suffix's inputs.

    Raises:
      TflmFgError: if the samples or their classes do not fit the model.
    """
    x, y = self.checked(part, name)
    return Samples(self.features(x), y)

  def head(self, samples: Samples, task: Task = CLASSIFY) -> Head:
    """What the closed form must know of the head and of some samples.

    Raises:
      TflmFgError: if more than the head trains.
    """
    if not is_head(self._cut, self._marked, self._mark):
      raise TflmFgError(REFUSAL)
    spec = tensor_spec(self._marked, self._mark.head_input)
    return head_of(
      samples.inputs[0],
      spec.scale,
      spec.zero_point,
      self.loss(task),
      has_bias=any(t.role == "bias" for t in self._mark.trainable),
    )

  def layers(self) -> tuple[Layer, ...]:
    """The FULLY_CONNECTED layers that train, for node perturbation.

    Raises:
      TflmFgError: if anything else trains, or a kernel without its bias.
    """
    return tuple(
      _layer(self._marked, operator, tensors, self._shown)
      for operator, tensors in by_operator(self._mark).items()
    )

  def means(self) -> tuple[list[int], list[Int64]]:
    """For statistic matching: each bias's activation, and its means at home.

    Raises:
      TflmFgError: if more than biases train, or the mark holds no means.
    """
    tensors = self._mark.trainable
    made = outputs_of(self._marked, [t.operator for t in tensors])
    outputs = [made[t.operator] for t in tensors]
    if any(t.role != "bias" for t in tensors):
      raise TflmFgError(MEANS_REFUSAL)
    targets = known_targets(outputs, self._mark.statistics)
    return [self._shown.index(index) for index in outputs], targets

  @property
  def _shown(self) -> list[int]:
    """Tensor indices of what `base.Passes.activations` gives."""
    return [*self._cut.suffix.inputs, *self._cut.suffix.outputs[1:]]

  def loss(self, task: Task = CLASSIFY) -> Loss:
    """What training lowers."""
    return loss_of(self.logits, task)

  def targets(self, targets: Array, task: Task) -> Array:
    """Checked targets as that loss has them."""
    return seen_by(self.logits, targets, task)

  @property
  def sessions(self) -> list[Session]:
    """Suffix, its helpers, and prefix if there is one."""
    prefix = [self.prefix] if self.prefix else []
    return [self.suffix, *self.helpers, *prefix]

  @property
  def forward_passes(self) -> int:
    """Runs of one batch so far."""
    return sum(s.forward_passes for s in self.sessions)

  @property
  def samples_run(self) -> int:
    """Samples in those runs."""
    return sum(s.samples_run for s in self.sessions)

  @property
  def invoke_seconds(self) -> float:
    """Seconds inside the engine, summed over the sessions."""
    return sum(s.invoke_seconds for s in self.sessions)
