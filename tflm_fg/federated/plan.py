"""Say once what a fleet does: from which file, by which scheme, how long.

A plan is agreed on before anything is sent. Every message names its SHA-256,
so that nobody adds up what was meant for something else.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import Any

from tflm_fg.federated import wire
from tflm_fg.federated.privacy import Privacy
from tflm_fg.gradients.method import Method
from tflm_fg.training.objective import Objective
from tflm_fg.training.settings_record import from_record, to_record
from tflm_fg.types import TflmFgError, require_one

METHODS = {
  "closed-form": ("closed-form",),
  "one-round": ("closed-form",),
  "signs": ("sign-m-spsa", "spsa"),
  "per-sample": ("per-sample",),
  "split": ("sign-m-spsa", "spsa"),
}
"""Scheme -> the methods that it runs, by name."""

SCHEMES = tuple(METHODS)
"""How clients learn together; docs/fleet.md says which suits what."""

FORMAT = 1

_RANGES = {
  "rounds": (1, 1 << 20),
  "most_samples": (1, 1 << 24),
  "least_clients": (1, wire.MOST_SENDERS),
  "most_clients": (1, wire.MOST_SENDERS),
  "most_weight": (0, 1 << 24),
}


def require_method(scheme: str, method: Method) -> None:
  """Refuses a method that a scheme does not run."""
  if method.name not in METHODS[scheme]:
    known = " or ".join(map(repr, METHODS[scheme]))
    raise TflmFgError(
      f"scheme {scheme!r}: does not run method {method.name!r}; use {known}"
    )


def rounds_of(scheme: str, method: Method) -> int:
  """How many rounds a plan takes: the steps, and one of measuring."""
  if scheme == "one-round":
    return 1
  return int(method.steps) + (scheme == "closed-form")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """What all members of a fleet know.

  Attributes:
    model_sha256: of the marked file that all begin with.
    trainable: what trains, as for `mark_trainable`.
    gain: whether an input prompt has a gain too.
    scheme: one of `SCHEMES`.
    method: of what is shared, with all settings filled in.
    personal: "" or "prompt": an input prompt that stays on its device.
    rounds: how many rounds there are, measuring among them.
    most_samples: that one client may count for; what it sends is checked
      against the samples that it states.
    least_clients: a round with fewer is not closed.
    most_clients: that a round may have; with `most_samples` it says how wide
      masked numbers are.
    most_weight: what a client states above so many samples is scaled down to
      them; 0 never does that.
    privacy: the noise that is added; None for none.
  """

  model_sha256: str
  trainable: str
  scheme: str
  method: Method
  rounds: int
  gain: bool = False
  personal: str = ""
  most_samples: int = 4096
  least_clients: int = 1
  most_clients: int = 1024
  most_weight: int = 0
  privacy: Privacy | None = None

  def __post_init__(self) -> None:
    require_one("scheme", self.scheme, SCHEMES)
    require_one("personal", self.personal, ("", "prompt"))
    for name, (low, high) in _RANGES.items():
      value = getattr(self, name)
      if type(value) is not int or not low <= value <= high:
        raise TflmFgError(f"{name}={value!r}: need {low} to {high}")
    require_method(self.scheme, self.method)
    if self.rounds != (wanted := rounds_of(self.scheme, self.method)):
      raise TflmFgError(
        f"rounds={self.rounds}: the method's steps take {wanted}"
      )
    if self.least_clients > self.most_clients:
      raise TflmFgError(
        f"least_clients={self.least_clients}: above most_clients="
        f"{self.most_clients}; no round could be closed"
      )
    if self.most_clients * self.most_samples >= 1 << 31:
      raise TflmFgError(
        f"most_clients={self.most_clients} of most_samples="
        f"{self.most_samples}: need fewer than 2**31 samples in a round"
      )

  def to_bytes(self) -> bytes:
    """The plan as one line of JSON, in its one form."""
    entry = {"tflm_fg_fleet": FORMAT} | {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
    }
    entry["method"] = to_record(self.method, Objective())
    entry["privacy"] = self.privacy and dataclasses.asdict(self.privacy)
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"

  @classmethod
  def from_bytes(cls, content: bytes, name: str = "plan") -> Plan:
    """Reads a plan.

    Raises:
      TflmFgError: if it is none, or a value in it does not fit.
    """
    try:
      entry = json.loads(content)
      if not isinstance(entry, dict) or entry.pop("tflm_fg_fleet", 0) != FORMAT:
        raise ValueError(f"it does not begin as format {FORMAT}")
      return cls._of(entry)
    except (ValueError, TypeError, KeyError, RecursionError) as fault:
      cause = str(fault)
    except TflmFgError as fault:
      cause = str(fault)
    raise TflmFgError(
      f"{name}: no plan of a fleet ({cause}); take the one that the server "
      "wrote"
    )

  @classmethod
  def _of(cls, entry: dict[str, Any]) -> Plan:
    method, _ = from_record(entry.pop("method"))
    privacy = entry.pop("privacy")
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := set(entry) - known:
      raise ValueError(f"there is no setting {min(unknown)!r}")
    if any(not isinstance(entry.get(n), bool) for n in ("gain",)):
      raise ValueError("gain is neither true nor false")
    for key in ("model_sha256", "trainable", "scheme", "personal"):
      if not isinstance(entry.get(key), str):
        raise ValueError(f"{key} is no text")
    return cls(
      method=method,
      privacy=None if privacy is None else Privacy(**privacy),
      **entry,
    )

  @functools.cached_property
  def digest(self) -> bytes:
    """By which messages name it: 16 bytes."""
    return hashlib.sha256(self.to_bytes()).digest()[: wire.DIGEST]
