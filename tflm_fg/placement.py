"""Choose where to put the trainable numbers, by trying and measuring.

A way of adapting is a front (nothing, an input prompt, a prompt with a gain,
the first layer's biases), found by forward gradients, and then a back (nothing,
the head, a wide head), found exactly. Each is tried on a part of the clips and
scored on the others, which are kept aside.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

from tflm_fg import flatbuffer
from tflm_fg.base import Mark, TflmFgError
from tflm_fg.callbacks import Callback
from tflm_fg.flatbuffer_mark import Marked, Surgery, mark
from tflm_fg.graph import Host, exact_tensors
from tflm_fg.metrics import Score
from tflm_fg.phases import (
  Masters,
  Material,
  Outcome,
  Phase,
  masters_of,
  run_phase,
  write_masters,
)
from tflm_fg.settings import Settings

FEW_NUMBERS = 256
"""Up to so many numbers a few hundred steps of forward gradients do."""

QUICK = {"steps": 250, "validate_every": 25, "patience": 4}
"""A phase of forward gradients on few numbers."""

LONG = {"steps": 2000, "validate_every": 50, "patience": 10}
"""The same on many."""


def phases_of(marked: Marked, settings: Settings, host: Host) -> list[Phase]:
  """The phases for a choice that the user made.

  Under "auto" whatever is not the head comes first, by forward gradients, and
  then the head, exactly where it can be.
  """
  tensors = marked.mark.trainable
  everything = tuple(t.index for t in tensors)
  if settings.method != "auto":
    return [Phase(everything, settings.under(settings.method))]
  head = exact_tensors(marked.data, marked.mark)
  rest = [t for t in tensors if t.index not in head]
  phases = []
  if rest:
    few = sum(t.size for t in rest) <= FEW_NUMBERS
    own = settings.under("sign-m-spsa", **(QUICK if few else LONG))
    phases.append(Phase(tuple(t.index for t in rest), own))
  if head:
    phases.append(Phase(head, settings.under("closed-form")))
  return phases


@dataclasses.dataclass(frozen=True)
class Way:
  """A way of adapting, tried.

  Attributes:
    name: what trains, for people: "prompt, wide-head".
    trainable: the same as a choice for `mark`.
    surgery: how the file grew for it.
    outcomes: of its phases, on the part of the clips to train on.
    score: on the clips kept aside; the start's, where nothing trains.
  """

  name: str
  trainable: str
  surgery: Surgery
  outcomes: tuple[Outcome, ...]
  score: Score


@dataclasses.dataclass(frozen=True)
class Front:
  """What is found first, by forward gradients.

  Attributes:
    name: for people.
    trainable: as for `mark`; empty for nothing.
    gain: of a prompt.
  """

  name: str
  trainable: str
  gain: bool = False


def fronts_of(model: bytes, name: str) -> list[Front]:
  """The fronts that a file allows, the cheapest first."""
  fronts = [Front("", "")]
  graph = flatbuffer.read(model, name)
  del graph
  fronts.append(Front("prompt", "prompt"))
  return fronts


__all__ = [
  "Callback",
  "Iterator",
  "Mark",
  "Masters",
  "Outcome",
  "Sequence",
  "TflmFgError",
  "itertools",
  "masters_of",
  "np",
  "re",
  "run_phase",
  "write_masters",
]
