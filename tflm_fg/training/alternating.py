"""Let numbers of layers and the head take turns, round by round."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.method import Method
from tflm_fg.types import TrainableTensor

ROUND = 100
"""Steps of the numbers of layers between two fits of the head."""

NEXT_SEED = 0x9E3779B97F4A7C15
"""What lies between the seeds of two rounds, modulo 2**64: an odd number."""


def alternating(
  inner: Method, tensors: Sequence[TrainableTensor], head: Method | None
) -> list[Method]:
  """Numbers of layers and the head, a round of each in turn.

  A head that is fitted exactly tells the layers before it what still is wrong;
  they change what it reads, so that it is fitted again. Rates fall from round
  to round as they would fall within one long phase.

  Args:
    inner: trains the layers' numbers.
    tensors: which these are.
    head: fits the head; None where that does not train.

  Returns:
    The methods of the phases, in order.
  """
  filled = inner.filled().for_layout(Layout(tuple(tensors)))
  rounds = -(-filled.steps // ROUND)
  if head is None or rounds == 1:
    return [inner] if head is None else [inner, head]
  ends = [head]
  left = filled.steps
  for number in range(rounds):
    steps = min(ROUND, left)
    left -= steps
    share = (rounds - number - 0.5) / rounds
    own = dataclasses.replace(
      filled,
      steps=steps,
      validate_every=steps,
      decay="constant",
      learning_rate_lsb=float(f"{filled.learning_rate_lsb * share:.3g}"),
      seed=(filled.seed + number * NEXT_SEED) % (1 << 64),
    )
    ends += [own, head]
  return ends
