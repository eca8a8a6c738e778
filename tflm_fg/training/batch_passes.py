"""Run the passes of a step, side by side on as many sessions as there are.

LiteRT releases Python's lock while it runs, so that sessions in threads use
one core each. Every pass has a session of its own to write to, and losses come
back in the order of the weights: the number of sessions changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tflm_fg.losses.base import Loss
from tflm_fg.runtimes.parallel import SessionPool
from tflm_fg.runtimes.session import Session
from tflm_fg.types import Array, Int64, Samples, Weights

_LOGITS_AT_ONCE = 1 << 16
"""Logits whose losses are summed in one go: they should stay in the cache."""


_Sums = Callable[[Sequence[Array], Array], Int64]


class BatchPasses:
  """Runs one batch under any weights; see `state.Passes`.

  Attributes:
    inputs: what flows into the trained part of the graph, [N, ...] each.
    labels: int64 [N] for classes; other targets as `objective` has them.
  """

  def __init__(
    self,
    session: Session,
    loss: Loss,
    batch: Samples,
    helpers: Sequence[Session] = (),
  ) -> None:
    """Prepares passes over a batch.

    Args:
      session: runs the trained part.
      loss: logits and labels to integers.
      batch: the samples.
      helpers: sessions of the same part, to run passes at the same time.
    """
    self._session_pool = SessionPool([session, *helpers])
    self._loss = loss
    self._ledgers: dict[tuple[int, ...], _Sums] = {}
    self.use(batch)

  def use(self, batch: Samples) -> None:
    """Takes another batch; its arrays must stay as they are."""
    self.inputs, self.labels = batch.inputs, batch.labels

  def logits(self, weights: Weights) -> Array:
    """Integer logits [N, C] at some weights."""
    return self.logits_at([weights])[0]

  def activations(self, weights: Weights) -> list[Array]:
    """What flows into the trained part, then what else flows out of it."""
    return [*self.inputs, *self._session_pool.taps(self.inputs, weights)]

  def logits_at(self, candidates: Sequence[Weights]) -> list[Array]:
    """Integer logits [N, C] at each of the weights."""
    return self._session_pool.outputs(self.inputs, candidates)

  def losses(self, candidates: Sequence[Weights]) -> Int64:
    """The losses at each of the weights: int64 [P] in their units."""
    logits = self.logits_at(candidates)
    if len(logits) * logits[0].size <= _LOGITS_AT_ONCE:
      return self._ledger(logits)(logits, self.labels)
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
