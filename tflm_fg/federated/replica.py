"""Hold the masters that all members of a fleet share, and take its steps.

Clients and server are replicas of one state: the masters of the file that all
began with, and the steps since then. A step is the journal's: slopes, from
which the same optimizer makes the same update everywhere. Each step names the
SHA-256 of the masters behind it, so that a replica that came off is found out
at once.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from tflm_fg import marking
from tflm_fg.federated import wire
from tflm_fg.federated.plan import Plan
from tflm_fg.federated.schemes.scheme import MASTERS, MEASURED, SLOPES, Standing
from tflm_fg.federated.wire import Message
from tflm_fg.fixed_point.arithmetic import saturate
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.head_input import HeadInput, carried_centre
from tflm_fg.losses.base import Loss
from tflm_fg.marking import Model
from tflm_fg.placement.phase_record import Masters, masters_of, write_masters
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.training.build import step_rule
from tflm_fg.training.objective import logits_spec, loss_of, width
from tflm_fg.training.trainer import StepRule
from tflm_fg.types import Int64, Mark, Params, TflmFgError, TrainableTensor

PERSONAL_ROLES = ("offset", "gain")


def marked_for(
  model: Model, plan: Plan, name: str | None = None
) -> MarkedModel:
  """The marked file that a plan is about.

  Args:
    model: it, or the plain file that it was made of.
    plan: of the fleet.
    name: what to call the file in errors; by default its path.

  Raises:
    TflmFgError: if it is another one.
  """
  own = marking.opened(model, name)
  if (mark := _own_mark(own, plan)) is not None:
    return MarkedModel(own, mark, ())
  options = GraphOptions(gain=plan.gain)
  marked = marking.mark_trainable(own, plan.trainable, graph_options=options)
  if _own_mark(marked.file, plan) is None:
    raise TflmFgError(
      f"{own.name}: is another base than the fleet's (SHA-256 "
      f"{hashlib.sha256(marked.data).hexdigest()[:16]}, need "
      f"{plan.model_sha256[:16]}); give the model that the plan was made for"
    )
  return marked


def _own_mark(file: ModelFile, plan: Plan) -> Mark | None:
  if hashlib.sha256(file.data).hexdigest() != plan.model_sha256:
    return None
  return read_mark(file)


class Replica:
  """The shared state of a fleet, at a client or at the server.

  Attributes:
    plan: what the fleet does.
    marked: the file that all began with.
    layout: of the tensors that are shared.
    state: where training stands.
    rule: how slopes become the next state.
    start: the shared masters before any step.
    head: what was measured of the head's input; None before that.
    steps: all steps that were taken, as they were sent.
  """

  def __init__(self, model: Model, plan: Plan, name: str | None = None) -> None:
    """Begins at the plan's file.

    Args:
      model: the plan's file, marked or plain, as a path, bytes or opened.
      plan: of the fleet.
      name: what to call the file in errors; by default its path.

    Raises:
      TflmFgError: if it is another file than the plan's.
    """
    self.plan = plan
    self.marked = marked_for(model, plan, name)
    self._start = masters_of(self.marked.file, self.marked.mark)
    self.layout = Layout(shared(plan, self.marked.mark))
    self.head: HeadInput | None = None
    self.rule = self._rule(())
    self.start = self.layout.gather(self._start)
    self.state = self.rule.start(self.start)
    self.steps: list[bytes] = []

  @property
  def number(self) -> int:
    """Of the round that comes next, from 0."""
    return len(self.steps)

  @property
  def is_done(self) -> bool:
    """Whether all rounds of the plan were run."""
    return self.number >= self.plan.rounds

  @functools.cached_property
  def loss(self) -> Loss:
    """Softmax cross-entropy on the file's logits."""
    return loss_of(logits_spec(self.marked.file, self.marked.mark))

  @property
  def classes(self) -> int:
    """How many classes the model tells apart."""
    return width(logits_spec(self.marked.file, self.marked.mark))

  @property
  def standing(self) -> Standing:
    """Where training stands, as a scheme looks at it."""
    return Standing(
      method=self.plan.method,
      layout=self.layout,
      state=self.state,
      start=self.start,
      rule=self.rule,
      head=self.head,
      loss=self.loss,
      classes=self.classes,
      inputs=self.inputs,
      head_input=tensor_spec(self.marked.file, self.marked.mark.head_input),
      privacy=self.plan.privacy,
    )

  @property
  def masters_sha256(self) -> str:
    """The fingerprint of the shared masters, little-endian kernels first."""
    return _fingerprint(self.state.params).hex()

  @property
  def masters(self) -> Masters:
    """Of all marked tensors, by index."""
    return {**self._start, **self.layout.scatter(self.state.params)}

  def file(self) -> ModelFile:
    """The marked file with the masters as they stand."""
    marked, mark = self.marked.file, self.marked.mark
    return write_masters(marked, mark, self.masters)

  def message(
    self,
    kind: int,
    samples: int,
    senders: Sequence[str],
    fields: Sequence[Int64],
  ) -> Message:
    """What this replica has to say of the present round."""
    return Message(
      kind,
      self.number,
      self.plan.digest,
      _fingerprint(self.state.params)[: wire.DIGEST],
      samples,
      tuple(sorted(senders)),
      tuple(fields),
    )

  def take(self, step: bytes, name: str = "step") -> None:
    """Takes the next step; one that was taken already changes nothing.

    Args:
      step: as the server sent it.
      name: what to call it in errors.

    Raises:
      TflmFgError: if it is damaged, of another plan, not the next one, or
        leads to other masters here than it did at the server.
    """
    came = wire.read(step, name, [wire.STEP])
    if came.plan != self.plan.digest:
      raise TflmFgError(f"{name}: is of another plan; ask this fleet's server")
    if came.number < self.number and self.steps[came.number] == step:
      return
    if came.number != self.number:
      raise TflmFgError(
        f"{name}: is of round {came.number}, and round {self.number} is next; "
        f"take the steps from {self.number} in their order"
      )
    self._advance(came, step, name)

  def _advance(self, came: Message, step: bytes, name: str) -> None:
    before = self.state, self.rule, self.head
    try:
      self._apply(came.fields, name)
      if _fingerprint(self.state.params)[: wire.DIGEST] != came.masters:
        raise TflmFgError(
          f"{name}: leads to other masters here than at the server; begin "
          "again from the plan's model and take all steps"
        )
    except TflmFgError:
      self.state, self.rule, self.head = before
      raise
    self.steps.append(step)

  def _apply(self, fields: Sequence[Int64], name: str) -> None:
    what = int(fields[0][0]) if fields and fields[0].size == 1 else 0
    numbers = self.layout.num_kernels + self.layout.num_biases
    sizes = [f.size for f in fields[1:]]
    if what == MEASURED and sizes == [self.inputs, self.inputs, 1]:
      self._measure(*fields[1:])
    elif what == SLOPES and len(sizes) == 1:
      if sizes[0] not in self.plan.method.slopes_a_step(
        self.layout, self.state.step
      ):
        raise TflmFgError(f"{name}: {sizes[0]} slopes do not suit the plan")
      self.state = self.rule.replayed(self.state, fields[1].tolist())
    elif what == MASTERS and sum(sizes) == numbers and len(sizes) == 2:
      kernels, biases = fields[1:]
      wide = self.state.params.biases.dtype
      params = Params(saturate(kernels, np.int16), saturate(biases, wide))
      self.state = TrainState(self.state.step + 1, params, self.state.optimizer)
    else:
      raise TflmFgError(f"{name}: holds no step of this plan's model")

  @property
  def inputs(self) -> int:
    """How many numbers the head reads; 0 where no kernel trains."""
    kernels = [t for t in self.layout.tensors if t.role == "kernel"]
    return kernels[-1].size // self.classes if kernels else 0

  def _measure(self, centre: Int64, bits: Int64, square: Int64) -> None:
    spec = tensor_spec(self.marked.file, self.marked.mark.head_input)
    method = self.plan.method
    gain = method.logit_gain if isinstance(method, ClosedForm) else 0.0
    self.head = HeadInput(
      input_scale=spec.scale,
      input_zero_point=spec.zero_point,
      centre=centre,
      spread_bits=bits,
      mean_square=int(square[0]),
      loss=self.loss,
      logit_gain=gain or 1.0,
    )
    self.rule = self._rule(carried_centre(self.head, self.layout))
    self.state = self.rule.start(self.state.params)

  def _rule(self, centre: tuple[int, ...]) -> StepRule:
    return step_rule(
      self.plan.method, self.layout, self.batch_size, centre=centre
    )

  @property
  def batch_size(self) -> int:
    """What replay takes for a batch: at least as many as there are numbers.

    A round's samples are as many as came. With a direction for every sample,
    an estimate of a smaller batch would hold slopes of its samples, which a
    fleet never sends: it sends their sum along their directions.
    """
    numbers = self.layout.num_kernels + self.layout.num_biases
    return max(self.plan.method.batch_size, numbers)


def shared(plan: Plan, mark: Mark) -> tuple[TrainableTensor, ...]:
  """The marked tensors that a plan's fleet shares."""
  return tuple(
    t
    for t in mark.trainable
    if not plan.personal or t.role not in PERSONAL_ROLES
  )


def _fingerprint(params: Params) -> bytes:
  parts = (a.astype(a.dtype.newbyteorder("<")).tobytes() for a in params)
  return hashlib.sha256(b"".join(parts)).digest()
