"""Run a part of the graph in LiteRT, tflite-runtime or tf.lite.

Two strategies. In place: the interpreter lives on and its constants are
written; right for the optimized and the reference kernels, which read weights
on every call. Rebuild: the weights' bytes are patched and a new interpreter
is made; right for XNNPACK, which packs weights once, when it is made, and
never sees a later write.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from tflm_fg.fixed_point import random_bits
from tflm_fg.runtimes.interpreters import MakeInterpreter
from tflm_fg.runtimes.session import Traits, has_batch, sample_shape
from tflm_fg.tflite.tensors import (
  Part,
  Patchable,
  private_copy,
  require_no_gains,
)
from tflm_fg.types import Array, Tensors, TflmFgError, Weights, one_line


class LiteRTSession:
  """One interpreter, private model bytes, writable constants."""

  def __init__(
    self,
    part: Part,
    make: MakeInterpreter,
    runtime: str,
    in_place: bool,
    lsb_to_reference: int,
  ) -> None:
    self._make, self._in_place = make, in_place
    if in_place:
      require_no_gains(part)
    self._writable = part.writable
    self._patchable = Patchable(part.file, part.writable, part.gains)
    # LiteRT points into the bytes it is given; rebuilding patches them.
    self._model, self._memory = private_copy(part.data)
    self._batch = 1
    self._fed: Tensors = ()
    self.invoke_seconds = 0.0
    self.forward_passes = 0
    self.samples_run = 0
    self._inputs: list[int] = []  # indices, until known none to resize
    self._rebuild()
    inputs = self._interpreter.get_input_details()
    outputs = self._interpreter.get_output_details()
    self._inputs = [d["index"] for d in inputs]
    self._outputs = [d["index"] for d in outputs]
    self.input_specs = tuple(
      (sample_shape(d["shape"]), np.dtype(d["dtype"]).name) for d in inputs
    )
    self._single = [not has_batch(d["shape"]) for d in (*inputs, *outputs)]
    self._any_single = any(self._single)
    _require_sizes(part, outputs)
    self._keeps_state = part.file.subgraph.keeps_state
    self.traits = Traits(
      runtime=runtime,
      in_place=in_place,
      parallel=True,
      batches=self._takes_batches(),
      lsb_to_reference=lsb_to_reference,
    )

  def _rebuild(self) -> None:
    """Makes the interpreter anew on the private bytes."""
    self._interpreter: Any = None  # gives its memory back to the next one
    try:
      self._interpreter = self._make(self._model)
      if self._batch == 1:
        self._interpreter.allocate_tensors()
      else:
        self._resize()
    except (RuntimeError, ValueError, MemoryError) as fault:
      raise TflmFgError(
        f"the engine refused the model: {one_line(fault, 300)}"
      ) from None
    self._stale = self._placed = False

  def _resize(self) -> None:
    for index, (shape, _) in zip(self._inputs, self.input_specs):
      self._interpreter.resize_tensor_input(index, (self._batch, *shape))
    self._interpreter.allocate_tensors()
    self._placed = False

  def _takes_batches(self) -> bool:
    """Whether two samples at once give what each gives alone."""
    if self._keeps_state or self._any_single:
      return False
    samples = tuple(
      random_bits.probe_input(shape, dtype, number, samples=2)
      for number, (shape, dtype) in enumerate(self.input_specs)
    )
    singles = [
      self._invoke(tuple(c[i : i + 1] for c in samples)) for i in (0, 1)
    ]
    self._batch = 2
    try:
      self._resize()
      both = self._invoke(samples)
    except (RuntimeError, TflmFgError):
      both = ()
    self._batch = 1
    self._rebuild()
    self.invoke_seconds = 0.0
    return bool(both) and all(
      _same(np.concatenate(alone), together)
      for *alone, together in zip(*singles, both)
    )

  def load(self, weights: Weights) -> None:
    """Makes the engine hold `weights`."""
    if self._in_place:
      for index, array in zip(self._writable, weights, strict=True):
        self._interpreter.set_tensor(index, array)
    else:
      self._patchable.write_into(self._memory, weights)
      self._stale = True

  def feed(self, inputs: Tensors) -> None:
    """Sets the batch that `forward` runs; see `session.Session`."""
    if inputs is not self._fed:
      self._fed, self._placed = inputs, False

  def forward(self) -> Tensors:
    """Runs the batch that was fed last; arrays [N, ...] out."""
    samples = len(self._fed[0])
    self.forward_passes += 1
    self.samples_run += samples
    if not self.traits.batches:
      self._refresh(1)
      rows = [
        self._invoke(tuple(x[i : i + 1] for x in self._fed))
        for i in range(samples)
      ]
      return tuple(np.concatenate(column) for column in zip(*rows))
    self._refresh(samples)
    # LiteRT never plans other tensors over a graph's inputs.
    outputs = self._invoke(() if self._placed else self._fed)
    self._placed = True
    return outputs

  def run(self, inputs: Tensors) -> Tensors:
    """Runs one batch; arrays [N, ...] in, arrays [N, ...] out."""
    self._fed, self._placed = inputs, False
    outputs = self.forward()
    self._fed = ()  # the caller may write to the arrays
    return outputs

  def _refresh(self, batch: int) -> None:
    """Brings batch size and, when rebuilding, weights up to date."""
    changed, self._batch = batch != self._batch, batch
    if self._stale or (changed and not self._in_place):
      self._rebuild()
    elif changed:
      try:
        self._resize()
      except (RuntimeError, MemoryError) as fault:
        raise TflmFgError(
          f"the engine refused {batch} samples at once: {one_line(fault, 300)}"
        ) from None

  def _invoke(self, inputs: Tensors) -> Tensors:
    if self._keeps_state:
      self._interpreter.reset_all_variables()
    start = time.perf_counter()
    try:
      for index, x, alone in zip(self._inputs, inputs, self._single):
        self._interpreter.set_tensor(index, x[0] if alone else x)
      start = time.perf_counter()
      self._interpreter.invoke()
    except (RuntimeError, ValueError) as fault:
      raise TflmFgError(
        f"the engine refused the samples: {one_line(fault, 300)}"
      ) from None
    self.invoke_seconds += time.perf_counter() - start
    made = [self._interpreter.get_tensor(i) for i in self._outputs]
    if not self._any_single:
      return tuple(made)
    without = self._single[len(self._inputs) :]
    return tuple(y[None] if alone else y for y, alone in zip(made, without))

  def credit(self, passes: int, samples: int) -> None:
    """Counts passes that ran in another process."""
    self.forward_passes += passes
    self.samples_run += samples

  def params(self) -> Weights:
    """The weights that the engine holds now, as copies."""
    if not self._in_place:
      return self._patchable.read(self._memory)
    return [self._interpreter.get_tensor(i) for i in self._writable]

  def flatbuffer(self) -> bytes:
    """This part of the model with its present weights, as a .tflite."""
    return self._patchable.write(self.params())


def _require_sizes(part: Part, details: list[dict[str, Any]]) -> None:
  """Refuses a part whose outputs are not of the size that the file says."""
  for index, detail in zip(part.file.subgraph.outputs, details):
    declared = part.file.subgraph.tensors[index]
    computed = [int(size) for size in detail["shape"]]
    if math.prod(computed) != math.prod(declared.shape):
      raise TflmFgError(
        f"{declared.name}: the file says shape {list(declared.shape)}, its "
        f"operator gives {computed}; convert the model again"
      )


def _same(some: Array, others: Array) -> bool:
  """Bit for bit; floats, summed in another order, within a thousandth."""
  if some.dtype.kind == "f":
    return bool(np.allclose(some, others, 1e-3, 1e-3))
  return np.array_equal(some, others)
