"""Turn a phase's record into its steps again, from masters to masters.

Masters are the whole state of training: what an engine holds is rounded from
them, and a seed with the slopes of every step makes them again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.tflite.tensors import Patchable
from tflm_fg.training.settings import Settings
from tflm_fg.training.trainer import StepRule
from tflm_fg.types import Array, Mark, TflmFgError, TrainableTensor

Masters = dict[int, Array]
"""Masters of the marked tensors, flat, by tensor index."""


class Phase(NamedTuple):
  """What trains together, and how.

  Attributes:
    tensors: indices of marked tensors.
    settings: under one method; what is None is tuned when the phase begins.
  """

  tensors: tuple[int, ...]
  settings: Settings


@dataclasses.dataclass(frozen=True)
class Record:
  """A phase that was run: enough to replay it.

  Attributes:
    phase: with all settings filled in.
    batch_size: samples that a pass really took.
    centre: the head's mean input, for the closed form; empty without.
    slopes: one list of integers (Q16) a step.
    kept_step: the step whose weights were kept.
    drawn_as: the indices that its random numbers were drawn for, in the order
      of the phase's tensors, where it ran in a file that had others; empty
      where they are the phase's own.
  """

  phase: Phase
  batch_size: int
  centre: tuple[int, ...]
  slopes: list[list[int]]
  kept_step: int
  drawn_as: tuple[int, ...] = ()

  @property
  def addresses(self) -> dict[int, int]:
    """For each tensor's index, the one its random numbers were drawn for."""
    tensors = self.phase.tensors
    return dict(zip(tensors, self.drawn_as or tensors, strict=True))

  def moved(self, indices: Mapping[int, int]) -> Record:
    """The same record for a file in which the tensors have other indices.

    Args:
      indices: the index there, by the index here.
    """
    tensors = tuple(indices[i] for i in self.phase.tensors)
    if tensors == self.phase.tensors:
      return self
    phase = self.phase._replace(tensors=tensors)
    return dataclasses.replace(self, phase=phase, drawn_as=self.phase.tensors)


def matched(
  tensors: Sequence[TrainableTensor], others: Sequence[TrainableTensor]
) -> dict[int, int]:
  """Finds a file's trainable tensors in a file that grew from the same one.

  What is added to a file changes the indices behind it, and the names that
  hold an index. Trained layers keep their order, and what each of them is.

  Args:
    tensors: marked in one file, in the order of its mark.
    others: marked in the other file, these among them.

  Returns:
    The index in the other file, by the index in the first one.

  Raises:
    TflmFgError: if one of them is not among the others.
  """
  found, rest = {}, iter(others)
  for tensor in tensors:
    twin = next((t for t in rest if _kind(t) == _kind(tensor)), None)
    if twin is None:
      raise TflmFgError(
        f"{tensor.name}: its {tensor.role} is not trainable in the file that "
        "grew further"
      )
    found[tensor.index] = twin.index
  return found


def _kind(tensor: TrainableTensor) -> tuple[str, str, tuple[int, ...], str]:
  return tensor.role, tensor.op_name, tensor.shape, tensor.dtype


def masters_of(marked: bytes, mark: Mark) -> Masters:
  """The masters of a file's marked tensors before any training."""
  layout = Layout(mark.trainable)
  held = Patchable(marked, [t.index for t in mark.trainable]).read()
  return layout.scatter(layout.params(held))


def write_masters(marked: bytes, mark: Mark, masters: Masters) -> bytes:
  """The file with its marked tensors narrowed from their masters."""
  layout = Layout(mark.trainable)
  weights = layout.weights(layout.gather(masters))
  return Patchable(marked, [t.index for t in mark.trainable]).write(weights)


def replay_phases(
  records: Sequence[Record], marked: bytes, mark: Mark
) -> Masters:
  """Takes the recorded steps again, without an engine."""
  masters = masters_of(marked, mark)
  for record in records:
    addresses = record.addresses
    layout = Layout(
      tuple(
        dataclasses.replace(t, index=addresses[t.index])
        for t in mark.trainable
        if t.index in addresses
      )
    )
    step_rule: StepRule = record.phase.settings.step_rule(
      layout, record.batch_size, centre=record.centre
    )
    # A low byte has no master of its own.
    own = {i: there for i, there in addresses.items() if i in masters}
    held = {there: masters[i] for i, there in own.items()}
    state = step_rule.start(layout.gather(held))
    for slopes in record.slopes[: record.kept_step]:
      state = step_rule.replayed(state, slopes)
    trained = layout.scatter(state.params)
    masters |= {i: trained[there] for i, there in own.items()}
  return masters
