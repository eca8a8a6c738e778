"""A round whose sums are masked: the server sees their total and no part.

Three exchanges take the place of one. Every device draws secrets and sends a
public key; it masks its sums with what it shares with each other device and
with a mask of its own; and when the server has said who answered, these lift
their own masks and those that they share with whoever did not. A device that
answers and then does not lift its masks makes the round begin again without
it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

from apps.fleet.messages import (
  KEYS,
  MASKED,
  REVEAL,
  Exchange,
  Record,
  Records,
  content_of,
)
from tflm_fg.federated import (
  Client,
  Federation,
  Masks,
  Sent,
  Share,
  Unmasking,
  checked_key,
)
from tflm_fg.types import TflmFgError

SECRET_BYTES = 64

LEAST = 2
"""Below so many devices a sum is no secret."""


class Secrets(NamedTuple):
  """What a device keeps of a round that is masked.

  Attributes:
    secret: 64 bytes, from which its masks come.
    names: of the devices of the round; empty before it knows them.
    keys: their public keys, in the same order.
    told: for whom it has lifted masks; it does so for one list alone.
  """

  secret: bytes
  names: tuple[str, ...] = ()
  keys: tuple[bytes, ...] = ()
  told: tuple[str, ...] = ()


def answer(
  client: Client,
  request: Record,
  kept: Secrets | None,
  sums: Callable[[Share], Sent],
) -> tuple[Record, Secrets]:
  """A device's answer in a masked round, and what it keeps.

  Args:
    client: with all steps taken.
    request: that asks for one of `KEYS`, `MASKED` and `REVEAL`.
    kept: of the exchange before.
    sums: gives the client's sums of the round.

  Raises:
    TflmFgError: if the request does not follow on the one before, or asks to
      show more than a sum.
  """
  if request["ask"] == KEYS:
    secret = secrets.token_bytes(SECRET_BYTES)
    masks = Masks(client.client, secret)
    return {"key": masks.public}, Secrets(secret)
  if kept is None:
    raise TflmFgError("asked for a masked round's sums before its keys")
  masks = Masks(client.client, kept.secret)
  if request["ask"] == MASKED:
    if kept.names:
      raise TflmFgError("these masks were used; ask for new keys")
    names, keys = tuple(request["names"]), tuple(request["keys"])
    share = Share(int(request["position"]), int(request["clients"]))
    sent = sums(share)
    publics = dict(zip(names, keys))
    masked = masks.cover(client, sent.fields, sent.samples, sent.sums, publics)
    return {"masked": masked}, kept._replace(names=names, keys=keys)
  answered = tuple(sorted(request["answered"]))
  if kept.told not in ((), answered):
    raise TflmFgError("has lifted its masks for other devices in this round")
  # What it shares with the others comes from the keys, as it did before.
  masks.cover(client, (), 0, (), dict(zip(kept.names, kept.keys)))
  revealed = masks.reveal(client, answered)
  return {"revealed": revealed}, kept._replace(told=answered)


def led(
  federation: Federation,
  names: dict[int, str],
  ask: Callable[[int, str], Record],
  refused: Callable[[str], None],
) -> Exchange:
  """One round with masks, which it closes.

  Args:
    federation: the server's replica.
    names: of the devices of the round, by the transport's numbers.
    ask: what a device is sent in any case: the steps that it lacks.
    refused: told what does not count.

  Yields:
    What each device is sent; is sent what those answered who did.

  Returns:
    Numbers of the devices that answered and did not lift their masks; where
    there are none, the round was closed.
  """
  answers = yield {n: ask(n, KEYS) for n in sorted(names)}
  publics: dict[str, bytes] = {}

  def take_key(key: bytes, name: str) -> None:
    publics[name] = checked_key(name, key)

  _tell(names, answers, refused)
  _taken(answers, names, "key", take_key, refused)
  own = [n for n in sorted(names) if names[n] in publics]
  if len(own) < max(LEAST, federation.plan.least_clients):
    return sorted(names)
  round_ = Unmasking(federation, federation.fields(), publics)
  order = sorted(publics)
  roster = {"names": order, "keys": [publics[name] for name in order]}
  answers = yield {
    n: ask(n, MASKED)
    | roster
    | {"position": order.index(names[n]), "clients": len(order)}
    for n in own
  }
  _tell(names, answers, refused)
  _taken(answers, names, "masked", round_.accept, refused)
  answered = round_.answered
  if len(answered) < max(LEAST, federation.plan.least_clients):
    return sorted(names)
  here = [n for n in own if names[n] in answered]
  answers = yield {n: ask(n, REVEAL) | {"answered": answered} for n in here}
  _tell(names, answers, refused)
  _taken(answers, names, "revealed", round_.accept_revealed, refused)
  silent = [n for n in here if names[n] in round_.silent]
  if not silent:
    federation.close_with(*round_.total())
  return silent


def _tell(
  names: dict[int, str], answers: Records, refused: Callable[[str], None]
) -> None:
  for n, answer_ in sorted(answers.items()):
    if "fault" in answer_:
      refused(f"client {names[n]}: {answer_['fault']}")


def _taken(
  answers: Records,
  names: dict[int, str],
  key: str,
  take: Callable[[bytes, str], None],
  refused: Callable[[str], None],
) -> None:
  """Hands over what came; what does not fit is refused by name."""
  came: Sequence[int] = sorted(n for n, a in answers.items() if key in a)
  for n in came:
    try:
      take(content_of(answers[n], key, names[n]), names[n])
    except TflmFgError as fault:
      refused(str(fault))
