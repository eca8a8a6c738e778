"""Frank-Wolfe: steps towards a corner of the box that weights can be in.

Our reading of the paper's list of related methods; measured not to help
(docs/results.md), and kept because the paper has it.
"""

from __future__ import annotations

import numpy as np

from tflm_fg.fixed_point.arithmetic import (
  MASTER_UNIT,
  WEIGHT_MAX,
  round_divide,
)
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import OptimizerState, Transform
from tflm_fg.optimizers.kinds import register
from tflm_fg.optimizers.rounding import FINE_BITS, Rounding
from tflm_fg.optimizers.schedules import RATE_BITS, Schedule
from tflm_fg.optimizers.transforms import by_sign
from tflm_fg.types import Int64, Params, TflmFgError

BOX = WEIGHT_MAX
"""Half the width of the box, in int8 or output steps."""


@register("frank-wolfe", most_rate=BOX, boxes_biases=True)
def frank_wolfe(
  layout: Layout,
  rate: Schedule,
  momentum: float = 0.0,
  rounding: Rounding | None = None,
) -> Transform:
  """Moves a share of the way to a corner of the box: w + eta (s - w).

  The corner s lies where the (momentum) gradient says that the loss falls:
  127 int8 steps from zero for kernels, which is all they can hold, and 127
  output steps from where training began for biases, whose int32 has no end of
  use. So no step leaves the box and nothing saturates. eta is the rate over
  127: a number in the middle of its box moves by the rate, as under `sign`.

  Args:
    layout: gives each tensor's step in units.
    rate: the learning rate's schedule, at most 127 int8 steps.
    momentum: as for `sign`.
    rounding: as for `sgd`.

  Raises:
    TflmFgError: if the momentum or the rate is out of range.
  """
  if abs(rate(0)) > BOX << RATE_BITS:
    raise TflmFgError(
      f"learning_rate_lsb={rate(0) / (1 << RATE_BITS):g}: frank-wolfe needs at "
      f"most {BOX}, the whole way to the corner"
    )
  kernels = layout.num_kernels
  half = BOX * np.concatenate(layout.step_units)
  still = half == 0  # channels that do not train
  half[:kernels] = BOX * MASTER_UNIT

  def unrounded(
    heading: Int64, state: OptimizerState, params: Params, step: int
  ) -> Int64:
    corner = heading * half * (1 if rate(step) > 0 else -1)
    corner[kernels:] += state.start.biases
    distance = (corner - np.concatenate(params, dtype=np.int64)) * abs(
      rate(step)
    )
    distance[(heading == 0) | still] = 0
    return round_divide(distance, BOX << (RATE_BITS - FINE_BITS))

  return by_sign(layout, unrounded, momentum, rounding, boxed=True)
