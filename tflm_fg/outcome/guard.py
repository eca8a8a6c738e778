"""Hold an adaptation to samples of before that it does not train on.

What loses too much of them is trained again in a gentler way, whose head is
pulled to its start, and is taken back where no way loses little enough. It is
choosing by these samples, so that scores on them are a little too good then.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.placement.request import Request
from tflm_fg.training.task import Task

MOST_LOST = 0.02
"""Share of samples of before that may be lost: two points of accuracy."""

Ran = TypeVar("Ran")

PULLS = (0.3, 1.0, 3.0)
"""Lambdas of gentler ways, in turn."""


def ways(
  trainable: str | None, task: Task, request: Request, is_marked: bool
) -> Iterator[tuple[str | None, Request]]:
  """What to train and how: as the user asks, and then ever more gently.

  Args:
    trainable: what the user trains.
    task: what is learned.
    request: what the user asked for.
    is_marked: whether the file's own mark says what trains; then, as where a
      method is named, there are no gentler ways.
  """
  yield trainable, request
  if is_marked or not (request.is_auto and task.is_exact and task.labelled):
    return
  for pull in PULLS:
    method = request.method.as_phase(ClosedForm, pull=pull)
    yield "head", dataclasses.replace(request, method=method)


def title_of(trainable: str | None, request: Request) -> str:
  """What one of `ways` is called, for people."""
  pull = getattr(request.method, "pull", 0.0)
  name = trainable or "auto"
  return f"{name} with a pull of {pull:g}" if pull else name


def left_alone(fault: str) -> str:
  """What is said where no way is left.

  Args:
    fault: of the last way.
  """
  return (
    f"the file is left as it was: {fault}; give samples of before as replay, "
    "or let them go with absent_classes=ignore"
  )


def held(
  ways: Iterable[tuple[str | None, Request]],
  run: Callable[[str | None, Request], Ran],
  tell: Callable[[Ran], Mapping[str, Any] | None],
) -> tuple[Ran, list[tuple[str, str, Ran]]]:
  """Runs one way after the other, until one loses little enough.

  Args:
    ways: as `ways` gives them, one at least.
    run: trains.
    tell: gives a report's `forgetting` of what was trained.

  Returns:
    The last that ran; and all that lost too much, each with its name and what
    it lost. The last is among them where none is left.
  """
  gone: list[tuple[str, str, Ran]] = []
  for what, asked in ways:
    ran = run(what, asked)
    fault = lost(tell(ran))
    if not fault:
      break
    gone.append((title_of(what, asked), fault, ran))
  return ran, gone


def lost(told: Mapping[str, Any] | None) -> str:
  """Says that samples of before are lost; empty where few enough are.

  One sample more or less says nothing, however few there are.

  Args:
    told: a report's `forgetting`.
  """
  if told is None or told["measured_on"] != "old_data":
    return ""
  before, after = told["accuracy_before"], told["accuracy_after"]
  if before is None or after is None:
    return ""
  samples = told["scored_samples"]
  gone = round((before - after) * samples)
  if gone <= max(1, math.floor(MOST_LOST * samples)):
    return ""
  return (
    f"accuracy on the {samples} samples of old_data fell from {before:.3f} to "
    f"{after:.3f}"
  )
