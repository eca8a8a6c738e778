"""Write to each tensor that shall train, and see whether the output changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.arithmetic import saturate
from tflm_fg.runtimes.session import Session
from tflm_fg.types import NotApplicable, Tensors, TrainableTensor

SAMPLES = 32
"""Samples that the check runs."""


class Visibility(NamedTuple):
  """The guard's verdict on one tensor."""

  tensor: TrainableTensor
  seen: bool
  cause: str  # empty if seen


def check_visibility(
  session: Session,
  tensors: tuple[TrainableTensor, ...],
  probes: Tensors | None = None,
) -> list[Visibility]:
  """Changes each trainable tensor and looks whether the output changes.

  Args:
    session: where the tensors will be written; left as it was.
    tensors: the trainable tensors, the session's order.
    probes: inputs of at least one sample; zeros would hide a kernel.

  Returns:
    One verdict a tensor.
  """
  before = session.params()
  inputs = (
    probes
    if probes is not None
    else tuple(
      random_bits.probe_input(shape, dtype, number)
      for number, (shape, dtype) in enumerate(session.input_specs)
    )
  )
  quiet = session.run(inputs)
  verdicts: list[Visibility] = []
  for number, tensor in enumerate(tensors):
    seen = False
    for other in _others(before[number], tensor):
      session.load([*before[:number], other, *before[number + 1 :]])
      seen = any(
        not np.array_equal(a, b) for a, b in zip(quiet, session.run(inputs))
      )
      if seen:
        break
    # All sums of low bytes may lie under half a step of these outputs; what
    # runs them runs their kernel too.
    seen = seen or (tensor.is_low and verdicts[-1].seen)
    verdicts.append(Visibility(tensor, seen, "" if seen else _cause(session)))
    session.load(before)
  return verdicts


def probes_of(inputs: Tensors) -> Tensors:
  """Some of the samples [N, ...], from the first to the last, to check by."""
  count = len(inputs[0])
  spread = np.linspace(0, count - 1, min(SAMPLES, count)).astype(int)
  return tuple(x[spread] for x in inputs)


def require_visible(
  session: Session,
  tensors: tuple[TrainableTensor, ...],
  probes: Tensors | None = None,
) -> None:
  """Refuses to train where a write would change nothing.

  Raises:
    NotApplicable: naming the first tensor whose write is not seen.
  """
  for verdict in check_visibility(session, tensors, probes):
    if not verdict.seen:
      raise NotApplicable(
        f"runtime {session.traits.runtime!r} does not see a write to "
        f"{verdict.tensor.name!r}: {verdict.cause}"
      )


def _others(
  array: NDArray[Any], tensor: TrainableTensor
) -> Iterator[NDArray[Any]]:
  """Other values for every element, far enough to move the outputs.

  An output at the end of its range hides what would move it further, as a
  detector of one number does that says a sure no. So the opposite comes too.
  """
  if array.dtype.kind == "f":  # of a float twin
    yield array + np.where(array > 0, -1, 1).astype(array.dtype)
    return
  if tensor.has_master:
    most = 127 << (8 * array.itemsize - 8)
    yield np.where(array > 0, -most, most).astype(array.dtype)
    yield np.full_like(array, most)
    yield np.full_like(array, -most)
    return
  steps = np.resize(np.asarray(tensor.output_step, np.int64), array.shape)
  signs = np.where(np.arange(array.size) % 2, 1, -1).reshape(array.shape)
  for far in (60, -60, 6000, -6000):
    yield saturate(array + far * signs * steps, array.dtype)


def _cause(session: Session) -> str:
  if session.traits.in_place and session.traits.runtime == "litert-xnnpack":
    return (
      "XNNPACK packed the weights when the interpreter was made; use "
      "--strategy=rebuild or --runtime=litert"
    )
  if session.traits.in_place:
    return (
      "its kernel or a delegate keeps a copy of the weights, or nothing after "
      "this tensor reaches the output; try --strategy=rebuild"
    )
  return "nothing after this tensor reaches the output; mark other tensors"
