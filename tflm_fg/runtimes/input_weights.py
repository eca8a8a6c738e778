"""Feed a part's trainable numbers as inputs, one value of them a sample.

The part takes them as inputs behind its own. So `load` writes nothing to the
engine: any engine will do, one that packs its constants too.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflm_fg.runtimes.session import InputSpecs, Session, Traits
from tflm_fg.tflite.tensors import Part, Patchable
from tflm_fg.types import Tensors, Weights


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

  def __init__(self, inner: Session, part: Part) -> None:
    """Takes the part's own constants to begin with.

    Args:
      inner: runs the part with its trainable constants as inputs, in the
        mark's order behind the other inputs.
      part: the part before that, with its constants.
    """
    self._inner, self._part = inner, part
    self._patchable = Patchable(part.file, part.writable)
    self._weights = self._patchable.read()
    self._fed: Tensors = ()
    self._count()
    self.traits: Traits = dataclasses.replace(inner.traits, in_place=True)
    count = len(inner.input_specs) - len(part.writable)
    self.input_specs: InputSpecs = inner.input_specs[:count]

  def load(self, weights: Weights) -> None:
    """Takes weights: arrays [1, ...] for all samples, or [N, ...]."""
    self._weights = list(weights)

  def feed(self, inputs: Tensors) -> None:
    """Sets the batch [N, ...] that `forward` runs."""
    self._fed = inputs

  def forward(self) -> Tensors:
    """Runs the batch that was fed last; arrays [N, ...] out."""
    samples = len(self._fed[0])
    spread = (
      np.broadcast_to(w, (samples, *w.shape[1:])) for w in self._weights
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

  def params(self) -> Weights:
    """The weights of the first sample, as copies of the constants' shape."""
    return [np.array(w[:1]) for w in self._weights]

  def flatbuffer(self) -> bytes:
    """The part with its present weights as constants, as a .tflite."""
    return self._patchable.write(self.params())
