"""A model that runs over a stream of steps, with or without state."""

from __future__ import annotations

import functools
import os

import numpy as np

from tflm_fg import files
from tflm_fg.runtimes.registry import open_session, open_stream
from tflm_fg.runtimes.session import Session, sample_shape
from tflm_fg.streaming.head import Head, engine_weights, head_of
from tflm_fg.streaming.runner import (
  MOST_TOGETHER,
  Run,
  Stepper,
  part_run,
  running,
  whole_plan,
  whole_run,
)
from tflm_fg.tflite.choice.outputs import meant_output, with_output
from tflm_fg.tflite.inputs import with_input
from tflm_fg.tflite.layers import foreign_fault
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.stream.cut import StreamCut, last_layer, stream_cut
from tflm_fg.tflite.stream.pairs import StatePairs
from tflm_fg.tflite.stream.states import EXTERNAL, StateTensor, states_of
from tflm_fg.tflite.surgery.repair import mend
from tflm_fg.tflite.tensors import Patchable, tensor_spec
from tflm_fg.types import Array, Int8, NotApplicable, TflmFgError


class StreamModel:
  """A .tflite that takes a step of a stream at a time.

  A step is a sample of the model's input. A model that keeps state answers each
  step from all steps before; every run starts from a fresh state. In a model
  that keeps none a step is a whole window.

  Attributes:
    file: the file, with a last layer that owns its constants.
    runtime: the engine that runs it, one of `runtimes.NAMES`.
    notes: what had to be changed in the file, so that its last layer can be
      written; empty where the file is as it was given.
    state: what it keeps from step to step; empty for a model without state.
    step_shape: of one step, without a batch axis.
    input_dtype: of a step, as are the next two.
    input_scale: 0 for floats.
    input_zero_point: 0 for floats.
    output_dtype: of an answer, as are the next two.
    output_scale: 0 for floats.
    output_zero_point: 0 for floats.
    num_outputs: numbers of an answer.

  Example:
    >>> model = StreamModel.open("hey_jarvis.tflite", "tflm")
    >>> model.run(steps)[:, 0].max()
  """

  def __init__(
    self, file: ModelFile, runtime: str, pairs: StatePairs | None, state: str
  ) -> None:
    fault = foreign_fault(file.subgraph)
    if fault:
      raise TflmFgError(f"{file.name}: {fault}")
    self.runtime = runtime
    states = states_of(file, pairs)
    step, answer = _flows(file, states)
    self.file, self.notes = _mended(file, answer)
    self.state = states if not self.notes else states_of(self.file, pairs)
    self._run = running(self.file, step, answer, self.state, state)
    fed, given = (tensor_spec(file, index) for index in (step, answer))
    self.step_shape = sample_shape(fed.shape)
    self.input_dtype, self.output_dtype = fed.dtype, given.dtype
    self.input_scale, self.output_scale = fed.scale, given.scale
    self.input_zero_point = fed.zero_point
    self.output_zero_point = given.zero_point
    self.num_outputs = int(np.prod(given.shape))
    self._whole: Run = whole_run(self._run, runtime)

  @classmethod
  def open(
    cls,
    model: bytes | str | os.PathLike[str] | ModelFile,
    runtime: str = "litert",
    *,
    input: str | int | None = None,
    output: str | int | None = None,
    pairs: StatePairs | None = None,
    state: str = "auto",
    name: str | None = None,
  ) -> StreamModel:
    """Opens a model and runs a step of it in a process of its own.

    Args:
      model: the path or the bytes of a .tflite, or the opened file.
      runtime: the engine, one of `runtimes.NAMES`.
      input: which input takes the steps, by its position or its name; None for
        the one that is left when state is taken away.
      output: which output is the answer, by its position or its name.
      pairs: which inputs are state, with the outputs that go to them in the
        next step, by name or position; None to find them by shape, type and
        quantization.
      state: how resource variables are held: "variables", "external" (as inputs
        and outputs) or "auto", which is "variables" where the file says how
        they start.
      name: what to call the model in errors; by default its path.

    Raises:
      TflmFgError: in one line, if the file is not sound, the engine does not
        run it, or it is not clear which inputs and outputs are state.
    """
    if not isinstance(model, ModelFile):
      model = ModelFile.open(*files.read_model(model, name))
    file = with_input(with_output(model, output), input)
    return cls(file, runtime, pairs, state)

  def run(self, steps: Array) -> Array:
    """Runs a stream from a fresh state.

    Args:
      steps: [T, *step_shape] of `input_dtype`.

    Returns:
      [T, num_outputs] of `output_dtype`.

    Raises:
      TflmFgError: if the steps have another shape or type.
    """
    steps = self._steps(steps)
    if not len(steps):
      return np.empty((0, self.num_outputs), self.output_dtype)
    return self._whole(steps)

  def stepper(self) -> Stepper:
    """A stream of its own that is run as its steps come."""
    session = open_stream(self.runtime, whole_plan(self._run))
    return Stepper(session, self._steps)

  @functools.cached_property
  def head(self) -> Head:
    """The last layer.

    Raises:
      NotApplicable: naming why the model has none that can train.
    """
    return head_of(self.file, self._cut, self._run.answer)

  def head_inputs(self, steps: Array) -> Int8:
    """Runs the frozen part of the model over a stream, from a fresh state.

    Args:
      steps: [T, *step_shape] of `input_dtype`.

    Returns:
      int8 [T, features]: what the last layer reads at each step.

    Raises:
      TflmFgError: as `run`; and as `head`.
    """
    steps = self._steps(steps)
    features = self.head.num_features
    if not len(steps):
      return np.empty((0, features), np.int8)
    if self._prefix is None:
      return steps.reshape(len(steps), features).astype(np.int8)
    return self._prefix(steps).astype(np.int8, copy=False)

  def head_outputs(
    self,
    head_inputs: Int8,
    weights: Array | None = None,
    bias: Array | None = None,
  ) -> Array:
    """Runs the last layer and what is behind it, on the engine itself.

    Args:
      head_inputs: int8 [T, features], as `head_inputs` gives them.
      weights: int8 [outputs, features]; None for the file's own.
      bias: int32 [outputs]; None for the file's own.

    Returns:
      [T, num_outputs] of `output_dtype`: what `run` gives of a file with that
      head, bit for bit.

    Raises:
      TflmFgError: naming what has another shape or does not fit.
    """
    features = self.head.num_features
    x = np.asarray(head_inputs)
    if x.dtype != np.int8 or x.shape[1:] != (features,):
      raise TflmFgError(
        f"head inputs: {x.dtype} {list(x.shape)}, need int8 [T, {features}]"
      )
    session = self._suffix
    session.load(engine_weights(self.head, self._cut, weights, bias))
    if not len(x):
      return np.empty((0, self.num_outputs), self.output_dtype)
    x = x.reshape(len(x), *session.input_specs[0][0])
    rows = [
      session.run((x[start : start + MOST_TOGETHER],))[0]
      for start in range(0, len(x), MOST_TOGETHER)
    ]
    return np.concatenate(rows).reshape(len(x), self.num_outputs)

  def with_head(
    self, weights: Array | None = None, bias: Array | None = None
  ) -> bytes:
    """The whole file with another last layer, changed in place.

    Args:
      weights: int8 [outputs, features]; None for the file's own.
      bias: int32 [outputs]; None for the file's own.

    Returns:
      A file as long as `file.data` that differs from it in the bytes of these
      constants alone; `changed_bytes` lists them.

    Raises:
      TflmFgError: naming what has another shape or does not fit.
    """
    values = engine_weights(self.head, self._cut, weights, bias)
    return Patchable.of(self.file, self._cut.trainable).write(values)

  @functools.cached_property
  def _cut(self) -> StreamCut:
    run = self._run
    return stream_cut(run.file, run.answer, run.inputs, run.states)

  @functools.cached_property
  def _prefix(self) -> Run | None:
    part = self._cut.prefix
    return part and part_run(part, self._run, self.runtime)

  @functools.cached_property
  def _suffix(self) -> Session:
    return open_session(self.runtime, self._cut.suffix)

  def _steps(self, steps: Array) -> Array:
    """Steps [T, *step_shape], also where each still has its batch axis."""
    x = np.asarray(steps)
    if x.shape[1:] == (1, *self.step_shape):
      x = x.reshape(len(x), *self.step_shape)
    if (
      x.ndim == 0
      or x.shape[1:] != self.step_shape
      or (x.dtype != np.dtype(self.input_dtype))
    ):
      raise TflmFgError(
        f"{self.file.name}: steps are {x.dtype} {list(x.shape)}, need "
        f"{self.input_dtype} [T, {', '.join(map(str, self.step_shape))}]"
      )
    return x


