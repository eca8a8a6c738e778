"""Run a part of the graph in LiteRT, tflite-runtime or tf.lite.

Two strategies. In place: the interpreter lives on and its constants are
written; right for the optimized and the reference kernels, which read weights
on every call. Rebuild: the weights' bytes are patched and a new interpreter
is made; right for XNNPACK, which packs weights once, when it is made, and
never sees a later write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tflm_fg import rng
from tflm_fg.base import Tensors, TflmFgError, Traits, Weights, one_line
from tflm_fg.flatbuffer_cut import Part
from tflm_fg.flatbuffer_patch import Patchable

MakeInterpreter = Callable[[bytes], Any]
"""Makes an engine's interpreter from private model bytes."""


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
    self._part = part
    self._make = make
    self._in_place = in_place
    self._patchable = Patchable(part.data, part.writable)
    self._weights = self._patchable.read()
    self._batch = 1
    self.invoke_seconds = 0.0
    self.forward_passes = 0
    self.samples_run = 0
    self._build()
    inputs = self._interpreter.get_input_details()
    outputs = self._interpreter.get_output_details()
    self._inputs = [d["index"] for d in inputs]
    self._outputs = [d["index"] for d in outputs]
    self.input_specs = tuple(
      (tuple(map(int, d["shape"][1:])), np.dtype(d["dtype"]).name)
      for d in inputs
    )
    self.traits = Traits(
      runtime=runtime,
      in_place=in_place,
      batches=self._takes_batches(),
      lsb_to_reference=lsb_to_reference,
    )

  def _build(self) -> None:
    """Makes the interpreter on a private copy that holds today's weights."""
    model = self._patchable.write(self._weights)
    try:
      self._interpreter = self._make(model)
      if self._batch != 1:
        self._resize()
      else:
        self._interpreter.allocate_tensors()
    except (RuntimeError, ValueError, MemoryError) as fault:
      raise TflmFgError(
        f"the engine refused the model: {one_line(fault, 300)}"
      ) from None
    self._stale = False

  def _resize(self) -> None:
    for index, (shape, _) in zip(self._inputs, self.input_specs):
      self._interpreter.resize_tensor_input(index, (self._batch, *shape))
    self._interpreter.allocate_tensors()

  def _takes_batches(self) -> bool:
    """Whether two clips at once give what each gives alone."""
    clips = tuple(
      rng.probe_input(shape, dtype, number, clips=2)
      for number, (shape, dtype) in enumerate(self.input_specs)
    )
    singles = [self._invoke(tuple(c[i : i + 1] for c in clips)) for i in (0, 1)]
    self._batch = 2
    try:
      self._resize()
      both = self._invoke(clips)
    except RuntimeError:
      both = ()
    self._batch = 1
    self._build()
    self.invoke_seconds = 0.0
    return bool(both) and all(
      np.array_equal(np.concatenate(alone), together)
      for *alone, together in zip(*singles, both)
    )

  def load(self, weights: Weights) -> None:
    """Makes the engine hold `weights`."""
    if self._in_place:
      for index, array in zip(self._part.writable, weights, strict=True):
        self._interpreter.set_tensor(index, array)
    else:
      self._weights, self._stale = weights, True

  def run(self, inputs: Tensors) -> Tensors:
    """Runs one batch; arrays [N, ...] in, arrays [N, ...] out."""
    clips = len(inputs[0])
    self.forward_passes += 1
    self.samples_run += clips
    if not self.traits.batches:
      self._refresh(1)
      rows = [
        self._invoke(tuple(x[i : i + 1] for x in inputs)) for i in range(clips)
      ]
      return tuple(np.concatenate(column) for column in zip(*rows))
    self._refresh(clips)
    return self._invoke(inputs)

  def _refresh(self, batch: int) -> None:
    """Brings batch size and, when rebuilding, weights up to date."""
    changed, self._batch = batch != self._batch, batch
    if self._stale or (changed and not self._in_place):
      self._build()
    elif changed:
      self._resize()

  def _invoke(self, inputs: Tensors) -> Tensors:
    for index, x in zip(self._inputs, inputs):
      self._interpreter.set_tensor(index, x)
    start = time.perf_counter()
    self._interpreter.invoke()
    self.invoke_seconds += time.perf_counter() - start
    return tuple(self._interpreter.get_tensor(i) for i in self._outputs)

  def params(self) -> Weights:
    """The weights that the engine holds now, as copies."""
    if not self._in_place:
      return [np.array(w) for w in self._weights]
    return [self._interpreter.get_tensor(i) for i in self._part.writable]

  def flatbuffer(self) -> bytes:
    """This part of the model with its present weights, as a .tflite."""
    return self._patchable.write(self.params())


def interpreter_maker(module: Any, resolver: str) -> MakeInterpreter:
  """Makes interpreters of `module` with one of its op resolvers.

  Args:
    module: ai_edge_litert.interpreter, tflite_runtime.interpreter or tf.lite,
      with its OpResolverType.
    resolver: a name of OpResolverType: "BUILTIN" (XNNPACK), "BUILTIN_REF" or
      "BUILTIN_WITHOUT_DEFAULT_DELEGATES".
  """
  kernels = getattr(module.OpResolverType, resolver)

  def make(model: bytes) -> Any:
    return module.Interpreter(
      model_content=model,
      experimental_op_resolver_type=kernels,
      num_threads=1,
    )

  return make
