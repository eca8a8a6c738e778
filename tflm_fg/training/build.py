"""Build what turns the passes of a batch into steps, from a method."""

from __future__ import annotations

import numpy as np

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Transform
from tflm_fg.gradients.closed_form import ClosedFormHead
from tflm_fg.gradients.head_input import carried_centre
from tflm_fg.gradients.method import Method, TrainedPart
from tflm_fg.optimizers.kinds import OPTIMIZERS
from tflm_fg.optimizers.rounding import Rounding
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.optimizers.transforms import anchored, centred
from tflm_fg.training.trainer import StepRule


def step_rule(
  method: Method,
  layout: Layout,
  batch_size: int,
  part: TrainedPart | None = None,
  centre: tuple[int, ...] = (),
) -> StepRule:
  """Estimator and optimizer of a method whose settings are all chosen.

  Args:
    method: see above.
    layout: the tensors of the phase.
    batch_size: samples that a pass really takes.
    part: what is trained; None for replaying.
    centre: for replaying, the head's mean input as it was recorded.

  Raises:
    TflmFgError: if the method does not fit what is trained.
  """
  estimator = method.estimator(layout, batch_size, part)
  if isinstance(estimator, ClosedFormHead) and part is not None:
    centre = carried_centre(estimator.head, layout)
  optimizer = _optimizer(method, layout, biases=not centre)
  if method.is_exact:
    optimizer = centred(optimizer, layout, np.array(centre, np.int64))
  return StepRule(estimator, method.around(optimizer, layout), centre)


def _optimizer(method: Method, layout: Layout, biases: bool) -> Transform:
  rate = schedule(method.learning_rate_lsb, method.decay, method.steps)
  rounding = Rounding(
    layout=layout,
    kind=method.rounding,
    precision=method.precision,
    seed=method.seed,
  )
  make = OPTIMIZERS[method.optimizer].make
  optimizer = make(layout, rate, method.momentum, rounding)
  if method.anchor:
    optimizer = anchored(optimizer, method.anchor, biases, rounding)
  return optimizer