def _flows(file: ModelFile, states: tuple[StateTensor, ...]) -> tuple[int, int]:
  """The tensors that a step goes to and that the answer comes from."""
  graph = file.subgraph
  outside = [s for s in states if s.kind == EXTERNAL]
  inputs = [i for i in graph.inputs if i not in {s.reads for s in outside}]
  if len(inputs) != 1:
    names = ", ".join(repr(graph.tensors[i].name) for i in inputs) or "none"
    raise TflmFgError(
      f"{file.name}: besides its state it has the inputs {names}; need one "
      "that takes the steps, and an output for every other one"
    )
  left = [i for i in graph.outputs if i not in {s.writes for s in outside}]
  if len(left) == 1 and graph.chosen_output is None:
    return inputs[0], left[0]
  return inputs[0], graph.outputs[meant_output(graph, file.name).position]


def _mended(file: ModelFile, answer: int) -> tuple[ModelFile, tuple[str, ...]]:
  """The file with a last layer that has constants of its own."""
  try:
    site = last_layer(file, answer)
  except NotApplicable:  # it runs as it is; whoever wants its head is told
    return file, ()
  model = file.unpack()
  notes = mend(model, {site: {"kernel", "bias"}}, file.name)
  if not notes:
    return file, ()
  return ModelFile.open(file.repacked(model), file.name), tuple(notes)
