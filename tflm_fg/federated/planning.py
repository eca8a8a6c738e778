"""Make a fleet's plan from a model."""

from __future__ import annotations

import hashlib

from tflm_fg import marking
from tflm_fg.federated.plan import SCHEMES, Plan, rounds_of
from tflm_fg.federated.privacy import Privacy
from tflm_fg.federated.replica import PERSONAL_ROLES
from tflm_fg.federated.schemes.known import TRAINABLE, method_for
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.method import Method
from tflm_fg.marking import Model
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.split_graph import exact_tensors
from tflm_fg.training.objective import logits_spec, loss_of
from tflm_fg.types import TflmFgError, require_one


def plan_for(
  model: Model,
  scheme: str = "closed-form",
  *,
  trainable: str | None = None,
  gain: bool = False,
  method: Method | None = None,
  personal: str = "",
  most_samples: int = 4096,
  least_clients: int = 1,
  most_clients: int = 1024,
  most_weight: int = 0,
  privacy: Privacy | None = None,
  name: str | None = None,
) -> Plan:
  """The plan of a fleet that learns together, with all settings filled in.

  Args:
    model: the path or the bytes of the .tflite that all devices have.
    scheme: one of `SCHEMES`.
    trainable: what trains, as for `mark_trainable`; None for what suits the
      scheme.
    gain: whether an input prompt has a gain too.
    method: a method that the scheme runs, with settings; None for its own.
    personal: "prompt" for an input prompt that stays on its device.
    most_samples: see `Plan`.
    least_clients: see `Plan`.
    most_clients: see `Plan`.
    most_weight: see `Plan`.
    privacy: see `Plan`.
    name: what to call the model in errors; by default its path.

  Raises:
    TflmFgError: if the model is no classifier, or the scheme does not suit it.

  Example:
    >>> plan = federated.plan_for("kws.tflite", "one-round")
    >>> open("plan.json", "wb").write(plan.to_bytes())
  """
  require_one("scheme", scheme, SCHEMES)
  wanted = trainable or TRAINABLE[scheme]
  if personal and "prompt" not in wanted.split(","):
    wanted = f"prompt,{wanted}"
  options = GraphOptions(gain=gain)
  marked = marking.mark_trainable(
    model, wanted, graph_options=options, name=name
  )
  kept = PERSONAL_ROLES if personal else ()
  tensors = tuple(t for t in marked.mark.trainable if t.role not in kept)
  if scheme in ("closed-form", "one-round"):
    exact = exact_tensors(marked.file, marked.mark)
    if {t.index for t in tensors} != set(exact) or not exact:
      raise TflmFgError(
        f"scheme {scheme!r}: learns the last layer alone, and --trainable="
        f"{wanted} names other tensors too; use head, or the scheme 'signs'"
      )
  loss = loss_of(logits_spec(marked.file, marked.mark))
  filled = method_for(scheme, method, Layout(tensors), loss)
  return Plan(
    model_sha256=hashlib.sha256(marked.data).hexdigest(),
    trainable=wanted,
    gain=gain,
    scheme=scheme,
    method=filled,
    personal=personal,
    rounds=rounds_of(scheme, filled),
    most_samples=most_samples,
    least_clients=least_clients,
    most_clients=most_clients,
    most_weight=most_weight,
    privacy=privacy,
  )
