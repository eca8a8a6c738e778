"""Run the passes of a step, side by side on as many sessions as there are.

LiteRT releases Python's lock while it runs, so that sessions in threads use
one core each. Every pass has a session of its own to write to, and losses come
back in the order of the weights: the number of sessions changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tflm_fg.base import Array, Clips, Int64, Session, Tensors, Weights
from tflm_fg.losses import Loss

_LOGITS_AT_ONCE = 1 << 16
"""Logits whose losses are summed in one go: they should stay in the cache."""


_Sums = Callable[[Sequence[Array], Array], Int64]


class Crew:
  """Sessions of one part of the graph, one thread each."""

  def __init__(self, sessions: Sequence[Session]) -> None:
    self._sessions = sessions
    self._threads = (
      ThreadPoolExecutor(len(sessions) - 1) if len(sessions) > 1 else None
    )

  def taps(self, inputs: Tensors, weights: Weights) -> Tensors:
    """Runs a batch; what flows out behind the logits, arrays [N, ...]."""
    session = self._sessions[0]
    session.feed(inputs)
    session.load(weights)
    return session.forward()[1:]

  def outputs(
    self, inputs: Tensors, candidates: Sequence[Weights]
  ) -> list[Array]:
    """Runs a batch at each of the weights.

    Args:
      inputs: [N, ...] each; the same tuple again is not copied again.
      candidates: every session takes every n-th of them.

    Returns:
      The part's first output [N, C], an array for each of the weights.
    """
    if self._threads is None:
      return _run(self._sessions[0], inputs, candidates)
    first, *others = self._sessions
    count = len(self._sessions)
    jobs = [
      self._threads.submit(_run, session, inputs, candidates[i::count])
      for i, session in enumerate(others, 1)
    ]
    outputs: list[Array] = [_NONE] * len(candidates)
    outputs[::count] = _run(first, inputs, candidates[::count])
    for i, job in enumerate(jobs, 1):
      outputs[i::count] = job.result()
    return outputs


_NONE = np.empty(0, np.int8)


def _run(
  session: Session, inputs: Tensors, candidates: Sequence[Weights]
) -> list[Array]:
  session.feed(inputs)
  rows = []
  for weights in candidates:
    # Assignment restores: adding back is lossy where int8 saturates.
    session.load(weights)
    output, *_ = session.forward()
    rows.append(output.reshape(len(output), math.prod(output.shape[1:])))
  return rows


class BatchPasses:
  """Runs one batch under any weights; see `base.Passes`.

  Attributes:
    inputs: what flows into the trained part of the graph, [N, ...] each.
    labels: int64 [N] for classes; other targets as `tasks` has them.
  """

  def __init__(
    self,
    session: Session,
    loss: Loss,
    batch: Clips,
    helpers: Sequence[Session] = (),
  ) -> None:
    """Prepares passes over a batch.

    Args:
      session: runs the trained part.
      loss: logits and labels to integers.
      batch: the clips.
      helpers: sessions of the same part, to run passes at the same time.
    """
    self._crew = Crew([session, *helpers])
    self._loss = loss
    self._ledgers: dict[tuple[int, ...], _Sums] = {}
    self.use(batch)

  def use(self, batch: Clips) -> None:
    """Takes another batch; its arrays must stay as they are."""
    self.inputs, self.labels = batch.inputs, batch.labels

  def logits(self, weights: Weights) -> Array:
    """Integer logits [N, C] at some weights."""
    return self.logits_at([weights])[0]

  def activations(self, weights: Weights) -> list[Array]:
    """What flows into the trained part, then what else flows out of it."""
    return [*self.inputs, *self._crew.taps(self.inputs, weights)]

  def logits_at(self, candidates: Sequence[Weights]) -> list[Array]:
    """Integer logits [N, C] at each of the weights."""
    return self._crew.outputs(self.inputs, candidates)

  def losses(self, candidates: Sequence[Weights]) -> Int64:
    """The losses at each of the weights: int64 [P] in their units."""
    logits = self.logits_at(candidates)
    few = max(1, _LOGITS_AT_ONCE // logits[0].size)
    sums = [
      self._ledger(part)(part, self.labels)
      for part in (logits[i : i + few] for i in range(0, len(logits), few))
    ]
    return sums[0] if len(sums) == 1 else np.concatenate(sums)

  def _ledger(self, logits: Sequence[Array]) -> _Sums:
    shape = (len(logits), *logits[0].shape)
    if shape not in self._ledgers:
      self._ledgers[shape] = self._loss.ledger(*shape)
    return self._ledgers[shape]
