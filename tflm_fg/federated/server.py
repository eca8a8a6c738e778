"""Hold a fleet together: take sums, refuse what cannot be, make the next step.

The server has no sample. It adds up whole numbers, so that neither the order
in which clients answer nor how samples are spread over them changes a bit of
what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tflm_fg.federated import wire
from tflm_fg.federated.fields import (
  GRADIENTS,
  Field,
  Sums,
  added,
  fault_of,
  weighed,
)
from tflm_fg.federated.noise import below_of
from tflm_fg.federated.plan import Plan
from tflm_fg.federated.privacy import (
  Privacy,
  hidden,
  shrunk,
  total_bounds,
  variance_of,
)
from tflm_fg.federated.replica import Replica
from tflm_fg.federated.schemes.known import releases_of, scheme_of
from tflm_fg.federated.wire import Message
from tflm_fg.marking import Model
from tflm_fg.tflite.training_metadata import without_mark
from tflm_fg.types import TflmFgError


class Verdict(NamedTuple):
  """What became of something that a client sent.

  Attributes:
    number: of the round that was open.
    client: its name, or the names of those whose sums it holds.
    taken: whether it counts. What came before, bit for bit, counts once.
    reason: why not; empty for what was taken.
  """

  number: int
  client: str
  taken: bool
  reason: str = ""


class Round(NamedTuple):
  """A round that was closed.

  Attributes:
    number: from 0.
    clients: whose sums came in.
    samples: that they are of.
    loss: the mean loss in nats at the masters where it began; None where
      the sums do not tell.
  """

  number: int
  clients: int
  samples: int
  loss: float | None


class Federation(Replica):
  """The server of a fleet: its replica of the masters, and what came in.

  Attributes:
    rounds: that were closed.
    refusals: of all rounds, each with the client's name.
    releases: fields of the whole plan that noise hides, where it has noise;
      its epsilon is `plan.privacy.epsilon(releases)`.
  """

  def __init__(
    self,
    model: Model,
    plan: Plan,
    *,
    seed: int | None = None,
    name: str | None = None,
  ) -> None:
    """Begins at the plan's model.

    Args:
      model: the plan's file, marked or plain.
      plan: of the fleet.
      seed: of the noise that the plan may ask of the server, for tests; None
        draws it from the operating system.
      name: what to call the model in errors; by default its path.

    Raises:
      TflmFgError: if it is another model.
    """
    super().__init__(model, plan, name)
    self.rounds: list[Round] = []
    self.refusals: list[Verdict] = []
    self._below = below_of(seed)
    self._came: dict[str, Message] = {}
    self._bytes: dict[str, bytes] = {}
    self.releases = releases_of(plan.scheme, self.standing, plan.rounds)

  @property
  def clients(self) -> list[str]:
    """Whose sums of the open round were taken."""
    return sorted(self._came)

  def fields(self) -> tuple[Field, ...]:
    """What the open round sums up."""
    return scheme_of(self.plan.scheme, self.standing).fields()

  def accept(self, content: bytes, sender: str = "") -> Verdict:
    """Takes what a client sent of the open round, or says why not.

    Nothing that a client sends can end the round: what is damaged, late, of
    another base or plan, or beyond what its samples can give is refused by
    name, and the others' sums stay.

    Args:
      content: sums, as `contribute` or `combine` gives them.
      sender: the name by which the transport knows the client; empty where it
        knows none. Sums under another name are refused.
    """
    who = sender or "of no name"
    try:
      came = wire.read(content, f"client {who}", [wire.SUMS])
    except TflmFgError as fault:
      reason = str(fault).removeprefix(f"client {who}: ")  # told once
      return self._refused(who, reason)
    names = ", ".join(came.senders)
    if sender and came.senders != (sender,):
      return self._refused(who, f"sent sums in the name of {names or 'nobody'}")
    known = {self._bytes.get(c) for c in came.senders}
    if known == {content}:
      return Verdict(self.number, names, True, "")
    if reason := self._fault(came):
      return self._refused(names or who, reason)
    # A combined message stands under its first name, and under all.
    self._came |= dict.fromkeys(came.senders, came)
    self._bytes |= dict.fromkeys(came.senders, content)
    return Verdict(self.number, names, True)

  def _refused(self, client: str, reason: str) -> Verdict:
    verdict = Verdict(self.number, client, False, reason)
    self.refusals.append(verdict)
    return verdict

  def _fault(self, came: Message) -> str:
    """Why sums do not count; empty where they do."""
    if self.is_done:
      return f"all {self.plan.rounds} rounds were run"
    if came.plan != self.plan.digest:
      return "its sums are of another plan; give it this fleet's"
    if came.number < self.number:
      return f"late: sums of round {came.number}, and {self.number} is open"
    if came.number > self.number:
      return f"early: sums of round {came.number}, and {self.number} is open"
    own = self.message(wire.SUMS, 0, (), ()).masters
    if came.masters != own:
      return (
        f"its masters are others (SHA-256 {came.masters.hex()[:8]}, need "
        f"{own.hex()[:8]}): another base, or a step that it missed"
      )
    if not came.senders:
      return "its sums name no client"
    if again := sorted(set(came.senders) & set(self._came)):
      return f"other sums of {', '.join(again)} were taken in this round"
    if len(self._came) + len(came.senders) > self.plan.most_clients:
      return f"the round has its {self.plan.most_clients} clients already"
    most = self.plan.most_samples * len(came.senders)
    if not 0 < came.samples <= most:
      return f"states {came.samples} samples, and the plan takes 1 to {most}"
    return self._beyond(came.samples, came.fields, len(came.senders))

  def _beyond(self, samples: int, sums: Sums, clients: int) -> str:
    """What so many samples cannot give; empty for nothing."""
    scheme = scheme_of(self.plan.scheme, self.standing)
    fields = scheme.fields()
    if self.plan.privacy is None:
      return fault_of(fields, samples, sums) or scheme.fault(samples, sums)
    counted = self.plan.privacy, samples, clients, self.plan.most_samples
    whole = tuple(total_bounds(field, *counted) for field in fields)
    return fault_of(whole, 1, sums)

  def close(self) -> bytes:
    """Adds up what came in, takes the step, and gives it for the clients.

    Raises:
      TflmFgError: if fewer clients than the plan asks for have answered.
    """
    messages = list({id(m): m for m in self._came.values()}.values())
    parts = []
    for came in messages:
      most = self.plan.most_weight * len(came.senders)
      parts.append(weighed(came.fields, came.samples, most))
    samples = sum(count for _, count in parts)
    self._require(samples, len(self._came))
    return self._closed(samples, added([s for s, _ in parts]), len(self._came))

  def close_with(self, samples: int, sums: Sums, clients: int) -> bytes:
    """The same with sums that others have added up, such as masked ones.

    Of these the server sees no client's own, so that the bounds hold for all
    of them together and not for each.

    Args:
      samples: of all clients.
      sums: of all clients.
      clients: how many they are.

    Raises:
      TflmFgError: if they are too few, or the sums beyond what so many samples
        can give.
    """
    self._require(samples, clients)
    most = self.plan.most_samples * clients
    reason = f"{samples} samples, and the plan takes {most} of them"
    if samples <= most:
      reason = self._beyond(samples, sums, clients)
    if reason:
      raise TflmFgError(
        f"round {self.number}: the sum of all clients: {reason}; run the round "
        "again with fewer of them to find who it is"
      )
    return self._closed(samples, sums, clients)

  def _require(self, samples: int, clients: int) -> None:
    if clients < self.plan.least_clients or not samples:
      raise TflmFgError(
        f"round {self.number}: sums of {clients} clients came, need "
        f"{self.plan.least_clients}; wait for more, or plan with fewer"
      )

  def _closed(self, samples: int, sums: Sums, clients: int) -> bytes:
    """Takes the step of sums that can be, and gives it."""
    standing, loss = self.standing, None
    if self.plan.privacy is not None:
      sums, noise = self._noisy(samples, sums, self.plan.privacy, clients)
      standing = standing._replace(noise=noise)
    scheme = scheme_of(self.plan.scheme, standing)
    if self.plan.privacy is None:
      loss = scheme.mean_loss(samples, sums)
    step = scheme.step(samples, sums)
    self._apply(step, f"round {self.number}")
    content = self.message(wire.STEP, samples, (), step).to_bytes()
    self.rounds.append(Round(self.number, clients, samples, loss))
    self.steps.append(content)
    self._came, self._bytes = {}, {}
    return content

  def _noisy(
    self, samples: int, sums: Sums, privacy: Privacy, clients: int
  ) -> tuple[Sums, tuple[int, ...]]:
    """The sums with all their noise, and how much of it each field has.

    What noise cannot have left so is mended: no sum is beyond its bounds.
    """
    fields, most = self.fields(), self.plan.most_samples
    if privacy.where == "server":
      sums = hidden(sums, fields, privacy, most, self._below)
    variances = [variance_of(f, privacy, clients, most) for f in fields]
    sums = [
      shrunk(own, variance)
      if field.name in GRADIENTS
      else np.clip(own, samples * field.low, samples * field.high)
      for field, own, variance in zip(fields, sums, variances)
    ]
    return sums, tuple(math.isqrt(v) for v in variances)

  def since(self, number: int) -> list[bytes]:
    """The steps that a client has missed which took `number` of them."""
    return self.steps[number:]


def apply(model: Model, plan: Plan | bytes, contents: Sequence[bytes]) -> bytes:
  """The model after some rounds: from steps, or from the sums of a round.

  Args:
    model: the plan's file, marked or plain.
    plan: of the fleet, or its bytes.
    contents: steps in their order; sums of the round behind them, of single
      clients or combined, close it.

  Returns:
    The plain .tflite.

  Raises:
    TflmFgError: if one of them is refused, with its reason.

  Example:
    >>> sums = federated.combine([sums_of_a_phone, sums_of_a_board])
    >>> adapted = federated.apply("kws.tflite", plan, [sums])
  """
  return without_mark(closed(model, plan, contents).file())


def closed(
  model: Model, plan: Plan | bytes, contents: Sequence[bytes]
) -> Federation:
  """The same as a server that goes on from there; its last step may be sent.

  Raises:
    TflmFgError: as `apply`.
  """
  own = plan if isinstance(plan, Plan) else Plan.from_bytes(plan)
  federation = Federation(model, own)
  came = False
  for n, content in enumerate(contents):
    kinds = [wire.STEP, wire.SUMS]
    if wire.read(content, f"content {n}", kinds).kind == wire.STEP:
      federation.take(content, f"step {n}")
      continue
    verdict = federation.accept(content)
    if not verdict.taken:
      raise TflmFgError(f"client {verdict.client}: {verdict.reason}")
    came = True
  if came:
    federation.close()
  return federation
