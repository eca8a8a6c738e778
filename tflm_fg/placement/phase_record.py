"""What a phase is and what is recorded of it; masters read and written.

Masters are the whole state of training: what an engine holds is rounded from
them, and a seed with the slopes of every step makes them again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.method import Method
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.tensors import Patchable
from tflm_fg.training.objective import Objective
from tflm_fg.types import Array, Mark, TflmFgError, TrainableTensor

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
    masters: of the phase's tensors at the kept step, little-endian integers,
      for methods whose slopes are more than these; in the order of the phase's
      tensors, empty for a low byte. Without slopes they are what is replayed.
    ran: how many steps it took, where no slopes say so.
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
  masters: tuple[bytes, ...] = ()
  ran: int = 0

  @property
  def steps(self) -> int:
    """How many steps it took."""
    return len(self.slopes) or self.ran

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


def to_bytes(masters: Masters, phase: Phase) -> tuple[bytes, ...]:
  """A phase's masters as a record holds them.

  Empty for methods whose steps have fewer slopes than there are numbers.
  """
  if not phase.method.is_exact:
    return ()
  held = (masters.get(index) for index in phase.tensors)
  return tuple(
    b"" if a is None else a.astype(a.dtype.newbyteorder("<")).tobytes()
    for a in held
  )


def from_bytes(record: Record, masters: Masters) -> Masters:
  """A record's masters by tensor index.

  Args:
    record: of a phase of a file.
    masters: of the file, which say how wide and how many they are.

  Raises:
    ValueError: if a tensor has more or fewer bytes.
  """
  found: Masters = {}
  for index, data in zip(record.phase.tensors, record.masters, strict=True):
    held = masters.get(index, np.zeros(0, np.int16))
    if len(data) != held.nbytes:
      raise ValueError(f"{len(data)} bytes of masters, need {held.nbytes}")
    if held.size:
      low = np.frombuffer(data, held.dtype.newbyteorder("<"))
      found[index] = low.astype(held.dtype)
  return found


def masters_of(marked: Source, mark: Mark) -> Masters:
  """The masters of a file's marked tensors before any training."""
  layout = Layout(mark.trainable)
  held = Patchable.of(marked, mark.trainable).read()
  return layout.scatter(layout.params(held))


def write_masters(marked: Source, mark: Mark, masters: Masters) -> ModelFile:
  """The file with its marked tensors narrowed from their masters."""
  layout = Layout(mark.trainable)
  weights = layout.weights(layout.gather(masters))
  return Patchable.of(marked, mark.trainable).written(weights)
