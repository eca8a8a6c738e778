"""What a phase is and what is recorded of it; masters read and written.

Masters are the whole state of training: what an engine holds is rounded from
them, and a seed with the slopes of every step makes them again.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.method import Method
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.tensors import Patchable
from tflm_fg.training.objective import Objective
from tflm_fg.types import Array, Mark

Masters = dict[int, Array]
"""Masters of the marked tensors, flat, by tensor index."""


class Phase(NamedTuple):
  """What trains together, and how.

  Attributes:
    tensors: indices of marked tensors.
    method: what is open of its settings is chosen when the phase begins.
    objective: what the user wants to be lowered.
  """

  tensors: tuple[int, ...]
  method: Method
  objective: Objective


@dataclasses.dataclass(frozen=True)
class Record:
  """A phase that was run: enough to replay it.

  Attributes:
    phase: with all settings filled in.
    batch_size: samples that a pass really took.
    centre: the head's mean input, for the closed form; empty without.
    slopes: one list of integers (Q16) a step.
    kept_step: the step whose weights were kept.
  """

  phase: Phase
  batch_size: int
  centre: tuple[int, ...]
  slopes: list[list[int]]
  kept_step: int


def masters_of(marked: Source, mark: Mark) -> Masters:
  """The masters of a file's marked tensors before any training."""
  layout = Layout(mark.trainable)
  held = Patchable(marked, [t.index for t in mark.trainable]).read()
  return layout.scatter(layout.params(held))


def write_masters(marked: Source, mark: Mark, masters: Masters) -> ModelFile:
  """The file with its marked tensors narrowed from their masters."""
  layout = Layout(mark.trainable)
  weights = layout.weights(layout.gather(masters))
  return Patchable(marked, [t.index for t in mark.trainable]).written(weights)
