"""Measure pooled activations on some clips, to widen a head with them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.base import Array
from tflm_fg.flatbuffer_mark import Surgery, mark
from tflm_fg.flatbuffer_tensors import tensor_spec
from tflm_fg.flatbuffer_wide import Pooled, widths_of
from tflm_fg.graph import Graph, Host
from tflm_fg.metrics import BATCH

MARGIN = 1.1
"""How far above the largest pooled value of some clips others may lie."""


def measured(
  model: bytes, x: Array, surgery: Surgery, host: Host
) -> tuple[Surgery, int]:
  """The surgery with what the layers' pooled activations are like.

  Args:
    model: a .tflite whose head has not been widened.
    x: clips [N, ...] on its input grid; labels are not needed.
    surgery: which layers.
    host: what runs the clips, twice.

  Returns:
    The surgery, and the passes that it took.
  """
  host = dataclasses.replace(host, workers=1)
  # Measured in the steps of int8, whatever weights will read them.
  bare = dataclasses.replace(surgery, pooled=(), weights="int8")
  count = len(widths_of(mark(model, "wide-head", surgery=bare).data))
  whole = _pooled(model, x, bare, [1.0] * count, host)
  reaches = [min(1.0, MARGIN * max(v.max(), 1) / 255) for v in whole]
  fine = _pooled(model, x, bare, reaches, host)
  pooled = tuple(
    Pooled(reach, np.rint(v.mean(axis=0)).astype(np.int64), v.std(axis=0))
    for reach, v in zip(reaches, fine)
  )
  passes = 2 * math.ceil(len(x) / BATCH)
  return dataclasses.replace(surgery, pooled=pooled), passes


def _pooled(
  model: bytes, x: Array, bare: Surgery, reaches: Sequence[float], host: Host
) -> list[NDArray[np.int64]]:
  """Each layer's pooled values [N, C], in steps from zero at its reach."""
  pooled = tuple(Pooled(reach=reach) for reach in reaches)
  marked = mark(
    model, "wide-head", surgery=dataclasses.replace(bare, pooled=pooled)
  )
  spec = tensor_spec(marked.data, marked.mark.head_input)
  (inputs,) = Graph(marked.data, marked.mark, host).features(x)
  flat = inputs.reshape(len(inputs), -1).astype(np.int64) - spec.zero_point
  widths = widths_of(marked.data)
  ends = np.cumsum([flat.shape[1] - sum(widths), *widths])
  return [flat[:, a:b] for a, b in itertools.pairwise(ends)]
