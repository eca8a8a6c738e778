"""The server's side of a fleet: whom it asks, and what it makes of answers.

It is written as a generator, so that the same lines lead devices in this
process, in a simulation and behind a network: they yield what each device is
sent and are sent what came back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from apps.fleet import masked
from apps.fleet.messages import (
  JOIN,
  MASTERS,
  SUMS,
  Exchange,
  Record,
  Records,
  content_of,
  size,
)
from tflm_fg.federated import Federation, checked_name
from tflm_fg.types import TflmFgError

TRIES = 5
"""How often a round is asked for until enough devices have answered."""


@dataclasses.dataclass
class Known:
  """What the server knows of a device.

  Attributes:
    name: that it gave itself.
    have: steps that it took.
    up: bytes that it sent.
    down: bytes that it was sent.
    equal: whether its masters were the server's behind the last round; None
      where it did not answer.
  """

  name: str
  have: int = 0
  up: int = 0
  down: int = 0
  equal: bool | None = None


class Server:
  """Leads a fleet through its rounds.

  Attributes:
    federation: the server's replica, and what came in.
    known: devices that joined, by the transport's numbers.
    missed: answers that did not come.
    refused: why answers did not count, each with the device's name.
    secure: whether sums are masked.
  """

  def __init__(self, federation: Federation, secure: bool = False) -> None:
    """Makes a server.

    Args:
      federation: the replica that it leads.
      secure: whether sums are masked, so that it sees their total alone.
    """
    self.federation, self.secure = federation, secure
    self.known: dict[int, Known] = {}
    self.missed = 0
    self._exchanges = 0
    self.refused: list[str] = []
    self._rejected: set[int] = set()

  def rounds(self, present: Callable[[], Sequence[int]]) -> Exchange:
    """All rounds, and at the end a comparison of masters.

    Args:
      present: numbers of the devices that are there now. One that comes later
        joins, and replays what it missed.

    Yields:
      What each device is sent; is sent what those answered who did.

    Raises:
      TflmFgError: if a round finds too few devices.
    """
    while not self.federation.is_done:
      if self.secure:
        yield from self._masked_round(present)
      else:
        yield from self._open_round(present)
    yield from self._compare()

  def _open_round(self, present: Callable[[], Sequence[int]]) -> Exchange:
    for _ in range(TRIES):
      yield from self._join(present())
      yield from self._ask()
      if len(self.federation.clients) >= self.federation.plan.least_clients:
        break
    self.federation.close()

  def _masked_round(self, present: Callable[[], Sequence[int]]) -> Exchange:
    number, left_out = self.federation.number, set[int]()
    for _ in range(TRIES):
      yield from self._join(present())
      names = {n: known.name for n, known in self.known.items()}
      names = {n: name for n, name in names.items() if n not in left_out}
      self._exchanges += 1
      told = masked.led(
        self.federation, names, self._request, self.refused.append
      )
      silent = yield from self._counted(told)
      if self.federation.number > number:
        return
      if len(silent) < len(names):
        left_out |= set(silent)
    least = max(masked.LEAST, self.federation.plan.least_clients)
    raise TflmFgError(
      f"round {number}: fewer than {least} devices answered and lifted their "
      f"masks, {TRIES} times; see that more are there"
    )

  def _counted(self, inner: Exchange) -> Exchange:
    """The same exchanges, with their bytes and what did not come counted."""
    answers: Records | None = None
    while True:
      try:
        requests = inner.send(answers)  # type: ignore[arg-type]
      except StopIteration as end:
        return end.value
      answers = yield requests
      self.missed += len(requests.keys() - answers.keys())
      self._count(requests, answers)

  def _join(self, nodes: Sequence[int]) -> Exchange:
    """Tells new devices the plan; nothing is sent where none is new."""
    new = [n for n in nodes if n not in self.known and n not in self._rejected]
    if not new:
      return
    plan = self.federation.plan.to_bytes()
    answers = yield {node: {"ask": JOIN, "plan": plan} for node in new}
    for node in sorted(answers):
      answer = answers[node]
      try:
        name = checked_name(str(answer.get("name", "")))
      except TflmFgError as fault:
        self._reject(node, str(fault))
        continue
      if "fault" in answer:
        self._reject(node, f"client {name}: {answer['fault']}")
      elif any(known.name == name for known in self.known.values()):
        self._reject(node, f"client {name}: its name is taken")
      else:
        self.known[node] = Known(name, up=size(answer), down=len(plan))

  def _reject(self, node: int, reason: str) -> None:
    self._rejected.add(node)
    self.refused.append(reason)

  def _ask(self) -> Exchange:
    """Asks for sums, once more of those that had missed steps."""
    order = sorted(self.known, key=lambda node: self.known[node].name)
    shares = {node: at for at, node in enumerate(order)}
    asked = order
    for _ in range(2):
      if not asked:
        return
      self._exchanges += 1
      requests = {
        node: self._request(node, SUMS)
        | {"position": shares[node], "clients": len(order)}
        for node in asked
      }
      answers = yield requests
      self.missed += len(requests.keys() - answers.keys())
      self._count(requests, answers)
      asked = [node for node in sorted(answers) if self._behind(answers[node])]
      for node in sorted(answers.keys() - set(asked)):
        self._take(node, answers[node])

  def _request(self, node: int, ask: str) -> Record:
    have = self.known[node].have
    known = max(have, 0)
    request = {
      "ask": ask,
      "round": self._exchanges,
      "from": known,
      "steps": self.federation.since(known),
    }
    if have < 0:  # it has lost what it knew
      request["plan"] = self.federation.plan.to_bytes()
    return request

  def _count(self, requests: Records, answers: Records) -> None:
    """Bytes of an exchange, and how far each device is."""
    for node, request in requests.items():
      self.known[node].down += size(request)
    for node, answer in answers.items():
      self.known[node].up += size(answer)
      have = answer.get("have")
      usable = type(have) is int and 0 <= have <= self.federation.number
      self.known[node].have = have if usable else -1

  def _behind(self, answer: Record) -> bool:
    """Whether a device has missed steps and says no more."""
    return not {"sums", "masters", "fault"} & answer.keys()

  def _take(self, node: int, answer: Record) -> None:
    name = self.known[node].name
    if "fault" in answer:
      self.refused.append(f"client {name}: {answer['fault']}")
      return
    try:
      sums = content_of(answer, "sums", name)
    except TflmFgError as fault:
      self.refused.append(str(fault))
      return
    verdict = self.federation.accept(sums, name)
    if not verdict.taken:
      self.refused.append(
        f"round {verdict.number}: client {name}: {verdict.reason}"
      )

  def _compare(self) -> Exchange:
    """Lets everyone take the last steps, and compares the masters."""
    wanted = self.federation.masters_sha256
    asked = sorted(self.known)
    for _ in range(2):
      if not asked:
        return
      requests = {node: self._request(node, MASTERS) for node in asked}
      answers = yield requests
      self._count(requests, answers)
      asked = [node for node in sorted(answers) if self._behind(answers[node])]
      for node in answers.keys() - set(asked):
        self.known[node].equal = answers[node].get("masters") == wanted

  def report(self) -> dict[str, Any]:
    """What happened, for people and programs."""
    devices = list(self.known.values())
    privacy = self.federation.plan.privacy
    answered = [known for known in devices if known.equal is not None]
    count = max(1, len(devices))
    return {
      "scheme": self.federation.plan.scheme,
      "secure": self.secure,
      "clients": len(devices),
      "rounds": len(self.federation.rounds),
      "samples": max((r.samples for r in self.federation.rounds), default=0),
      "epsilon": privacy and privacy.epsilon(self.federation.releases),
      "delta": privacy and privacy.delta,
      "losses": [r.loss for r in self.federation.rounds],
      "contributions": sum(r.clients for r in self.federation.rounds),
      "missed": self.missed,
      "refused": self.refused,
      "bytes_up": round(sum(known.up for known in devices) / count),
      "bytes_down": round(sum(known.down for known in devices) / count),
      "masters_sha256": self.federation.masters_sha256,
      "masters_compared": len(answered),
      "masters_equal": all(known.equal for known in answered),
    }


def require_equal(server: Server) -> None:
  """Refuses an end at which devices hold other numbers than the server.

  Raises:
    TflmFgError: naming them.
  """
  others = [k.name for k in server.known.values() if k.equal is False]
  if others:
    raise TflmFgError(
      f"clients {', '.join(sorted(others))}: hold other masters than the "
      "server behind the last round; nothing is written"
    )
