"""Count bytes: inference, what training adds to it, what backpropagation needs.

The paper's figures show "scratch" and "total" memory; of them only captions are
known here. Our reading: scratch is the activation memory of one pass, which is
used anew by the next, and total adds weights and all that lives from step to
step. Both count one sample at a time: forward passes add up a loss, and a
backward pass may add up its gradient sample by sample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tflm_fg.memory.arena import arena_of, peak
from tflm_fg.memory.backward_pass import Training, training_buffers
from tflm_fg.memory.dataflow import read_dataflow
from tflm_fg.optimizers.kinds import OPTIMIZERS
from tflm_fg.placement.phase_record import Phase
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.types import Mark, TflmFgError, TrainableTensor

PRECISIONS = {"float32": 4, "float16": 2, "int8": 1}
"""What backpropagation holds an activation in, and its bytes. "float16" is as
well any 16-bit integer. "int8" is the engine's own width, at which only the
order of the passes makes a difference."""

MOMENTS = {"sgd": 0, "momentum": 1, "adam": 2}
"""Numbers that an optimizer keeps for each trained one."""

_LEAST_NUMBER = 2
"""Bytes of a trained number, its gradient and its moments, at least: eight bits
do not add up small steps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Footprint:
  """Bytes that an engine and a method of training take together.

  Attributes:
    scratch: activations of one sample's pass, laid out in an arena.
    bookkeeping: the engine's own, whatever it runs.
    weights: all constants as the engine reads them.
    masters: the trained numbers in the trainer's precision, where they are
      not the engine's.
    gradient: a whole gradient, if one is summed up.
    optimizer: velocity and moments.
    loss: what a loss of integers is computed in.
    residue: what error feedback keeps back.
    start: what an anchor, or Frank-Wolfe's box, lies around.
  """

  scratch: int
  bookkeeping: int
  weights: int
  masters: int = 0
  gradient: int = 0
  optimizer: int = 0
  loss: int = 0
  residue: int = 0
  start: int = 0

  @property
  def total(self) -> int:
    """All parts together."""
    return sum(dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerBytes:
  """What a step needs beyond inference, by part, on a microcontroller.

  The engine's own copy of a weight is perturbed during a pass, and an int8
  that saturates cannot be brought back by subtracting; so masters are whole
  numbers beside it. Directions are drawn again, never stored.

  Attributes:
    masters: two bytes a kernel weight (one where all phases are 8w8a), a bias
      at its own width, four bytes or eight.
    momentum: two bytes a kernel weight and four a bias, if momentum is on.
    residue: with error feedback, one byte a number, two a kernel weight of
      8w8a.
    start: the masters before the first step, where an anchor or a pull goes
      back to them; of biases alone where Frank-Wolfe's box lies around them.
    squares: eight bytes a number under the optimizer `rms`.
    gradient: four bytes a trainable number where the method sums a gradient
      over the samples of a batch (closed-form, per-sample).
    best: copy of the best masters so far, if they are kept.
    loss: one sample's terms, a 32-bit word a class, and a 64-bit sum.
  """

  masters: int
  momentum: int
  gradient: int
  best: int
  loss: int
  residue: int = 0
  start: int = 0
  squares: int = 0

  @property
  def total(self) -> int:
    """All parts together."""
    return sum(dataclasses.astuple(self))


def inference(source: Source) -> Footprint:
  """What it takes to run a .tflite in TFLM, weights in RAM.

  Within 5 % of the arena that TFLM reports (without the weights) on every
  model that the tests measure.

  Raises:
    TflmFgError: if the bytes are not a sound .tflite.
  """
  flow = read_dataflow(source)
  arena = arena_of(flow)
  return Footprint(
    scratch=arena.activations,
    bookkeeping=arena.bookkeeping,
    weights=flow.constant_bytes,
  )


def forward_gradients(
  source: Source, mark: Mark, phases: Sequence[Phase], classes: int
) -> Footprint:
  """Inference and `trainer_bytes`, without a copy of the best masters.

  That copy serves a choice by samples kept aside and is no part of the method.

  Args:
    source: the marked .tflite.
    mark: its mark.
    phases: what runs, one behind the other.
    classes: count of classes.
  """
  own = trainer_bytes(mark.trainable, phases, classes)
  return dataclasses.replace(
    inference(source),
    masters=own.masters,
    gradient=own.gradient,
    optimizer=own.momentum + own.squares,
    loss=own.loss,
    residue=own.residue,
    start=own.start,
  )


def backpropagation(
  source: Source, mark: Mark, precision: str = "float16", optimizer: str = "sgd"
) -> Footprint:
  """What backpropagation of the same tensors would need at the least.

  Nothing is recomputed. The trained numbers live in the trainer's precision
  alone, the frozen ones as the engine has them; the gradient is whole, since
  it is added up over a batch. `backward_pass` says what a pass keeps.

  Args:
    source: the marked .tflite.
    mark: its mark.
    precision: a key of `PRECISIONS`.
    optimizer: a key of `MOMENTS`.

  Raises:
    TflmFgError: if precision or optimizer is unknown.
  """
  _require_one("precision", precision, PRECISIONS)
  _require_one("optimizer", optimizer, MOMENTS)
  file = ModelFile.of(source)
  flow, plain = read_dataflow(file), inference(file)
  training = Training(
    trained=frozenset(t.index for t in mark.trainable),
    logits=mark.logits,
    width=PRECISIONS[precision],
  )
  numbers = sum(t.size for t in mark.trainable)
  width = max(_LEAST_NUMBER, PRECISIONS[precision])
  return dataclasses.replace(
    plain,
    scratch=peak(training_buffers(flow, training)),
    weights=plain.weights - sum(t.num_bytes for t in mark.trainable),
    masters=width * numbers,
    gradient=width * numbers,
    optimizer=MOMENTS[optimizer] * width * numbers,
  )


def _require_one(what: str, value: str, known: Mapping[str, int]) -> None:
  if value not in known:
    raise TflmFgError(
      f"{what} {value!r} is unknown; choose one of {', '.join(known)}"
    )


def trainer_bytes(
  tensors: Sequence[TrainableTensor], phases: Sequence[Phase], classes: int
) -> TrainerBytes:
  """Counts the trainer's memory for a whole adaptation.

  Masters live from the first phase to the last, the rest as long as a phase:
  the largest counts.

  Args:
    tensors: all that the phases train.
    phases: what runs, one behind the other.
    classes: count of classes.
  """
  coarse = bool(phases) and all(map(_is_coarse, phases))
  masters = _masters(tensors, coarse)
  parts = [_of_phase(tensors, phase) for phase in phases]
  nothing = (0, 0, 0, 0, 0, 0)
  momentum, gradient, best, residue, start, squares = max(
    parts, key=sum, default=nothing
  )
  return TrainerBytes(
    masters=masters,
    momentum=momentum,
    gradient=gradient,
    best=best,
    loss=4 * (classes + 2),
    residue=residue,
    start=start,
    squares=squares,
  )


def _of_phase(
  tensors: Sequence[TrainableTensor], phase: Phase
) -> tuple[int, int, int, int, int, int]:
  """Bytes of velocity, sums, best masters, residue, start and squares."""
  own = [t for t in tensors if t.index in phase.tensors]
  method = phase.method
  optimizer = OPTIMIZERS[method.optimizer]
  velocity = sum(t.numbers * (2 if t.has_master else 4) for t in own)
  coarse = _is_coarse(phase)
  residue = sum(t.numbers * (1 + (coarse and t.has_master)) for t in own)
  kept, sums = own, method.is_exact or method.weights_are_inputs
  if not method.anchor and not getattr(method, "pull", 0):
    kept = [t for t in own if optimizer.boxes_biases and not t.has_master]
  return (
    velocity if method.momentum else 0,
    4 * sum(t.numbers for t in own) if sums else 0,
    _masters(own, coarse) if method.validation_fraction else 0,
    residue if method.rounding == "error-feedback" else 0,
    _masters(kept, coarse),
    8 * sum(t.numbers for t in own) if optimizer.keeps_squares else 0,
  )


def _is_coarse(phase: Phase) -> bool:
  return phase.method.precision == "8w8a"


def _masters(tensors: Sequence[TrainableTensor], coarse: bool) -> int:
  kernel = 1 if coarse else 2
  return sum(
    t.numbers * (kernel if t.has_master else 8 if t.dtype == "int64" else 4)
    for t in tensors
  )
