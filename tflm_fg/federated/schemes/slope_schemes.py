"""Learn what has no closed form together: slopes along addressed directions.

A direction is an address that every client knows, so that a client sends but
what its samples lose more on one side of it than on the other: one number a
direction. With a direction for every sample the clients send directions summed
by their slopes: one number for each number that trains.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np

from tflm_fg.federated.fields import Field, Sums
from tflm_fg.federated.schemes.scheme import (
  SLOPES,
  Part,
  Scheme,
  in_turn,
  most_loss,
  one,
)
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.per_sample import ScanFirst, behind_first
from tflm_fg.gradients.sample_slopes import PerSampleSlopes
from tflm_fg.gradients.slopes import differences, run
from tflm_fg.gradients.spsa import CentralDifference, DirectionalMethod
from tflm_fg.types import Int64


class DirectionScheme(Scheme):
  """Differences of losses along the round's directions, two passes each.

  Where the directions take turns among blocks of layers, a client runs those
  of its share alone (Spry), and each block has a count of its own samples.
  """

  def fields(self) -> tuple[Field, ...]:
    """Samples of each block, its differences, and all losses."""
    blocks, m = self._blocks, self._method.num_directions
    most = most_loss(self.at.loss, self.at.classes)
    numbers = [len(range(b, m, blocks)) for b in range(blocks)]
    return (
      Field("samples of blocks", blocks, 0, 1),
      *(
        Field(f"differences of block {b}", n, -most, most)
        for b, n in enumerate(numbers)
      ),
      Field("loss", 1, 0, 2 * m * most),
    )

  def sums(self, part: Part) -> list[Int64]:
    """Runs two passes a direction of the client's share."""
    blocks, state = self._blocks, self.at.state
    mine = in_turn(blocks, part.share, state.step)
    m = self._method.num_directions
    numbers = [n for n in range(m) if n % blocks in mine]
    losses = run(part.passes, self._estimator(1).along(state, numbers))
    found = np.zeros(m, np.int64)
    found[numbers] = differences(losses)
    counts = np.zeros(blocks, np.int64)
    counts[mine] = part.samples
    each = [found[b::blocks] for b in range(blocks)]
    return [counts, *each, one(int(losses.sum()))]

  def fault(self, samples: int, sums: Sums) -> str:
    """Differences of a block of which no sample is stated."""
    del samples
    most = most_loss(self.at.loss, self.at.classes)
    for b, (count, own) in enumerate(zip(sums[0].tolist(), sums[1:-1])):
      if np.abs(own).max(initial=0) > count * most:
        return f"differences of block {b}: more than its {count} samples give"
    return ""

  def step(self, samples: int, sums: Sums) -> list[Int64]:
    """The slopes of all directions; 0 of blocks that nobody ran."""
    found = np.zeros(self._method.num_directions, np.int64)
    for b, count in enumerate(sums[0].tolist()):
      if count:
        slopes = self._estimator(count).slopes(sums[1 + b])
        found[b :: self._blocks] = slopes
    return [one(SLOPES), found]

  def mean_loss(self, samples: int, sums: Sums) -> float | None:
    """Around the masters where the round began, over all that was run."""
    passes = sum(
      2 * count * len(own) for count, own in zip(sums[0].tolist(), sums[1:-1])
    )
    return self.at.loss.mean(int(sums[-1][0]), passes) if passes else None

  @property
  def _method(self) -> DirectionalMethod:
    return cast(DirectionalMethod, self.at.method)

  @property
  def _blocks(self) -> int:
    """Parts that the round's directions are divided into."""
    if self._method.turns != "direction":
      return 1
    operators = {t.operator for t in self.at.layout.tensors}
    return min(self._method.blocks, len(operators), self._method.num_directions)

  def _estimator(self, samples: int) -> CentralDifference:
    found = self._method.estimator(self.at.layout, samples)
    return cast(CentralDifference, found)


class SampleScheme(Scheme):
  """A direction for every sample, two passes a round; first a scan of gains."""

  def fields(self) -> tuple[Field, ...]:
    """Losses at each start of a scan; or directions summed by slopes."""
    most = most_loss(self.at.loss, self.at.classes)
    if (scan := self._scan) is not None:
      return (Field("losses", len(scan.starts), 0, most),)
    numbers = self.at.layout.num_kernels + self.at.layout.num_biases
    steepest = int(self._slopes(0, 1).per_step(one(most))[0])
    return (
      Field("gradient", numbers, -steepest, steepest),
      Field("loss", 1, 0, 2 * most),
    )

  def sums(self, part: Part) -> list[Int64]:
    """Runs a pass a start, or two."""
    state = self.at.state
    if (scan := self._scan) is not None:
      return [scan.scanned(part.passes, state)]
    slopes = self._slopes(part.first, part.samples)
    own = state if not self._scans else behind_first(state)
    summed, losses = slopes.summed(part.passes, own)
    return [summed, one(int(losses.sum()))]

  def step(self, samples: int, sums: Sums) -> list[Int64]:
    """The way to the best start, or the mean of the samples' gradients."""
    if (scan := self._scan) is not None:
      return [one(SLOPES), scan.chosen(sums[0], self.at.state).slopes]
    return [one(SLOPES), self._slopes(0, samples).mean(sums[0], samples)]

  def mean_loss(self, samples: int, sums: Sums) -> float | None:
    """Around the masters where the round began; the best start's of a scan."""
    loss = self.at.loss
    if self._scan is not None:
      return loss.mean(int(sums[0].min()), samples)
    return loss.mean(int(sums[-1][0]), 2 * samples)

  @property
  def _scans(self) -> bool:
    return isinstance(self.at.rule.estimator, ScanFirst)

  @property
  def _scan(self) -> ScanFirst | None:
    """The scan, in the round that runs it."""
    found = self.at.rule.estimator
    if isinstance(found, ScanFirst) and not self.at.state.step:
      return found
    return None

  def _slopes(self, first: int, samples: int) -> PerSampleSlopes:
    found = self.at.rule.estimator
    inner = found.inner if isinstance(found, ScanFirst) else found
    layout, method = self.at.layout, self.at.method
    return dataclasses.replace(
      cast(PerSampleSlopes, inner),
      directions=Directions(layout, method.seed, first=first),
      batch_size=samples,
      loss=self.at.loss,
    )
