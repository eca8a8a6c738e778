"""Hide each client's sums from the server, and nothing of their total.

Every pair of clients agrees on a secret by X25519. One of the two adds what
SHAKE-256 makes of it to its sums, the other takes it off, all modulo a power
of two that holds the total, so that the server sees even random numbers whose
sum is right to the last bit. This is the construction of Bonawitz et al.
("Practical secure aggregation", CCS 2017) with its two kinds of masks: the
pairs' masks, and one of each client's own. When the server has named who
answered, these reveal their own masks and the pairs' masks with whoever did
not. So what comes late stays hidden by its own mask, and the server learns one
sum and no other. Theirs shares secrets out, so that clients may also leave
before they reveal; here the round is run again without them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.federated import keys, wire
from tflm_fg.federated.fields import Field
from tflm_fg.federated.plan import Plan
from tflm_fg.federated.privacy import total_bounds
from tflm_fg.federated.replica import Replica
from tflm_fg.federated.wire import Message
from tflm_fg.types import Int64, TflmFgError

_KEY = 32
_LABEL = b"tflm_fg fleet mask 1"
_SAMPLES = Field("samples", 1, 0, 1)


class Masks:
  """A client's secrets of one round; they are never used for another.

  Attributes:
    client: its name.
    public: 32 bytes for the others, sent through the server.
  """

  def __init__(self, client: str, secret: bytes | None = None) -> None:
    """Draws the secrets.

    Args:
      client: its name in the fleet.
      secret: 64 bytes, for tests; None draws them from the operating system.

    Raises:
      TflmFgError: if the package that knows X25519 is missing.
    """
    self.client = wire.checked_name(client)
    drawn = secrets.token_bytes(2 * _KEY) if secret is None else secret
    own = keys.x25519().X25519PrivateKey
    self._private = own.from_private_bytes(drawn[:_KEY])
    self._own = drawn[_KEY:]
    self.public: bytes = self._private.public_key().public_bytes_raw()
    self._pairs: dict[str, bytes] = {}
    self._roster = 0
    self._told: tuple[str, ...] = ()

  def cover(
    self,
    member: Replica,
    fields: Sequence[Field],
    samples: int,
    sums: Sequence[Int64],
    publics: Mapping[str, bytes],
  ) -> bytes:
    """The client's sums of the present round, masked.

    Args:
      member: the client, whose round it is.
      fields: what is summed, see `Client.sums`.
      samples: of how many samples.
      sums: int64 [n] each.
      publics: of all clients of the round, this one among them.

    Raises:
      TflmFgError: if this client or every other one is missing, a key is no
        key, or these secrets masked something before.
    """
    if self._pairs:
      raise TflmFgError(
        f"client {self.client}: these masks were used; draw new ones for every "
        "round, and for one that is run again"
      )
    if publics.get(self.client) != self.public or len(publics) < 2:
      raise TflmFgError(
        f"client {self.client}: need its own key and another client's among "
        f"the round's keys, got those of {', '.join(sorted(publics)) or 'none'}"
      )
    self._pairs = {
      name: self._agreed(name, key)
      for name, key in publics.items()
      if name != self.client
    }
    self._roster = roster_of(publics)
    own = member.message(wire.MASKED, 0, [self.client], ())
    widths = widths_of(member.plan, fields)
    masked = []
    counted = [np.array([samples], np.int64), *sums]
    for n, (numbers, bits) in enumerate(zip(counted, widths)):
      total = numbers.astype(np.uint64)
      total += _stream(self._own, own, n, numbers.size)
      for name, key in self._pairs.items():
        mask = _stream(key, own, n, numbers.size)
        total = total + mask if self.client < name else total - mask
      masked.append(_signed(total, bits))
    roster = np.array([self._roster], np.int64)
    return member.message(
      wire.MASKED, 0, [self.client], [roster, *masked]
    ).to_bytes()

  def reveal(self, member: Replica, answered: Sequence[str]) -> bytes:
    """Lifts the masks that hide the sum of those who answered.

    It does so for one list of names: two lists would show what one client
    sent.

    Args:
      member: the client, whose round it is.
      answered: names of all clients whose masked sums have come.

    Raises:
      TflmFgError: if the list is another one than before, or so short that the
        sum would tell of single clients.
    """
    names = tuple(sorted(set(answered)))
    least = max(2, member.plan.least_clients)
    if self._told and names != self._told:
      raise TflmFgError(
        f"client {self.client}: has revealed for other clients in this round; "
        "run the round again with new masks"
      )
    known = {self.client, *self._pairs}
    if self.client not in names or not set(names) <= known:
      raise TflmFgError(
        f"client {self.client}: reveals for clients of its round and itself "
        f"among them, not for {', '.join(names) or 'nobody'}"
      )
    if len(names) < least:
      raise TflmFgError(
        f"client {self.client}: {len(names)} clients answered, and below "
        f"{least} a sum is no secret; wait for more"
      )
    self._told = names
    gone = [self._pairs[n] for n in sorted(known - set(names))]
    roster = np.array([self._roster], np.int64)
    fields = [roster, *map(_words, [self._own, *gone])]
    return member.message(wire.REVEALED, 0, [self.client], fields).to_bytes()

  def _agreed(self, name: str, public: bytes) -> bytes:
    """What this client and another one alone know: 32 bytes."""
    shared = keys.exchanged(self._private, name, public)
    both = b"".join(sorted([self.public, public]))
    return hashlib.sha256(_LABEL + shared + both).digest()


class Unmasking:
  """The server's side of one round with masks.

  Attributes:
    publics: of the round's clients, by name.
  """

  def __init__(
    self,
    server: Replica,
    fields: Sequence[Field],
    publics: Mapping[str, bytes],
  ) -> None:
    """Begins a round.

    Args:
      server: whose round it is.
      fields: what is summed.
      publics: of all clients that were asked.
    """
    self.publics = dict(publics)
    self._server, self._fields = server, tuple(fields)
    self._roster = roster_of(publics)
    self._masked: dict[str, Message] = {}
    self._revealed: dict[str, Message] = {}
    self._answered: tuple[str, ...] = ()

  @property
  def answered(self) -> list[str]:
    """Whose masked sums have come; asking closes the list."""
    if not self._answered:
      self._answered = tuple(sorted(self._masked))
    return list(self._answered)

  @property
  def silent(self) -> list[str]:
    """Who has answered and not yet lifted its masks."""
    return [name for name in self.answered if name not in self._revealed]

  def accept(self, content: bytes, sender: str) -> None:
    """Takes a client's masked sums.

    Raises:
      TflmFgError: naming the client and what is wrong; the round goes on.
    """
    came = self._read(content, sender, wire.MASKED)
    if self._answered:
      raise TflmFgError(
        f"client {sender}: late: the others have revealed without it"
      )
    sizes = [1, 1, *(f.size for f in self._fields)]
    if [f.size for f in came.fields] != sizes:
      raise TflmFgError(f"client {sender}: other fields than the round's")
    before = self._masked.setdefault(sender, came)
    if before.to_bytes() != content:
      raise TflmFgError(
        f"client {sender}: has sent other sums of this round already"
      )

  def accept_revealed(self, content: bytes, sender: str) -> None:
    """Takes what a client has revealed.

    Raises:
      TflmFgError: naming the client and what is wrong.
    """
    came = self._read(content, sender, wire.REVEALED)
    gone = len(self.publics) - len(self.answered)
    if sender not in self.answered:
      raise TflmFgError(f"client {sender}: has not answered in this round")
    if [f.size for f in came.fields] != [1, *[4] * (1 + gone)]:
      raise TflmFgError(
        f"client {sender}: reveals {len(came.fields) - 1} masks, need "
        f"{1 + gone}"
      )
    self._revealed[sender] = came

  def _read(self, content: bytes, sender: str, kind: int) -> Message:
    came = wire.read(content, f"client {sender}", [kind])
    own = self._server.message(kind, 0, [sender], ())
    for what in ("plan", "number", "masters", "senders"):
      if getattr(came, what) != getattr(own, what):
        name = {"number": "round", "senders": "client"}.get(what, what)
        raise TflmFgError(f"client {sender}: is of another {name}")
    if sender not in self.publics:
      raise TflmFgError(f"client {sender}: is not of this round")
    if not came.fields or came.fields[0].tolist() != [self._roster]:
      raise TflmFgError(f"client {sender}: was given other clients' keys")
    return came

  def total(self) -> tuple[int, list[Int64], int]:
    """The sum of all who answered: samples, sums, and how many they are.

    It is what `Federation.close_with` takes.

    Raises:
      TflmFgError: if somebody who answered has not revealed.
    """
    names = self.answered
    if silent := self.silent:
      raise TflmFgError(
        f"client {', '.join(silent)}: has not revealed its mask, without which "
        "no sum can be read; run the round again without it"
      )
    if not names:
      raise TflmFgError("no client has answered; run the round again")
    gone = sorted(set(self.publics) - set(names))
    widths = widths_of(self._server.plan, self._fields)
    found = []
    for n, bits in enumerate(widths):
      size = self._masked[names[0]].fields[1 + n].size
      total = np.zeros(size, np.uint64)
      for name in names:
        came = self._masked[name]
        total += came.fields[1 + n].astype(np.uint64)
        own, *pairs = map(_bytes, self._revealed[name].fields[1:])
        total -= _stream(own, came, n, size)
        for other, key in zip(gone, pairs):
          mask = _stream(key, came, n, size)
          total = total - mask if name < other else total + mask
      found.append(_signed(total, bits))
    return int(found[0][0]), found[1:], len(names)


def roster_of(publics: Mapping[str, bytes]) -> int:
  """Tells one list of clients and keys from others: 63 bits."""
  told = b"".join(
    len(n.encode()).to_bytes(1, "little") + n.encode() + publics[n]
    for n in sorted(publics)
  )
  digest = hashlib.sha256(_LABEL + told).digest()
  return int.from_bytes(digest[:8], "little") >> 1


def widths_of(plan: Plan, fields: Sequence[Field]) -> list[int]:
  """Bits that hold the total of each field, the count of samples first."""
  clients, most = plan.most_clients, plan.most_samples
  found = []
  for field in (_SAMPLES, *fields):
    whole = total_bounds(field, plan.privacy, clients * most, clients, most)
    if (bits := whole.bits(1)) > 63:
      raise TflmFgError(
        f"{field.name}: the sum of {clients} clients of {most} samples needs "
        f"{bits} bits, and masks have 63; plan with fewer"
      )
    found.append(bits)
  return found


def _stream(key: bytes, told: Message, field: int, size: int) -> NDArray[Any]:
  """Even random numbers of a key, a round and a field: uint64 [size]."""
  where = told.number.to_bytes(4, "little") + field.to_bytes(4, "little")
  drawn = hashlib.shake_256(_LABEL + key + told.plan + told.masters + where)
  return np.frombuffer(drawn.digest(8 * size), "<u8").astype(np.uint64)


def _signed(numbers: NDArray[Any], bits: int) -> Int64:
  """What numbers are modulo 2**bits, from -2**(bits - 1) up."""
  up = numbers << np.uint64(64 - bits)
  return np.asarray(up.view(np.int64) >> (64 - bits), np.int64)


def _words(key: bytes) -> Int64:
  return np.frombuffer(key, "<i8").astype(np.int64)


def _bytes(words: Int64) -> bytes:
  return words.astype("<i8").tobytes()
