"""Choose what the closed form leaves open: its rate, and what logits count."""

from __future__ import annotations

import dataclasses
import math

from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.losses.base import Loss

RATE_AN_INPUT, EXACT_RATES = 2.25, (12.0, 36.0)
"""Of the closed form: for the root of its inputs, and its bounds."""

MANY = 576
"""Inputs above which the rate falls again: they fit any samples in few steps,
and others the worse the further they are brought."""

NARROW, MOST_GAIN = 15.0, 64.0
"""Nats that a head's logits must reach apart, and the largest logit gain."""

MANY_INPUTS = 256
"""A head of fewer inputs cannot fit its samples to the last nat anyway, and its
outputs would be less sure for nothing."""


def exact(
  method: ClosedForm, layout: Layout, loss: Loss
) -> tuple[ClosedForm, dict[str, str]]:
  """Fills in what the closed form leaves open.

  Args:
    method: of the head's phase.
    layout: of the head's tensors.
    loss: what it lowers.

  Returns:
    The method, and why each setting is what it is.
  """
  chosen: dict[str, float] = {}
  reasons = {}
  if method.learning_rate_lsb is None:
    rate, reasons["learning_rate_lsb"] = exact_rate(layout)
    chosen["learning_rate_lsb"] = rate
  reach = loss.reach_of_outputs
  many = _inputs(layout) >= MANY_INPUTS
  if many and not method.logit_gain and reach < NARROW:
    gain = min(2.0 ** math.ceil(math.log2(NARROW / reach)), MOST_GAIN)
    chosen["logit_gain"] = gain
    reasons["logit_gain"] = (
      f"{gain:g}: the logits can be {reach:.3g} nats apart, under {NARROW:g}"
    )
  return dataclasses.replace(method, **chosen), reasons  # type: ignore[arg-type]


def exact_rate(layout: Layout) -> tuple[float, str]:
  """A rate for the closed form, in safe steps of gradient descent.

  The same steps bring a head of many inputs less far towards the samples. One
  that is brought too far answers unseen samples worse (docs/measurements.md).
  """
  inputs = _inputs(layout)
  least, most = EXACT_RATES
  rate = min(RATE_AN_INPUT * math.sqrt(inputs), most, most * MANY / inputs)
  rate = max(rate, least)
  return float(
    f"{rate:.3g}"
  ), f"{rate:.3g}: safe steps of descent for {inputs} inputs"


def _inputs(layout: Layout) -> int:
  return max((t.shape[-1] for t in layout.tensors if t.has_master), default=1)
