"""Hear a stream as it comes, piece by piece."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.wake.data import micro_frames
from apps.wake.data.features import RATE_HZ, Frontend
from apps.wake.detector import Detector
from apps.wake.scores import ONE
from tflm_fg import detection
from tflm_fg.detection import Rule


class Hit(NamedTuple):
  """A detection in a stream.

  Attributes:
    seconds: from the start of the stream to the end of the step.
    probability: the mean over the sliding window, 0 to 1.
  """

  seconds: float
  probability: float


def hear(found: Detector, pieces: Iterable[NDArray[np.int16]]) -> Iterator[Hit]:
  """Plays a stream to a model as it comes.

  Args:
    found: the model, which begins from a fresh state.
    pieces: int16 [n] each, at 16 kHz.

  Yields:
    Each detection as soon as it is known.
  """
  rule, stepper = found.rule, found.model.stepper()
  steps, listening = LiveSteps(found.frontend), Listening(rule)
  for piece in pieces:
    outputs = [np.reshape(stepper.step(x), (1, -1)) for x in steps.push(piece)]
    if outputs:
      for step, mean in listening.push(np.concatenate(outputs)):
        yield Hit((step + 1) * rule.step_seconds, mean)


class LiveSteps:
  """The steps of a stream that comes in pieces: those of `Frontend.steps`.

  Args:
    frontend: of the model.
  """

  def __init__(self, frontend: Frontend) -> None:
    self._frontend = frontend
    self._micro: micro_frames.Stream | None = None
    self._rest: NDArray[Any] = np.zeros(0, np.int16)
    if frontend.name == "micro":
      self._micro = micro_frames.Stream()
      self._rest = np.zeros((0, micro_frames.CHANNELS), np.int8)

  def push(self, sound: NDArray[np.int16]) -> NDArray[np.int8]:
    """Takes the next piece, and gives the steps that it completes.

    Args:
      sound: int16 [n] at 16 kHz.

    Returns:
      int8 [T, *step_shape], often of no steps.
    """
    own = self._frontend
    if self._micro is None:
      self._rest = np.concatenate([self._rest, sound])
      steps = own.steps(self._rest)
      used = len(steps) * round(own.step_seconds * RATE_HZ)
    else:
      frames = own.rounded(self._micro.push(sound))
      self._rest = np.concatenate([self._rest, frames])
      steps = own.cut(self._rest)
      used = len(steps) * own.stride * own.frame_step
    self._rest = self._rest[used:]
    return steps


class Listening:
  """The rule of detections over a stream that comes in pieces.

  The detections are those of `detection.detections` over the whole stream: what
  follows a detection is a stream of its own, whose warm-up is the refractory
  time; and once that has passed, no more than a window of the past counts.

  Args:
    rule: when a stream of outputs counts as a detection.
  """

  def __init__(self, rule: Rule) -> None:
    self._rule = rule
    self._held: NDArray[Any] | None = None
    self._first = 0  # the step of the stream that `_held` begins with

  def push(self, outputs: NDArray[Any]) -> list[tuple[int, float]]:
    """Takes the next outputs.

    Args:
      outputs: uint8 or int8 [T, outputs].

    Returns:
      Step and mean probability of each detection in them.
    """
    held = self._held
    held = outputs if held is None else np.concatenate([held, outputs])
    found = []
    while len(at := detection.detections(held, self._rule)):
      end = int(at[0]) + 1
      found.append((self._first + end - 1, self._mean(held[:end])))
      held, self._first = held[end:], self._first + end
      quiet = self._rule.refractory
      self._rule = dataclasses.replace(self._rule, warm_up=quiet)
    own = detection.probabilities(held, self._rule.output)
    if np.sum(own < self._rule.threshold) >= self._rule.warm_up:
      used = max(0, len(held) - self._rule.window + 1)
      held, self._first = held[used:], self._first + used
      self._rule = dataclasses.replace(self._rule, warm_up=0)
    self._held = held
    return found

  def _mean(self, held: NDArray[Any]) -> float:
    """The mean over the window that ends with the last step held."""
    own = detection.probabilities(held, self._rule.output)
    window = self._rule.window
    return float(own[-window:].sum()) / (window * ONE)
