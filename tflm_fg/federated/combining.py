"""Add up what clients sent, on whatever lies between them and the server."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tflm_fg.federated import wire
from tflm_fg.federated.fields import added
from tflm_fg.federated.wire import Message
from tflm_fg.types import TflmFgError


def combine(
  contents: Sequence[bytes], names: Sequence[str] | None = None
) -> bytes:
  """Adds up what clients sent; neither order nor grouping changes a bit.

  The same sums twice count once. It needs no model, so that any device on the
  way can do it; whoever closes the round checks what comes of it.

  Args:
    contents: sums of one round, of single clients or combined before.
    names: what to call them in errors; by default by their place.

  Raises:
    TflmFgError: if one is damaged or of another round, plan or base, or a
      client is in two of them.
  """
  called = names or [f"sums {n}" for n in range(len(contents))]
  distinct = list(dict.fromkeys(contents))
  called = [called[contents.index(content)] for content in distinct]
  if not distinct:
    raise TflmFgError("combine: nothing to add up; give the clients' sums")
  parts = [
    wire.read(content, name, [wire.SUMS])
    for content, name in zip(distinct, called)
  ]
  first = parts[0]
  shape = [f.size for f in first.fields]
  for part, own_name in zip(parts, called):
    told = ", ".join(part.senders)
    for what in ("plan", "number", "masters"):
      if getattr(part, what) != getattr(first, what):
        name = "round" if what == "number" else what
        raise TflmFgError(
          f"{own_name} of {told}: are of another {name} than those of "
          f"{', '.join(first.senders)}; combine what belongs together"
        )
    if [f.size for f in part.fields] != shape:
      raise TflmFgError(
        f"{own_name} of {told}: have other fields than the first"
      )
  senders = [s for part in parts for s in part.senders]
  if len(senders) > wire.MOST_SENDERS:
    raise TflmFgError(
      f"combine: sums of {len(senders)} clients, need at most "
      f"{wire.MOST_SENDERS}; combine fewer"
    )
  if twice := sorted({s for s in senders if senders.count(s) > 1}):
    raise TflmFgError(
      f"combine: {', '.join(twice)} is in two different sums; leave one out"
    )
  total = Message(
    wire.SUMS,
    first.number,
    first.plan,
    first.masters,
    sum(part.samples for part in parts),
    tuple(sorted(senders)),
    tuple(added([part.fields for part in parts])),
  )
  if any(_overflows(parts, n) for n in range(len(shape))):
    raise TflmFgError("combine: sums beyond 64 bits; one of them is no sum")
  return total.to_bytes()


def _overflows(parts: Sequence[Message], field: int) -> bool:
  if not parts[0].fields[field].size:
    return False
  sizes = [np.abs(p.fields[field].astype(np.float64)).max() for p in parts]
  return bool(sum(sizes) >= 2.0**62)
