"""What an engine must offer: set weights, run samples, give the file back."""

from __future__ import annotations

import dataclasses
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


class Session(Protocol):
  """An inference engine whose weights can be set."""

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

  def params(self) -> Weights:
    """The weights that the engine holds now, as copies."""

  def flatbuffer(self) -> bytes:
    """The session's model with its present weights, as a .tflite."""
