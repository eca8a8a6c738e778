"""Turn one forward pass into the exact gradient of the head.

For a last FULLY_CONNECTED (or 1x1 CONV_2D) under softmax cross-entropy the
gradient is (p - y) x^T: the logits give p, the frozen layers before it give x,
and nothing is perturbed. An estimate's slopes lie along the coordinate axes,
one a weight, so that optimizer and journal take it like any other.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tflm_fg.base import (
  Estimate,
  Int64,
  Params,
  Passes,
  TflmFgError,
  TrainableTensor,
  Vectors,
)
from tflm_fg.losses import CrossEntropy
from tflm_fg.quant import Layout, round_shift, saturate

_FACTOR_BITS = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
  """What the closed form must know of the last layer and of its input.

  Attributes:
    input_scale: of the layer's input.
    input_zero_point: of the layer's input.
    mean_square: mean over clips of the input's squared length, in squared
      input steps: it sets the longest step that is safe.
    loss: cross-entropy on the logits.
  """

  input_scale: float
  input_zero_point: int
  mean_square: int
  loss: CrossEntropy


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClosedFormHead:
  """The exact gradient, in steps of each weight's grid.

  It is scaled so that a learning rate of 1 is gradient descent's longest step
  that is safe for softmax cross-entropy, 2 / mean |x|^2, in real units: then
  one rate suits every model, whatever its scales.

  Attributes:
    layout: the head's kernel, bias, or both.
    head: None where slopes are only replayed.
  """

  layout: Layout
  head: Head | None

  def __call__(self, passes: Passes, params: Params, step: int) -> Estimate:
    """Runs one pass.

    Args:
      passes: of the step's batch; its one input is the head's.
      params: where the gradient is taken.
      step: goes into the estimate.

    Raises:
      TflmFgError: if more than the head trains.
    """
    head = self.head
    if head is None:
      raise TflmFgError(REFUSAL)
    logits = passes.logits(self.layout.weights(params))
    total = head.loss(logits, passes.labels)
    residual = head.loss.residual(logits, passes.labels)
    x = passes.inputs[0].reshape(len(logits), -1).astype(np.int64)
    sums = {
      "kernel": residual.T @ (x - head.input_zero_point),
      "bias": residual.sum(axis=0),
    }
    slopes = [
      self._slopes(head, tensor, sums[tensor.role], len(x))
      for tensor in sorted(
        self.layout.tensors, key=lambda t: t.role != "kernel"
      )
    ]
    flat = saturate(np.concatenate(slopes), np.int32).astype(np.int64)
    return Estimate(step, flat, np.array([total]))

  def _slopes(
    self, head: Head, tensor: TrainableTensor, sums: Int64, clips: int
  ) -> Int64:
    """Sums of a batch as steps of the tensor's grid a unit of rate, Q16."""
    length = head.mean_square * head.input_scale**2 + 1
    reals = 2 / (length * clips * np.array(tensor.scales))
    if tensor.role == "kernel":
      reals = reals * head.input_scale
    else:
      reals = reals / np.array(tensor.output_step)
    bits = _FACTOR_BITS - math.ceil(math.log2(reals.max()))
    factors = np.rint(reals * 2.0**bits).astype(np.int64)
    # One factor a class, or one for all where the kernel has one scale.
    product = sums * factors.reshape([-1] + [1] * (sums.ndim - 1))
    shifted = product << -bits if bits <= 0 else round_shift(product, bits)
    return shifted.reshape(-1)

  def gradient(self, estimate: Estimate) -> Vectors:
    """The slopes, split into kernels and biases: int64 [K] and [B]."""
    kernels = self.layout.num_kernels
    return Vectors(estimate.slopes[:kernels], estimate.slopes[kernels:])


REFUSAL = (
  "method 'closed-form' trains the last FULLY_CONNECTED or 1x1 CONV_2D alone; "
  "use --trainable=head or another --method"
)
