"""Run a model step by step, and start streams from a fresh state for sure.

LiteRT keeps resource variables for as long as an interpreter lives: neither
`reset_all_variables` nor `allocate_tensors` nor a resize resets them. So a new
stream gets a new interpreter, which takes less time than a hundred steps. TFLM
has `reset()`, which gives every variable its zero point; where a file starts
from other numbers, TFLM gets a new interpreter too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tflm_fg.runtimes.interpreters import MakeInterpreter
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.tensors import arena_bytes, private_copy
from tflm_fg.types import Array, TflmFgError, one_line


class Carried(NamedTuple):
  """State that goes from an output to an input of the next step.

  Attributes:
    input: position among the inputs.
    output: position among the outputs.
    initial: what the first step gets.
  """

  input: int
  output: int
  initial: Array


class StreamPlan(NamedTuple):
  """What runs step by step, and where its numbers go in and out.

  Attributes:
    file: the model.
    step: position of the input that steps go to.
    answer: position of the output that is wanted.
    carried: the state that is inputs and outputs.
    has_variables: whether the file keeps state of its own.
    from_zero: whether all its variables start at their zero points.
  """

  file: ModelFile
  step: int = 0
  answer: int = 0
  carried: Sequence[Carried] = ()
  has_variables: bool = False
  from_zero: bool = True


class StreamSession(Protocol):
  """An engine that runs one stream, step after step."""

  def reset(self) -> None:
    """Starts a new stream: the next step finds the initial state."""

  def step(self, x: Array) -> Array:
    """Runs the next step: the input's shape in, the answer's shape out."""

  def run(self, steps: Array) -> Array:
    """Runs a whole stream from a fresh state: [T, ...] in, [T, answer] out."""


class _Stream:
  """What the engines share: the loop over steps, and state carried along."""

  def __init__(self, plan: StreamPlan) -> None:
    graph = plan.file.subgraph
    fed = graph.tensors[graph.inputs[plan.step]]
    made = graph.tensors[graph.outputs[plan.answer]]
    self._plan = plan
    self._shape, self._dtype = fed.shape, np.dtype(fed.dtype)
    self._made_shape, self._made_dtype = made.shape, np.dtype(made.dtype)
    self._state: list[Array] = []
    # An engine may write into the bytes that it is given.
    self._model, _ = private_copy(plan.file.data)
    self._anew()

  def _anew(self) -> None:
    """Makes the interpreter anew."""
    raise NotImplementedError

  def _invoke(self, x: Array) -> Array:
    """Runs one step on a whole input array."""
    raise NotImplementedError

  def _reset_variables(self) -> None:
    """Brings the file's own variables to the start."""
    self._anew()

  def reset(self) -> None:
    """Starts a new stream; see `StreamSession`."""
    self._state = [c.initial for c in self._plan.carried]
    if self._plan.has_variables:
      self._reset_variables()

  def step(self, x: Array) -> Array:
    """Runs the next step; see `StreamSession`."""
    whole = np.asarray(x, self._dtype).reshape(self._shape)
    try:
      return self._invoke(whole)
    except (RuntimeError, ValueError) as fault:
      raise _refused(fault) from None

  def run(self, steps: Array) -> Array:
    """Runs a stream from a fresh state; see `StreamSession`."""
    count = len(steps)
    whole = np.ascontiguousarray(steps, self._dtype)
    whole = whole.reshape(count, *self._shape)
    made = np.empty((count, *self._made_shape), self._made_dtype)
    self.reset()
    invoke = self._invoke
    try:
      for number, x in enumerate(whole):
        made[number] = invoke(x)
    except (RuntimeError, ValueError) as fault:
      raise _refused(fault) from None
    return made.reshape(count, int(np.prod(self._made_shape)))


def _refused(fault: BaseException) -> TflmFgError:
  return TflmFgError(f"the engine refused a step: {one_line(fault, 300)}")


class LiteRTStream(_Stream):
  """A stream in LiteRT, tflite-runtime or tf.lite."""

  def __init__(self, plan: StreamPlan, make: MakeInterpreter) -> None:
    self._make = make
    super().__init__(plan)

  def _anew(self) -> None:
    self._engine: Any = None  # gives its memory back to the next one
    engine = self._make(self._model)
    engine.allocate_tensors()
    inputs = [d["index"] for d in engine.get_input_details()]
    outputs = [d["index"] for d in engine.get_output_details()]
    self._engine = engine
    self._set, self._get = engine.set_tensor, engine.get_tensor
    self._go = engine.invoke
    self._fed = inputs[self._plan.step]
    self._made = outputs[self._plan.answer]
    self._places = [
      (inputs[c.input], outputs[c.output]) for c in self._plan.carried
    ]

  def _invoke(self, x: Array) -> Array:
    self._set(self._fed, x)
    if not self._places:
      self._go()
      return self._get(self._made)
    for (index, _), held in zip(self._places, self._state):
      self._set(index, held)
    self._go()
    self._state = [self._get(index) for _, index in self._places]
    return self._get(self._made)


class TFLMStream(_Stream):
  """A stream in TensorFlow Lite Micro."""

  def _anew(self) -> None:
    from tflite_micro.python.tflite_micro import runtime

    self._engine: Any = None
    self._engine = runtime.Interpreter.from_bytes(
      self._model, arena_size=arena_bytes(self._plan.file)
    )

  def _reset_variables(self) -> None:
    if self._plan.from_zero:
      self._engine.reset()
    else:
      self._anew()

  def _invoke(self, x: Array) -> Array:
    # The arena is reused: every input is gone after every step.
    self._engine.set_input(x, self._plan.step)
    for carried, held in zip(self._plan.carried, self._state):
      self._engine.set_input(held, carried.input)
    self._engine.invoke()
    self._state = [
      self._engine.get_output(c.output) for c in self._plan.carried
    ]
    return self._engine.get_output(self._plan.answer)
