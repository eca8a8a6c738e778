"""Be a member of a fleet: sums of one's own samples out, steps in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tflm_fg.federated import wire
from tflm_fg.federated.fields import PUBLIC, Field, added
from tflm_fg.federated.noise import below_of
from tflm_fg.federated.plan import Plan
from tflm_fg.federated.privacy import Privacy, clip_of, clipped, hidden
from tflm_fg.federated.replica import Replica
from tflm_fg.federated.schemes.known import scheme_of
from tflm_fg.federated.schemes.scheme import Part, Scheme, Share
from tflm_fg.marking import Model
from tflm_fg.placement.phase import OpenPhase, open_for
from tflm_fg.placement.phase_record import Masters, Phase
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples.arrays import Dataset, array_of
from tflm_fg.tflite.select_trainable import input_spec
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.metrics import Score
from tflm_fg.training.objective import Objective, checked, logits_spec
from tflm_fg.training.trainer import score_weights
from tflm_fg.types import Array, Int64, Samples, TflmFgError


class Sent(NamedTuple):
  """What a client has to send of a round, before it is packed or masked.

  Attributes:
    fields: what the arrays are.
    samples: of how many samples they are sums.
    sums: int64 [n] each.
  """

  fields: tuple[Field, ...]
  samples: int
  sums: list[Int64]


class Client(Replica):
  """A model, some samples, and the fleet's masters as they stand.

  Attributes:
    client: the name by which the server knows it.
    x: the samples [N, ...] on the grid of the model's input.
    y: int64 [N], their classes.
  """

  def __init__(
    self,
    model: Model,
    plan: Plan,
    x: Array,
    y: Array,
    *,
    client: str,
    runtime_options: RuntimeOptions | None = None,
    personal: Masters | None = None,
    first: int | None = None,
    seed: int | None = None,
    name: str | None = None,
  ) -> None:
    """Opens the model and runs its frozen layers once on every sample.

    Args:
      model: the plan's file, marked or plain.
      plan: of the fleet.
      x: samples [N, ...], as `adapt` takes them.
      y: classes [N].
      client: a name of its own in the fleet, 1 to 64 printable bytes.
      runtime_options: the engine; None for LiteRT.
      personal: masters that stay on this device, by tensor index; None for
        those of the file. See `personal_prompt`.
      first: the number of the first sample's direction, where each sample has
        one of its own; by default it comes from the client's name.
      seed: of the noise, for tests; None draws it from the operating system.
      name: what to call the model in errors; by default its path.

    Raises:
      TflmFgError: if the model is another one than the plan's, or the samples
        do not fit it or are more than the plan allows.
    """
    self.client = wire.checked_name(client)
    super().__init__(model, plan, name)
    marked = self.marked
    part = Dataset(array_of(x, "x"), array_of(y, "y"))
    grid = input_spec(marked.file), logits_spec(marked.file, marked.mark)
    self.x, self.y = checked(part, *grid, f"client {client}")
    if not 0 < len(self.x) <= plan.most_samples:
      raise TflmFgError(
        f"client {client}: {len(self.x)} samples, and the plan takes 1 to "
        f"{plan.most_samples} of a client; leave some out"
      )
    self._options = runtime_options or RuntimeOptions()
    own = personal or {}
    known = {t.index for t in marked.mark.trainable} - set(self._shared)
    if not set(own) <= known:
      raise TflmFgError(
        f"client {client}: masters of tensors {sorted(set(own) - known)} are "
        "no prompt of its own; make the plan with personal='prompt'"
      )
    self._begin({**self._start, **own})
    self._first = _number_of(client) if first is None else first
    self._below = below_of(seed)

  def _begin(self, masters: Masters) -> None:
    self._start = masters
    marked = self.marked
    phase = Phase(self._shared, self.plan.method, Objective())
    self._open: OpenPhase = open_for(
      phase, marked.file, marked.mark, masters, self.x, self._options
    )
    self._passes = BatchPasses(
      self._open.graph.suffix,
      self.loss,
      Samples(self._open.inputs, self.y),
      self._open.graph.helpers,
    )

  @property
  def _shared(self) -> tuple[int, ...]:
    return tuple(t.index for t in self.layout.tensors)

  def contribute(
    self, share: Share | None = None, sent: Sent | None = None
  ) -> bytes:
    """What this client sends of the present round.

    Args:
      share: of the round's work, where the scheme divides it; None for all.
      sent: what `sums` gave in this round before; None to ask it now. Whoever
        is asked twice must not draw noise twice, which could be averaged out.
    """
    sent = sent or self.sums(share)
    message = self.message(wire.SUMS, sent.samples, [self.client], sent.sums)
    return message.to_bytes()

  def sums(self, share: Share | None = None) -> Sent:
    """The same before it is packed: clipped and hidden as the plan says.

    Raises:
      TflmFgError: if all rounds of the plan were run.
    """
    if self.is_done:
      raise TflmFgError(
        f"client {self.client}: all {self.plan.rounds} rounds were run; there "
        "is nothing to send"
      )
    scheme = scheme_of(self.plan.scheme, self.standing)
    fields, mine = scheme.fields(), share or Share()
    privacy = self.plan.privacy
    if privacy is None:
      each = [scheme.sums(p) for p in self._parts(self._lot, mine)]
      return Sent(fields, len(self.x), added(each))
    sums = self._clipped(scheme, fields, privacy, mine)
    if privacy.where == "device":
      sums = hidden(sums, fields, privacy, self.plan.most_samples, self._below)
    return Sent(fields, len(self.x), sums)

  def _clipped(
    self,
    scheme: Scheme,
    fields: tuple[Field, ...],
    privacy: Privacy,
    share: Share,
  ) -> list[Int64]:
    """Sums of units that are each clipped; losses are left out."""
    lot = 1 if privacy.unit == "sample" else self._lot
    each = [scheme.sums(part) for part in self._parts(lot, share)]
    if privacy.unit == "client":
      each = [added(each)]
    most = self.plan.most_samples
    short = [
      [
        own
        if field.name in PUBLIC
        else clipped(own, clip_of(field, privacy, most))
        for field, own in zip(fields, sums)
      ]
      for sums in each
    ]
    return [
      np.zeros_like(own) if field.name == "loss" else own
      for field, own in zip(fields, added(short))
    ]

  @property
  def _lot(self) -> int:
    return int(self.plan.method.batch_size)

  def _parts(self, lot: int, share: Share) -> Iterator[Part]:
    """The samples, so many at a time; sums of parts add up."""
    inputs = self._open.inputs
    for start in range(0, len(self.x), lot):
      rows = slice(start, start + lot)
      own = Samples(tuple(a[rows] for a in inputs), self.y[rows])
      self._passes.use(own)
      first, count = self._first + start, len(own.labels)
      yield Part(self._passes, count, own.inputs[0], own.labels, first, share)

  def score(self) -> Score:
    """How this client's own samples are answered by the masters as they stand.

    It tells a device whether what the fleet learned is good for it too.
    """
    weights = self.layout.weights(self.state.params)
    own = Samples(self._open.inputs, self.y)
    return score_weights(self._open.graph.suffix, weights, own, self.loss)


def contribute(
  model: Model,
  plan: Plan | bytes,
  x: Array,
  y: Array,
  *,
  client: str,
  steps: tuple[bytes, ...] = (),
  runtime: str = "litert",
) -> bytes:
  """What a device sends of a round, for any transport.

  Args:
    model: the plan's file, marked or plain.
    plan: of the fleet, or its bytes.
    x: samples [N, ...], as `adapt` takes them.
    y: classes [N].
    client: a name of its own in the fleet.
    steps: the steps of all rounds before.
    runtime: one of `runtimes.NAMES`.

  Raises:
    TflmFgError: if one of them does not fit the plan.

  Example:
    >>> sums = federated.contribute(model, plan, x, y, client="phone-7")
  """
  own = plan if isinstance(plan, Plan) else Plan.from_bytes(plan)
  options = RuntimeOptions(runtime=runtime)
  member = Client(model, own, x, y, client=client, runtime_options=options)
  for number, step in enumerate(steps):
    member.take(step, f"step {number}")
  return member.contribute()


def _number_of(client: str) -> int:
  digest = hashlib.sha256(client.encode()).digest()
  return int.from_bytes(digest[:4], "little") >> 1
