"""Run a whole model or its frozen part over streams, in one engine.

With state, steps run one after the other from a fresh state. Without state,
many steps run as one batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tflm_fg.runtimes.registry import open_session, open_stream
from tflm_fg.runtimes.streams import Carried, StreamPlan, StreamSession
from tflm_fg.tflite import outside
from tflm_fg.tflite.choice.outputs import leading_to
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import extract
from tflm_fg.tflite.stream.states import EXTERNAL, RESOURCE, StateTensor
from tflm_fg.tflite.surgery.external_state import external_state
from tflm_fg.tflite.tensors import Part
from tflm_fg.types import Array, require_one

STATES = ("auto", "variables", "external")
"""How state is held while a stream runs: "variables" as the file has it,
"external" as inputs and outputs, "auto" as the file has it if the file says how
a stream starts, since LiteRT does not run it otherwise."""

MOST_TOGETHER = 256
"""Steps without state that run as one batch."""

Run = Callable[[Array], Array]
"""A stream from a fresh state: [T, *step_shape] in, [T, numbers] out."""


class Running(NamedTuple):
  """A file as it is run, and what flows.

  Attributes:
    file: with its state in variables or outside.
    step: tensor that a step goes to.
    answer: tensor that is wanted.
    states: all state; that which is outside is of the kind `EXTERNAL`.
  """

  file: ModelFile
  step: int
  answer: int
  states: tuple[StateTensor, ...]

  @property
  def inputs(self) -> list[int]:
    """Tensors that flow in."""
    return list(self.file.subgraph.inputs)


def running(
  file: ModelFile,
  step: int,
  answer: int,
  states: tuple[StateTensor, ...],
  held: str,
) -> Running:
  """Chooses how a file's state is held.

  Args:
    file: a sound .tflite.
    step: tensor that a step goes to.
    answer: tensor that is wanted.
    states: all state of the file.
    held: one of `STATES`.

  Raises:
    TflmFgError: if `held` is unknown, or naming why it cannot be so.
  """
  require_one("state", held, STATES)
  if outside.holds_constants(file.data):  # TFLM would take them for zeros
    file = ModelFile.packed(file.unpack(), file.name)
  resources = [s for s in states if s.kind == RESOURCE]
  unset = any(s.reads >= 0 and not s.is_set for s in resources)
  if held == "variables" or (held == "auto" and not unset):
    return Running(file, step, answer, states)
  moved_out = external_state(file)
  moved = {pair.state.name: pair.state for pair in moved_out.pairs}
  others = [s for s in states if s.kind != RESOURCE]
  left = [dataclasses.replace(s, kind=EXTERNAL) for s in moved.values()]
  # A later read of a variable is the tensor that was assigned; places stay.
  place = file.subgraph.outputs.index(answer)
  answer = moved_out.file.subgraph.outputs[place]
  return Running(moved_out.file, step, answer, (*others, *left))


def whole_run(run: Running, runtime: str) -> Run:
  """Runs the whole model; `runtime` is one of `runtimes.NAMES`."""
  if run.states:
    return open_stream(runtime, whole_plan(run)).run
  needed = leading_to(run.file.subgraph, [run.answer])
  part = extract(run.file, needed, [run.step], [run.answer], [])
  return _batches(part, runtime)


def part_run(part: Part, run: Running, runtime: str) -> Run:
  """Runs the part that makes what the last layer reads."""
  if run.states:
    plan = _plan(part.file, part.inputs, part.outputs, run, part.outputs[0])
    return open_stream(runtime, plan).run
  return _batches(part, runtime)


def whole_plan(run: Running) -> StreamPlan:
  """How the whole model runs step by step."""
  graph = run.file.subgraph
  return _plan(run.file, graph.inputs, graph.outputs, run, run.answer)


def _plan(
  file: ModelFile,
  inputs: tuple[int, ...],
  outputs: tuple[int, ...],
  run: Running,
  answer: int,
) -> StreamPlan:
  """A plan; tensors are those of `run.file`, whatever numbers `file` has."""
  own = [s for s in run.states if s.kind != EXTERNAL]
  return StreamPlan(
    file=file,
    step=inputs.index(run.step),
    answer=outputs.index(answer),
    carried=tuple(
      Carried(inputs.index(s.reads), outputs.index(s.writes), s.initial_array())
      for s in run.states
      if s.kind == EXTERNAL
    ),
    has_variables=bool(own),
    from_zero=all(s.starts_at_zero for s in own),
  )


def _batches(part: Part, runtime: str) -> Run:
  """Runs a part without state on many steps at once."""
  session = open_session(runtime, part)

  def run(steps: Array) -> Array:
    rows = [
      session.run((steps[start : start + MOST_TOGETHER],))[0]
      for start in range(0, len(steps), MOST_TOGETHER)
    ]
    return np.concatenate(rows).reshape(len(steps), -1)

  return run


class Stepper:
  """A stream that is run as its steps come, for a microphone.

  Two steppers of one model do not see each other.
  """

  def __init__(self, session: StreamSession, checked: Run) -> None:
    """Starts a stream.

    Args:
      session: that nobody else uses.
      checked: gives steps [1, ...] back, or refuses their form.
    """
    self._session, self._checked = session, checked
    session.reset()

  def step(self, x: Array) -> Array:
    """Runs the next step.

    Args:
      x: of the model's input type and `step_shape`.

    Returns:
      [outputs], of the output's type.

    Raises:
      TflmFgError: if it has another shape or type, or the engine refuses it.
    """
    (step,) = self._checked(np.asarray(x)[None])
    return self._session.step(step).reshape(-1)

  def reset(self) -> None:
    """Starts a new stream: the next step finds the initial state."""
    self._session.reset()
