"""Turn logits without labels into one loss: sure of each, varied over all.

Information maximisation: the mean entropy of each sample's softmax minus the
entropy of the mean softmax (the entropy of TENT, Wang et al., ICLR 2021, with
the diversity of SHOT, Liang et al., ICML 2020). It needs samples of many
classes in a batch; always answering with one class is its worst value, 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tflm_fg.losses.base import LOSS_BITS, NATS_PER_UNIT, Entropies
from tflm_fg.losses.cross_entropy import CrossEntropy, bits_a_step, log2_of
from tflm_fg.types import Array, Int64

_LN2 = round(np.log(2) * (1 << LOSS_BITS))


class InformationMaximisation(CrossEntropy):
  """The loss on integer logits; labels are taken and not looked at."""

  def entropies(self, logits: Array) -> Entropies:
    """Both of its parts, for people and to choose by.

    Args:
      logits: integers [N, C] of the samples that are compared.
    """
    share, own, _, of_mean = self._terms(logits)
    mean = float(((share * own) >> LOSS_BITS).sum(axis=1).mean())
    counts = np.bincount(logits.argmax(axis=1))
    shares = counts[counts > 0] / len(logits)
    return Entropies(
      own=mean * NATS_PER_UNIT,
      of_mean=of_mean * NATS_PER_UNIT,
      of_answers=-float((shares * np.log(shares)).sum()),
      most=math.log(min(logits.shape)),
    )

  def per_sample(self, logits: Array, labels: Array) -> Int64:
    """Each sample's entropy minus the batch's: int64 [N] in Q16 bits."""
    del labels
    share, own, _, batch_entropy = self._terms(logits)
    return ((share * own) >> LOSS_BITS).sum(axis=1) - batch_entropy

  def differences(self, some: Array, others: Array, labels: Array) -> Int64:
    """What each sample's logits change the loss of the whole batch by.

    The loss is not a sum over samples, as each moves the mean softmax. So a
    sample's part is its own gradient, the mean of the two ends', times what
    its logits move by: int64 [N] in Q16 bits, to the first order.
    """
    nats = self.residual(some, labels) + self.residual(others, labels)
    moved = some.astype(np.int64) - others.astype(np.int64)
    # Q16 nats by half a step each, times bits in Q30 that a step is worth.
    return ((nats * moved).sum(axis=1) * self._rate) >> 31

  @property
  def _rate(self) -> int:
    """A logit step in Q30; nats times real logits make nats, so as bits."""
    return bits_a_step(self.scale)

  def residual(self, logits: Array, labels: Array) -> Int64:
    """The loss's exact gradient by the logits: int64 [N, C] in Q16.

    With p a sample's softmax, m its mean and s = log m - log p, it is
    p_j (s_j - sum_k p_k s_k) for class j.
    """
    del labels
    share, own, of_mean, _ = self._terms(logits)
    excess = own - of_mean
    expected = ((share * excess) >> LOSS_BITS).sum(axis=1, keepdims=True)
    bits = (share * (excess - expected)) >> LOSS_BITS
    return (bits * _LN2) >> LOSS_BITS

  def ledger(
    self, passes: int, samples: int, classes: int
  ) -> Callable[[Sequence[Array], Array], Int64]:
    """Sums of the losses of several passes, int64 [P]."""
    del passes, samples, classes
    return lambda logits, labels: np.array(
      [self(rows, labels) for rows in logits], np.int64
    )

  def _terms(self, logits: Array) -> tuple[Int64, Int64, Int64, int]:
    """In Q16: p [N, C], -log2 p [N, C], -log2 m [C], the entropy of m."""
    wide = logits.astype(np.int32)
    gap = wide.max(axis=1, keepdims=True) - wide
    power = self.power[gap]
    total = power.sum(axis=1, keepdims=True)
    share = (power << LOSS_BITS) // total
    own = self.distance[gap] + log2_of(total)
    mean = share.sum(axis=0) // len(share)
    # log2_of takes Q24 from 1 on, and m in Q16 is taken as one unit at least.
    of_mean = (16 << LOSS_BITS) - log2_of(np.maximum(mean, 1) << 24)
    return share, own, of_mean, int((mean * of_mean).sum() >> LOSS_BITS)
