"""Feed a part's trainable numbers as inputs, one value of them a sample.

The part takes them as inputs behind its own. So `load` writes nothing to the
engine: any engine will do, one that packs its constants too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import LIMITS
from tflm_fg.runtimes.session import InputSpecs, Session, Traits
from tflm_fg.tflite.tensors import Flow, Part, Patchable
from tflm_fg.types import SCALE_ONE, Array, Tensors, Weights


class InputWeightsSession:
  """A session whose weights are inputs.

  Attributes:
    traits: the inner session's; loading costs nothing, so it counts as in
      place.
    input_specs: of the inputs that are no weights.
    invoke_seconds: inside the engine.
    forward_passes: batches that have run.
    samples_run: samples in those batches.
  """

  def __init__(self, inner: Session, part: Part, flows: Sequence[Flow]) -> None:
    """Takes the part's own constants to begin with.

    Args:
      inner: runs the part with its trainable constants as inputs, in the
        mark's order behind the other inputs.
      part: the part before that, with its constants.
      flows: how they flow in.
    """
    self._inner, self._part = inner, part
    self._patchable = Patchable(part.file, part.writable, part.gains)
    self._weights = self._patchable.read()
    self._inlet = Inlet(flows, self._weights)
    self._flowing = self._inlet(self._weights)
    self._fed: Tensors = ()
    self._count()
    self.traits: Traits = dataclasses.replace(inner.traits, in_place=True)
    count = len(inner.input_specs) - len(part.writable)
    self.input_specs: InputSpecs = inner.input_specs[:count]

  def load(self, weights: Weights) -> None:
    """Takes weights: arrays [1, ...] for all samples, or [N, ...].

    A bias of all samples may have its own shape, [C].
    """
    self._weights = list(weights)
    self._flowing = self._inlet(weights)

  def feed(self, inputs: Tensors) -> None:
    """Sets the batch [N, ...] that `forward` runs."""
    self._fed = inputs

  def forward(self) -> Tensors:
    """Runs the batch that was fed last; arrays [N, ...] out."""
    samples = len(self._fed[0])
    spread = (
      w if len(w) == samples else np.broadcast_to(w, (samples, *w.shape[1:]))
      for w in self._flowing
    )
    outputs = self._inner.run((*self._fed, *spread))
    self._count()
    return outputs

  def _count(self) -> None:
    self.invoke_seconds = self._inner.invoke_seconds
    self.forward_passes = self._inner.forward_passes
    self.samples_run = self._inner.samples_run

  def run(self, inputs: Tensors) -> Tensors:
    """Runs one batch, fed anew; arrays [N, ...] in, arrays [N, ...] out."""
    self.feed(inputs)
    return self.forward()

  def credit(self, passes: int, samples: int) -> None:
    """Counts passes that ran in another process."""
    self._inner.credit(passes, samples)
    self._count()

  def params(self) -> Weights:
    """The weights of the first sample, as copies of the constants' shape."""
    return [
      np.array(w.reshape(-1, own.size)[:1].reshape(own.shape))
      for w, own in zip(self._weights, self._inlet.start)
    ]

  def flatbuffer(self) -> bytes:
    """The part with its present weights as constants, as a .tflite."""
    return self._patchable.write(self.params())


class Inlet:
  """Turns weights into what flows in beyond those that a piece holds.

  Attributes:
    start: what the piece holds.
  """

  def __init__(self, flows: Sequence[Flow], start: Weights) -> None:
    self.start = start
    self._flows = flows
    self._gains = [n for n, f in enumerate(flows) if f.role == "gain"]
    self._biases = [n for n, f in enumerate(flows) if f.role == "bias"]
    self._starts = self._row(start, self._biases)
    steps = [flows[n].steps for n in self._biases]
    self._steps = np.concatenate(steps) if steps else np.zeros(0)
    ones = [np.repeat(flows[n].steps, start[n].size) for n in self._gains]
    # A gain and a bias are brought to their grids by one product each.
    self._ones = np.concatenate(ones) / SCALE_ONE if ones else np.zeros(0)

  def __call__(self, weights: Weights) -> list[Array]:
    """What flows in: arrays [N, ...] or [1, ...], one a trainable tensor."""
    found = {
      n: np.asarray(weights[n])
      for n, flow in enumerate(self._flows)
      if flow.role == "prompt"
    }
    gains = self._row(weights, self._gains)
    found |= self._out(gains * self._ones, self._gains)
    if self._biases:
      moved = self._row(weights, self._biases) - self._starts
      moved *= self._steps
      self._under_gains(moved, gains)
      found |= self._out(moved, self._biases)
    return [found[n] for n in range(len(self._flows))]

  def _row(
    self, weights: Weights, places: Sequence[int]
  ) -> NDArray[np.float64]:
    """Some of the weights in a row, float64 [N, numbers] or [1, numbers]."""
    parts = [weights[n].reshape(-1, self.start[n].size) for n in places]
    if not parts:
      return np.zeros((1, 0))
    return np.concatenate(parts, axis=1, dtype=np.float64)

  def _under_gains(
    self, moved: NDArray[np.float64], gains: NDArray[np.float64]
  ) -> None:
    """A bias counts in steps that its layer's gains make larger."""
    ends = np.cumsum([0, *(self.start[n].size for n in self._gains)])
    where = {n: slice(a, b) for n, a, b in zip(self._gains, ends, ends[1:])}
    end = 0
    for place in self._biases:
      begin, end = end, end + self.start[place].size
      if (gain := self._flows[place].gain) >= 0:
        moved[:, begin:end] *= gains[:, where[gain]] / SCALE_ONE

  def _out(
    self, rows: NDArray[np.float64], places: Sequence[int]
  ) -> dict[int, NDArray[Any]]:
    """Rounds what is in a row, and parts it by tensor."""
    found: dict[int, NDArray[Any]] = {}
    if not places:
      return found
    kinds = [self._flows[n].dtype for n in places]
    limits: Any = LIMITS[np.dtype(kinds[0])]
    if len(set(kinds)) > 1:  # each to the limits of its own type
      limits = np.repeat(
        [LIMITS[np.dtype(k)] for k in kinds],
        [self.start[n].size for n in places],
        axis=0,
      ).T
    np.rint(rows, out=rows)
    whole = np.clip(rows, *limits, out=rows).astype(max(kinds, key=len))
    end = 0
    for place in places:
      begin, end = end, end + self.start[place].size
      flow = self._flows[place]
      part = whole[:, begin:end].reshape(-1, *flow.shape)
      found[place] = part.astype(flow.dtype, copy=False)
    return found
