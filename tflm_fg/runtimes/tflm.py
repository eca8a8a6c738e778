"""Run a part of the graph in the real TensorFlow Lite Micro interpreter.

TFLM keeps a raw pointer to the model and its reference kernels read weights
from there on every call, as a microcontroller app does. So weights are
written straight into the private copy of the file that TFLM points to. It
takes no batches: samples go one by one.
"""

from __future__ import annotations

import time

import numpy as np

from tflm_fg.runtimes.session import Traits, has_batch, sample_shape
from tflm_fg.tflite.tensors import (
  Part,
  Patchable,
  arena_bytes,
  private_copy,
  require_no_gains,
)
from tflm_fg.types import Array, Tensors, TflmFgError, Weights, one_line

LSB_TO_REFERENCE = 1
"""FULLY_CONNECTED, MEAN and SOFTMAX round once where LiteRT rounds twice."""


class TFLMSession:
  """One TFLM interpreter over private model bytes."""

  traits = Traits(
    runtime="tflm",
    in_place=True,
    parallel=False,
    batches=False,
    lsb_to_reference=LSB_TO_REFERENCE,
  )

  def __init__(self, part: Part) -> None:
    from tflite_micro.python.tflite_micro import runtime

    require_no_gains(part)
    self._patchable = Patchable(part.file, part.writable)
    self._model, self._memory = private_copy(part.data)
    self._fed: Tensors = ()
    self._num_outputs = len(part.outputs)
    self.invoke_seconds = 0.0
    self.forward_passes = 0
    self.samples_run = 0
    try:
      self._interpreter = runtime.Interpreter.from_bytes(
        self._model, arena_size=arena_bytes(part.file)
      )
    except (RuntimeError, MemoryError) as fault:
      raise TflmFgError(
        f"TFLM refused the model ({fault}); its own words on stderr say why"
      ) from None
    details = [
      self._interpreter.get_input_details(i)
      for i in range(len(part.file.subgraph.inputs))
    ]
    self.input_specs = tuple(
      (sample_shape(d["shape"]), np.dtype(d["dtype"]).name) for d in details
    )
    self._single = [not has_batch(d["shape"]) for d in details]
    self._keeps_state = part.file.subgraph.keeps_state

  def load(self, weights: Weights) -> None:
    """Writes the weights where TFLM reads them."""
    self._patchable.write_into(self._memory, weights)

  def feed(self, inputs: Tensors) -> None:
    """Sets the batch that `forward` runs; see `session.Session`."""
    self._fed = inputs

  def forward(self) -> Tensors:
    """Runs the fed batch sample by sample; arrays [N, ...] out."""
    samples = len(self._fed[0])
    self.forward_passes += 1
    self.samples_run += samples
    rows = [self._invoke(i) for i in range(samples)]
    return tuple(np.concatenate(column) for column in zip(*rows))

  def run(self, inputs: Tensors) -> Tensors:
    """Runs one batch; arrays [N, ...] in, arrays [N, ...] out."""
    self.feed(inputs)
    return self.forward()

  def _invoke(self, number: int) -> list[Array]:
    """Runs one sample of the fed batch; arrays [1, ...] out."""
    if self._keeps_state:
      self._interpreter.reset()
    # TFLM's arena is reused: an input is gone after every invoke.
    start = time.perf_counter()
    try:
      for place, (x, alone) in enumerate(zip(self._fed, self._single)):
        sample = x[number] if alone else x[number : number + 1]
        self._interpreter.set_input(sample, place)
      start = time.perf_counter()
      self._interpreter.invoke()
    except (RuntimeError, ValueError) as fault:
      raise TflmFgError(
        f"the engine refused the samples: {one_line(fault, 300)}"
      ) from None
    self.invoke_seconds += time.perf_counter() - start
    made = [self._interpreter.get_output(i) for i in range(self._num_outputs)]
    return [y if has_batch(y.shape) else y[None] for y in made]

  def credit(self, passes: int, samples: int) -> None:
    """Counts passes that ran in another process."""
    self.forward_passes += passes
    self.samples_run += samples

  def params(self) -> Weights:
    """The weights that TFLM points to now, as copies."""
    return self._patchable.read(self._memory)

  def flatbuffer(self) -> bytes:
    """This part of the model with its present weights, as a .tflite."""
    return self._memory.tobytes()
