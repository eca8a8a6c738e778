"""What an engine must offer: set weights, run samples, give the file back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from tflm_fg.types import Tensors, Weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traits:
  """What a session can do, declared and never found out by exception.

  Attributes:
    runtime: the name users give.
    in_place: weights are written into a living interpreter; otherwise every
      load makes a new one.
    parallel: runs without Python's lock, so that sessions in threads use a
      core each.
    batches: a batch is one call of the engine; otherwise sample by sample.
    lsb_to_reference: the most that an int8 output may differ from LiteRT's
      reference kernels, in output steps, as measured over models.
  """

  runtime: str
  in_place: bool
  parallel: bool
  batches: bool
  lsb_to_reference: int


InputSpecs = tuple[tuple[tuple[int, ...], str], ...]
"""One sample's shape and dtype name, for each input."""


def has_batch(shape: Sequence[int]) -> bool:
  """Whether a tensor's first axis is samples: it is where its size is 1.

  Whatever else a tensor holds is of one sample: [15600] of a sound, or [96, 64]
  in the middle of a graph that was made without a batch.
  """
  return len(shape) > 0 and int(shape[0]) == 1


def sample_shape(shape: Sequence[int]) -> tuple[int, ...]:
  """The shape of one sample of a tensor, without the batch axis."""
  sizes = tuple(map(int, shape))
  return sizes[1:] if has_batch(sizes) else sizes


class Session(Protocol):
  """An inference engine whose weights can be set.

  Every sample starts from the same state: variables of the graph are reset
  before each of them, so their order changes nothing. Arrays have a batch axis
  in front, also where the model's own tensors have none.
  """

  traits: Traits
  input_specs: InputSpecs
  invoke_seconds: float
  forward_passes: int
  samples_run: int

  def load(self, weights: Weights) -> None:
    """Makes the engine hold `weights` (engine dtypes, the mark's order)."""

  def feed(self, inputs: Tensors) -> None:
    """Sets the batch [N, ...] that `forward` runs.

    The same tuple again costs nothing, so its arrays must not be written.
    """

  def forward(self) -> Tensors:
    """Runs the batch that was fed last; arrays [N, ...] out."""

  def run(self, inputs: Tensors) -> Tensors:
    """Runs one batch, fed anew; arrays [N, ...] in, arrays [N, ...] out."""

  def credit(self, passes: int, samples: int) -> None:
    """Counts passes that ran in another process, whose results are known."""

  def params(self) -> Weights:
    """The weights that the engine holds now, as copies."""

  def flatbuffer(self) -> bytes:
    """The session's model with its present weights, as a .tflite."""
