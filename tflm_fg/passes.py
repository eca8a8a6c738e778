"""Run the passes of a step, side by side on as many sessions as there are.

LiteRT releases Python's lock while it runs, so that sessions in threads use
one core each. Every pass has a session of its own to write to, and losses come
back in the order of the weights: the number of sessions changes no bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tflm_fg.base import Array, Clips, Int64, Session, Weights
from tflm_fg.losses import CrossEntropy, Ledger

_LOGITS_AT_ONCE = 1 << 16
"""Logits whose losses are summed in one go: they should stay in the cache."""


class BatchPasses:
  """Runs one batch under any weights; see `base.Passes`.

  Attributes:
    inputs: what flows into the trained part of the graph, [N, ...] each.
    labels: int64 [N].
  """

  def __init__(
    self,
    session: Session,
    loss: CrossEntropy,
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
    self._sessions = [session, *helpers]
    self._threads = ThreadPoolExecutor(len(helpers)) if helpers else None
    self._loss = loss
    self._ledgers: dict[tuple[int, ...], Ledger] = {}
    self.use(batch)

  def use(self, batch: Clips) -> None:
    """Takes another batch; its arrays must stay as they are."""
    self.inputs, self.labels = batch.inputs, batch.labels

  def logits(self, weights: Weights) -> Array:
    """Integer logits [N, C] at some weights."""
    return self._run(self._sessions[0], [weights])[0]

  def losses(self, candidates: Sequence[Weights]) -> Int64:
    """The losses at each of the weights: int64 [P] in Q16 bits."""
    logits = self._logits(candidates)
    few = max(1, _LOGITS_AT_ONCE // logits[0].size)
    sums = [
      self._ledger(part)(part, self.labels)
      for part in (logits[i : i + few] for i in range(0, len(logits), few))
    ]
    return sums[0] if len(sums) == 1 else np.concatenate(sums)

  def _ledger(self, logits: Sequence[Array]) -> Ledger:
    shape = (len(logits), *logits[0].shape)
    if shape not in self._ledgers:
      self._ledgers[shape] = Ledger(self._loss, *shape)
    return self._ledgers[shape]

  def _logits(self, candidates: Sequence[Weights]) -> list[Array]:
    """Every session takes every n-th of the weights."""
    if self._threads is None:
      return self._run(self._sessions[0], candidates)
    first, *others = self._sessions
    count = len(self._sessions)
    jobs = [
      self._threads.submit(self._run, session, candidates[i::count])
      for i, session in enumerate(others, 1)
    ]
    logits: list[Array] = [np.empty(0)] * len(candidates)
    logits[::count] = self._run(first, candidates[::count])
    for i, job in enumerate(jobs, 1):
      logits[i::count] = job.result()
    return logits

  def _run(
    self, session: Session, candidates: Sequence[Weights]
  ) -> list[Array]:
    """Logits [N, C] of one session's share."""
    session.feed(self.inputs)
    rows = []
    for weights in candidates:
      # Assignment restores: adding back is lossy where int8 saturates.
      session.load(weights)
      (logits,) = session.forward()
      rows.append(logits.reshape(len(logits), -1))
    return rows
