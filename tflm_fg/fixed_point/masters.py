"""Add updates to the trained state: the one line where a weight changes."""

from __future__ import annotations

import numpy as np

from tflm_fg.fixed_point.arithmetic import _MASTER_MAX, LIMITS, clip_into
from tflm_fg.fixed_point.native import native
from tflm_fg.types import Params, Vectors


def apply_updates(params: Params, updates: Vectors) -> Params:
  """Adds updates to the trained state: the one line where a weight changes.

  Args:
    params: the state.
    updates: integers in master units and bias units.

  Returns:
    The new state; kernels saturate at +-127 steps, biases at their dtype.
  """
  new = Params(*(np.empty(p.shape, p.dtype) for p in params))
  if (c := native()) is not None and new.biases.dtype == np.int32:
    c.apply(*params, *updates, *new)
    return new
  limits = ((-_MASTER_MAX, _MASTER_MAX), LIMITS[new.biases.dtype])
  for old, update, limit, out in zip(params, updates, limits, new):
    clip_into(np.add(old, update, dtype=np.int64), limit, out)
  return new
