"""A marked model open in a runtime: frozen prefix and trained suffix."""

from __future__ import annotations

from collections.abc import Collection

from tflm_fg.checkpoint.memo import NOTHING_KEPT, Kept, Memo, address
from tflm_fg.gradients.method import TrainedPart
from tflm_fg.losses.base import Loss
from tflm_fg.runtimes.input_weights import InputWeightsSession
from tflm_fg.runtimes.parallel import Choice, choose
from tflm_fg.runtimes.registry import (
  RuntimeOptions,
  open_frozen,
  open_session,
  rebuilds_faster,
)
from tflm_fg.runtimes.session import Session
from tflm_fg.runtimes.trial import require_runs_for
from tflm_fg.samples.arrays import Dataset
from tflm_fg.tflite.inputs import spec_of, with_input
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.split_graph import cut, is_head
from tflm_fg.tflite.surgery.perturbation_inputs import weights_to_inputs
from tflm_fg.tflite.tensors import Part
from tflm_fg.tflite.workload import int8_work
from tflm_fg.training.metrics import run_all
from tflm_fg.training.objective import (
  CLASSIFY,
  Task,
  checked,
  loss_of,
  output_spec,
  seen_by,
)
from tflm_fg.types import (
  Array,
  Mark,
  Samples,
  Tensors,
)

CHEAP_BATCH, DEAR_BATCH = 256, 64
"""Samples a pass where the head alone trains, and where more does."""


MOST_KEPT = 1 << 24
"""Bytes of what flows into the trained part, up to which it is kept."""


class SplitModel:
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
    marked: Source,
    mark: Mark,
    runtime_options: RuntimeOptions,
    taps: Collection[int] = (),
    weights_are_inputs: bool = False,
  ) -> None:
    """Cuts the model and opens both pieces.

    Args:
      marked: the marked file.
      mark: its mark.
      runtime_options: the engine.
      taps: activations that a pass shall give beside the logits.
      weights_are_inputs: whether the trainable tensors flow in as data.

    Raises:
      TflmFgError: if the model cannot be cut, or an engine refuses it.
      NotApplicable: if the engine crashes on the file or does not run it.
    """
    self._marked, self._mark = ModelFile.of(marked), mark
    options = runtime_options
    require_runs_for(self._marked, options.runtime, options.target)
    self._runtime_options = runtime_options
    self._weights_are_inputs = weights_are_inputs
    self._cut = cut(self._marked, mark, taps)
    self.input = spec_of(with_input(self._marked, mark.input))
    self.logits = output_spec(self._marked, mark)
    self.suffix = self._open(runtime_options.strategy)
    self.helpers = []
    self.prefix = None
    if self._cut.prefix is not None:
      self.prefix = open_frozen(
        runtime_options.runtime, self._cut.prefix, runtime_options.exact_prefix
      )

  def _open(self, strategy: str) -> Session:
    options, part = self._runtime_options, self._cut.suffix
    if self._weights_are_inputs:
      # Nothing is ever written, so an engine that packs weights may run it.
      flowing = weights_to_inputs(part)
      inner = open_frozen(options.runtime, flowing.part, options.exact_prefix)
      return InputWeightsSession(inner, part, flowing.flows)
    return open_session(options.runtime, part, strategy)

  @property
  def marked(self) -> ModelFile:
    """The marked file."""
    return self._marked

  @property
  def suffix_part(self) -> Part:
    """The trained operators as a file of their own."""
    return self._cut.suffix

  def settle(self, inputs: Tensors, passes: int) -> Choice:
    """Chooses strategy and workers for training, where they are open.

    Args:
      inputs: a batch as training will have it.
      passes: passes that a step has to run at once.

    Returns:
      What `suffix` and `helpers` now are.
    """
    options = self._runtime_options
    is_open = options.strategy == "auto" and rebuilds_faster(options.runtime)
    is_open &= not self._weights_are_inputs
    choice = choose(
      self.suffix,
      self._open,
      inputs,
      work=int8_work(self._cut.suffix.file) if is_open else None,
      passes=passes,
      workers=self._runtime_options.workers,
    )
    if self.suffix.traits.in_place != (choice.strategy == "in-place"):
      self.suffix = self._open(choice.strategy)
    self.helpers = [
      self._open(choice.strategy) for _ in range(choice.workers - 1)
    ]
    return choice

  @property
  def batch_size(self) -> int:
    """Samples a pass by default: many where passes are cheap."""
    return CHEAP_BATCH if self._is_head else DEAR_BATCH

  @property
  def _is_head(self) -> bool:
    return is_head(self._marked, self._mark)

  def features(self, x: Array, memo: Memo = NOTHING_KEPT) -> Tensors:
    """The suffix's inputs for some samples.

    Args:
      x: [N, ...] of the input's dtype.
      memo: where they are kept, unless they are larger than `MOST_KEPT`.
    """
    values = {self._cut.graph_input: x}
    if self.prefix is not None and self._cut.prefix is not None:
      outputs = _recalled(self.prefix, self._cut.prefix, x, memo)
      values.update(zip(self._cut.prefix.outputs, outputs))
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

  def part(self, samples: Samples, task: Task) -> TrainedPart:
    """What a method may look at before it trains on some samples."""
    return TrainedPart(
      marked=self._marked,
      mark=self._mark,
      shown=self._shown,
      samples=samples,
      loss=self.loss(task),
      is_head=self._is_head,
    )

  @property
  def _shown(self) -> list[int]:
    """Tensor indices of what `Passes.activations` gives."""
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


def _recalled(session: Session, part: Part, x: Array, memo: Memo) -> Tensors:
  """What the frozen part gives for samples, run where it is not known."""
  if not memo.keeps:
    return run_all(session, (x,))
  known = address("features", part.data, session.traits.runtime, x)
  found = memo.find(known)
  if found is not None:
    session.credit(*found.values["ran"])
    return tuple(found.arrays[str(n)] for n in range(len(found.arrays)))
  before = session.forward_passes, session.samples_run
  outputs = run_all(session, (x,))
  if sum(a.nbytes for a in outputs) <= MOST_KEPT:
    ran = [session.forward_passes - before[0], session.samples_run - before[1]]
    arrays = {str(n): array for n, array in enumerate(outputs)}
    memo.keep(known, Kept(arrays, {"ran": ran}), firmly=True)
  return outputs
