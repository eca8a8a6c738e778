"""A device's side of a fleet: it answers what the server asks.

A device remembers the plan and the steps that it took, and nothing else: from
these it makes the shared numbers again, bit for bit, whenever it is asked.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

import tflm_fg
from apps.fleet import masked
from apps.fleet.messages import (
  JOIN,
  KEYS,
  MASKED,
  MASTERS,
  REVEAL,
  SUMS,
  Record,
)
from tflm_fg.federated import (
  Client,
  Field,
  Plan,
  Sent,
  Share,
  personal_prompt,
)
from tflm_fg.marking import Model
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.types import Array, TflmFgError, one_line

_ASKS = (SUMS, KEYS, MASKED, REVEAL, MASTERS)


class Memory(NamedTuple):
  """What a device keeps from one message to the next.

  Attributes:
    plan: of the fleet; empty before it has joined.
    steps: all that it took, as they were sent.
    secrets: of a masked round that is open; None where none is.
    personal: masters of the device's own prompt, by tensor, as they are packed;
      None before it was looked for.
    sent: sums of the present round with noise, which is drawn but once.
  """

  plan: bytes = b""
  steps: tuple[bytes, ...] = ()
  secrets: masked.Secrets | None = None
  personal: bytes | None = None
  sent: bytes | None = None


class Device:
  """A model and some samples, which never leave it.

  Attributes:
    name: by which the server knows it.
  """

  def __init__(
    self,
    name: str,
    model: Model,
    x: Array,
    y: Array,
    memory: Memory | None = None,
    runtime: str = "litert",
    seed: int | None = None,
  ) -> None:
    """Takes a device's samples; its model is opened when it is needed.

    Args:
      name: of its own in the fleet.
      model: the .tflite that all devices have.
      x: samples [N, ...], as `adapt` takes them.
      y: classes [N].
      memory: of before; None where there is none.
      runtime: one of `runtimes.NAMES`.
      seed: of noise, for tests; None draws it from the operating system.
    """
    self.name = name
    self._model, self._x, self._y = model, x, y
    self._options = RuntimeOptions(runtime=runtime)
    self._seed = seed
    self._client: Client | None = None
    self._memory = memory or Memory()

  @property
  def memory(self) -> Memory:
    """What must be kept until the next message."""
    if self._client is None:
      return self._memory
    return self._memory._replace(steps=tuple(self._client.steps))

  def answer(self, request: Record) -> Record:
    """Answers the server.

    A device never ends with an error for what a server sends: the answer says
    what is wrong.

    Args:
      request: `ask` says what for; see `apps.fleet.messages`.
    """
    try:
      return {"name": self.name, **self._answered(request)}
    except TflmFgError as fault:
      return {"name": self.name, "have": self._have, "fault": one_line(fault)}

  def _answered(self, request: Record) -> Record:
    ask = request.get("ask")
    if "plan" in request:
      self._join(bytes(request["plan"]))
    if ask == JOIN:
      return {"have": self._have}
    if ask not in _ASKS:
      raise TflmFgError(f"asked for {ask!r}, need one of {', '.join(_ASKS)}")
    client = self._ready()
    first = int(request["from"])
    if client is None or client.number < first:
      return {"have": self._have}  # the server sends what is missing
    for step in list(request["steps"])[client.number - first :]:
      client.take(step)
    if ask == MASTERS:
      return {"have": client.number, "masters": client.masters_sha256}
    if ask != SUMS:
      own = self._memory.secrets
      found, kept = masked.answer(client, request, own, self._sums)
      self._memory = self._memory._replace(secrets=kept)
      return {"have": client.number, **found}
    share = Share(int(request["position"]), int(request["clients"]))
    sums = client.contribute(share, self._sums(share))
    return {"have": client.number, "sums": sums}

  def _sums(self, share: Share) -> Sent:
    """The sums of the present round; with noise the same ones if asked again.

    A server that asks often could average out noise that is drawn anew.
    """
    client, kept = self._ready(), self._memory.sent
    assert client is not None  # it was asked for sums
    if kept is not None and (held := kept_sums(kept, client.number)):
      return held
    sent = client.sums(share)
    if client.plan.privacy is not None:
      own = packed_sums(client.number, sent)
      self._memory = self._memory._replace(sent=own)
    return sent

  def _own_prompt(self, plan: Plan) -> Mapping[int, Array] | None:
    """The device's prompt where it has one; found once, without labels."""
    if not plan.personal:
      return None
    if self._memory.personal is None:
      found = personal_prompt(
        self._model, plan, self._x, runtime_options=self._options
      )
      self._memory = self._memory._replace(personal=packed(found))
    return unpacked(self._memory.personal or b"")

  def adapted(self) -> bytes:
    """The model as this device has it, with its own prompt.

    Raises:
      TflmFgError: if it knows no plan.
    """
    client = self._ready()
    if client is None:
      raise TflmFgError(f"client {self.name}: has joined no fleet")
    return tflm_fg.strip(client.file().data)

  def _join(self, plan: bytes) -> None:
    if plan == self._memory.plan:
      return
    self._client, self._memory = None, Memory(plan)
    try:
      self._ready()
    except TflmFgError:
      self._memory = Memory()
      raise

  @property
  def _have(self) -> int:
    """Steps that it took; -1 before it has joined."""
    memory = self.memory
    return len(memory.steps) if memory.plan else -1

  def _ready(self) -> Client | None:
    """The client with all steps that are remembered; None before it joined."""
    memory = self._memory
    if self._client is None and memory.plan:
      plan = Plan.from_bytes(memory.plan)
      client = Client(
        self._model,
        plan,
        self._x,
        self._y,
        client=self.name,
        runtime_options=self._options,
        personal=self._own_prompt(plan),
        seed=self._seed,
      )
      for step in memory.steps:
        client.take(step)
      self._client = client
    return self._client


def packed(masters: Mapping[int, Array]) -> bytes:
  """Masters by tensor index as bytes."""
  content = io.BytesIO()
  np.savez(content, **{str(index): own for index, own in masters.items()})
  return content.getvalue()


def unpacked(content: bytes) -> dict[int, Array]:
  """Masters that were packed."""
  with np.load(io.BytesIO(content), allow_pickle=False) as held:
    return {int(name): held[name] for name in held.files}


def packed_sums(number: int, sent: Sent) -> bytes:
  """Sums of a round as bytes."""
  head = json.dumps([number, sent.samples, [list(f) for f in sent.fields]])
  return head.encode() + b"\n" + packed(dict(enumerate(sent.sums)))


def kept_sums(content: bytes, number: int) -> Sent | None:
  """Sums that were packed; None where they are of another round."""
  head, _, rest = content.partition(b"\n")
  of, samples, fields = json.loads(head)
  if of != number:
    return None
  arrays = unpacked(rest)
  sums = [arrays[n].astype(np.int64) for n in range(len(arrays))]
  return Sent(tuple(Field(*own) for own in fields), samples, sums)
