"""Find a scheme by its name, and fill in what its method leaves open."""

from __future__ import annotations

import dataclasses
from typing import Any

from tflm_fg.federated.fields import PUBLIC, Field
from tflm_fg.federated.plan import require_method
from tflm_fg.federated.schemes.head_schemes import (
  ClosedFormScheme,
  OneRoundScheme,
)
from tflm_fg.federated.schemes.scheme import Scheme, Standing
from tflm_fg.federated.schemes.slope_schemes import (
  DirectionScheme,
  SampleScheme,
)
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.method import Method
from tflm_fg.gradients.per_sample import PerSample
from tflm_fg.gradients.sample_slopes import require_data
from tflm_fg.gradients.spsa import DirectionalMethod, SignSPSA
from tflm_fg.losses.base import Loss
from tflm_fg.training.exact_settings import exact

_SCHEMES: dict[str, tuple[type[Scheme], type[Method]]] = {
  "closed-form": (ClosedFormScheme, ClosedForm),
  "one-round": (OneRoundScheme, ClosedForm),
  "signs": (DirectionScheme, SignSPSA),
  "split": (DirectionScheme, SignSPSA),
  "per-sample": (SampleScheme, PerSample),
}
"""Name -> how it runs, and its method by default."""

TRAINABLE = {
  "closed-form": "head",
  "one-round": "head",
  "signs": "head",
  "split": "all",
  "per-sample": "prompt",
}
"""What trains where nothing is said."""

_DIRECTIONS: dict[str, Any] = {
  "num_directions": 16,
  "epsilon_lsb": 4.0,
  "learning_rate_lsb": 2.0,
  "momentum": 0.5,
  "steps": 100,
  "validate_every": 100,
  "batch_size": 64,
}
"""A round costs seconds, so that it takes many directions at once."""

BLOCKS = 4
"""Parts that a fleet's layers are divided into, where nothing is said."""


def scheme_of(name: str, standing: Standing) -> Scheme:
  """A scheme by its name, where training stands."""
  made, _ = _SCHEMES[name]
  return made(standing)


def method_for(
  scheme: str, given: Method | None, layout: Layout, loss: Loss
) -> Method:
  """A scheme's method with nothing left open.

  Args:
    scheme: its name.
    given: what the user has set; None for nothing.
    layout: of what is shared.
    loss: on the logits.

  Raises:
    TflmFgError: if the scheme does not take the method, or it does not suit
      what trains.
  """
  _, default = _SCHEMES[scheme]
  method = default() if given is None else given
  require_method(scheme, method)
  open_settings: dict[str, Any] = {"validation_fraction": 0.0}
  if isinstance(method, DirectionalMethod):
    open_settings |= _DIRECTIONS
    if scheme == "split" and method.turns != "direction":
      blocks = method.blocks if method.blocks > 1 else BLOCKS
      method = dataclasses.replace(method, blocks=blocks, turns="direction")
  if isinstance(method, PerSample):
    require_data(layout)
    method = dataclasses.replace(method, predict=False)
  missing = {
    n: v for n, v in open_settings.items() if getattr(method, n) is None
  }
  method = dataclasses.replace(method, **missing).filled().for_layout(layout)
  if isinstance(method, ClosedForm):
    method, _ = exact(method, layout, loss)
  method.require_layout(layout)
  return method


def releases_of(name: str, standing: Standing, rounds: int) -> int:
  """How many fields with noise are released over all rounds of a plan.

  Losses are not sent where noise is asked for, and counts are public.

  Args:
    name: of the scheme.
    standing: before the first round.
    rounds: how many there are.
  """
  fields = noisy(scheme_of(name, standing).fields())
  if name == "closed-form":
    return len(fields) + len(standing.layout.tensors) * (rounds - 1)
  if name == "per-sample":  # a scan has one field, as all other rounds
    return rounds
  return len(fields) * rounds


def noisy(fields: tuple[Field, ...]) -> tuple[Field, ...]:
  """The fields that noise hides: all but losses and counts of samples."""
  return tuple(f for f in fields if f.name not in PUBLIC)
