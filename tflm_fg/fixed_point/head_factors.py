"""Say what a head's sums over samples are times, before samples count.

These are constants of a file, made on the host. A device divides them by the
count of its samples and by their mean square (`spread.Factors.over`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import as_factors
from tflm_fg.fixed_point.spread import Factors
from tflm_fg.types import TrainableTensor

_BIAS_SHARE = 10
"""The bias counts as an input whose square is 1/10 of all inputs' squares."""


def kernel_constants(
  reach: float, input_scale: float, kernel: TrainableTensor
) -> Factors:
  """From sums [C, D] to int8 steps a unit of rate, before samples count."""
  share = _BIAS_SHARE / (1 + _BIAS_SHARE)
  reals = _over(2 * share * reach, input_scale * kernel.step_sizes)
  return Factors(*as_factors(reals))


def bias_constants(reach: float, bias: TrainableTensor) -> Factors:
  """From sums [C] to output steps a unit of rate, before samples count."""
  share = 1 / (1 + _BIAS_SHARE)
  return Factors(*as_factors(_over(2 * share * reach, bias.step_sizes)))


def _over(x: float, steps: NDArray[np.float64]) -> NDArray[np.float64]:
  """Gives x / steps; 0 where a channel has steps of 0, as it trains not."""
  return np.divide(x, steps, out=np.zeros_like(steps), where=steps > 0)
