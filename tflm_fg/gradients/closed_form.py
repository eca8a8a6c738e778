"""Turn one forward pass into the exact gradient of the head.

For a last FULLY_CONNECTED (or 1x1 CONV_2D) under a loss of the logits the
gradient is r x^T: the logits give the residual r (p - y for cross-entropy, half
the error for squares), the layers before it give x, and nothing is perturbed.
An estimate's slopes lie along the coordinate axes, one a weight, so that
optimizer and journal take it like any other.

Pooled activations share a large mean and differ in spread, which makes plain
gradient descent slow. So x is centred (`optimizers.centred` lets the bias take
up what that moves), and each input's step is divided by the square of its
spread, a power of two.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.fixed_point.arithmetic import (
  LIMITS,
  clip_into,
)
from tflm_fg.fixed_point.head_factors import (
  bias_constants,
  kernel_constants,
)
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.native import native
from tflm_fg.fixed_point.one_thread import exact_product
from tflm_fg.fixed_point.pull import add_pull, pull_factors
from tflm_fg.fixed_point.spread import (
  MEAN_SQUARE_BITS,
  scaled,
)
from tflm_fg.fixed_point.state import Estimate, Passes, TrainState
from tflm_fg.gradients.head_input import HeadInput, carried_centre, head_of
from tflm_fg.gradients.method import Method, TrainedPart, register
from tflm_fg.tflite.tensors import tensor_spec, weights_of
from tflm_fg.types import (
  Array,
  Int64,
  NotApplicable,
  Params,
  TflmFgError,
  TrainableTensor,
  Vectors,
)


class HeadSums(NamedTuple):
  """What a step of the closed form must know of its samples, and no more.

  Sums of parts of a batch add up to those of the whole, number by number.

  Attributes:
    samples: their count.
    by_role: of the kernel int64 [C, D], residuals (Q16) times centred inputs,
      and of the bias int64 [C], residuals; of those that train.
    losses: int64 [1], in units of the loss.
  """

  samples: int
  by_role: dict[str, Int64]
  losses: Int64


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClosedFormHead:
  """The exact gradient, in steps of each weight's grid.

  It is scaled so that a learning rate of 1 is gradient descent's longest step
  that is safe for a loss that bends by 1/2 at most, 2 / mean |x|^2 with x as
  the head has it: then one rate suits every model, whatever its scales. Every
  residual is scaled to that (`losses.Loss.residual`), softmax's own as it is.

  Attributes:
    layout: the head's kernel, bias, or both.
    head: None where slopes are only replayed.
    pull: lambda of lambda (W - W0), a pull back to the start that is added to
      the gradient in the metric of the steps: each weight counts by the mean
      square of its input. 0 for none.
    start: W0, needed where there is a pull.
  """

  layout: Layout
  head: HeadInput | None
  pull: float = 0.0
  start: Params | None = None

  def __call__(self, passes: Passes, state: TrainState) -> Estimate:
    """Runs one pass.

    Args:
      passes: of the step's batch; its one input is the head's.
      state: where the gradient is taken.

    Raises:
      TflmFgError: if more than the head trains.
    """
    return self.estimate(self.sums(passes, state), state.params)

  def sums(self, passes: Passes, state: TrainState) -> HeadSums:
    """Runs one pass and sums up what it shows.

    Args:
      passes: of the samples; their one input is the head's.
      state: where the gradient is taken.

    Raises:
      TflmFgError: if more than the head trains.
    """
    head = self._known_head
    logits = passes.logits(self.layout.weights(state.params))
    total = self._sums(logits.shape)([logits], passes.labels)
    residual = head.magnified.residual(logits, passes.labels)
    by_role = {}
    for role in (t.role for t in self.layout.tensors):
      if role == "kernel":
        by_role[role] = self._products(residual, passes.inputs[0])
      elif role == "bias":
        by_role[role] = residual.sum(axis=0)
    return HeadSums(len(logits), by_role, total)

  def estimate(self, sums: HeadSums, params: Params) -> Estimate:
    """The gradient that sums over samples make, wherever they were summed up.

    Args:
      sums: of all samples of the step.
      params: where they were taken.

    Raises:
      TflmFgError: if more than the head trains.
    """
    head = self._known_head
    slopes = [
      scaled(sums.by_role[role], *scale).reshape(-1)
      for role, *scale in self._factors(sums.samples)
    ]
    found = np.concatenate(slopes)
    if self.pull and self.start is not None:
      factors = pull_factors(self.pull, head.mean_square)
      now = params
      add_pull(found, now, self.start, self._centre, self.layout, factors)
    clip_into(found, LIMITS[np.dtype(np.int32)], found)
    return Estimate(found, sums.losses)

  @property
  def _known_head(self) -> HeadInput:
    if self.head is None:
      raise TflmFgError(REFUSAL)
    return self.head

  @functools.cached_property
  def _centre(self) -> Int64:
    return np.array(carried_centre(self.head, self.layout), np.int64)

  @functools.cached_property
  def _kept(self) -> dict[Any, Any]:  # what steps on the same samples share
    return {}

  def _products(self, residual: Int64, inputs: Array) -> Int64:
    """Residuals times centred inputs, summed over the batch: int64 [C, D]."""
    x, c = self._centred(inputs), native()
    if c is not None and inputs.dtype == np.int8:
      of, columns = self._kept.get("columns", (None, None))
      if of is not x:
        columns = np.ascontiguousarray(x.T).astype(np.int16)
        self._kept["columns"] = x, columns
      work = np.empty((2, residual.size), np.int16)
      sums = np.empty((residual.shape[1], x.shape[1]), np.int64)
      if c.product(residual, columns, *work, sums, len(residual)):
        return sums
    return exact_product(residual.T, x)

  def _centred(self, inputs: Array) -> NDArray[np.float64]:
    """What flows into the head [N, D], centred; one array is kept."""
    of, centred = self._kept.get("inputs", (None, None))
    if self.head is not None and (centred is None or of is not inputs):
      x = inputs.reshape(len(inputs), -1)
      middle = self.head.input_zero_point + self.head.centre
      centred = np.subtract(x, middle, dtype=np.float64)
      self._kept["inputs"] = inputs, centred
    return centred

  def _sums(self, shape: tuple[int, ...]) -> Callable[..., Int64]:
    """What sums up the losses of logits of a shape, for the logs."""
    if shape not in self._kept and self.head is not None:
      self._kept[shape] = self.head.loss.ledger(1, *shape)
    return self._kept[shape]

  def _factors(self, samples: int) -> list[tuple[str, Int64, Int64]]:
    """Of sums over so many samples: role, factors, and bits to divide by."""
    if samples not in self._kept and self.head is not None:
      tensors = {t.role: t for t in self.layout.tensors}
      ways = {"kernel": _kernel_factors, "bias": _bias_factors}
      self._kept[samples] = [
        (role, *way(self.head, tensors[role], samples))
        for role, way in ways.items()
        if role in tensors
      ]
    return self._kept[samples]

  def gradient(self, estimate: Estimate, state: TrainState) -> Vectors:
    """The slopes, split into kernels and biases: int64 [K] and [B]."""
    del state
    kernels = self.layout.num_kernels
    return Vectors(estimate.slopes[:kernels], estimate.slopes[kernels:])


def _kernel_factors(
  head: HeadInput, kernel: TrainableTensor, samples: int
) -> tuple[Int64, Int64]:
  """What sums [C, D] over a batch are times, and bits to divide by: Q16."""
  constants = kernel_constants(head.reach, head.input_scale, kernel)
  divisor = head.mean_square * samples
  factors, bits = constants.over(divisor, MEAN_SQUARE_BITS)
  alike = np.zeros((kernel.shape[0], len(head.spread_bits)), np.int64)
  # One factor a class, or one for all where the kernel has one scale.
  return alike + factors[:, None], alike + bits + 2 * head.spread_bits


def _bias_factors(
  head: HeadInput, bias: TrainableTensor, samples: int
) -> tuple[Int64, Int64]:
  """The same of sums [C]."""
  factors, bits = bias_constants(head.reach, bias).over(samples)
  return np.resize(factors, bias.size), np.full(bias.size, bits)


REFUSAL = (
  "method 'closed-form' trains the last FULLY_CONNECTED or 1x1 CONV_2D alone; "
  "use --trainable=head or another --method"
)


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ClosedForm(Method):
  """The exact gradient of the last layer, from one pass a step.

  Attributes:
    pull: lambda of a pull back to the start, 0 to 10; see `fixed_point.pull`.
    logit_gain: the gradient takes logits times this, 1 to 64; 0 chooses it. A
      file whose logits can be but a few nats apart, as of a head that was never
      trained, could not fit its samples else: its weights would grow until they
      saturate. The file's outputs and their scale stay as they are.
  """

  pull: float = 0.0
  logit_gain: float = 0.0

  name: ClassVar[str] = "closed-form"
  is_exact: ClassVar[bool] = True
  runs_single_passes: ClassVar[bool] = True
  ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"logit_gain": (0, 64)}
  defaults: ClassVar[Mapping[str, Any]] = {
    "momentum": 0.8,
    "steps": 42,
    "batch_size": 4096,
    "validate_every": 42,
  }

  def defaults_for(self, quadratic: bool) -> dict[str, Any]:
    """The defaults under a loss; a square bears longer and more steps."""
    own = super().defaults_for(quadratic)
    if quadratic:
      own |= {"momentum": 0.9, "steps": 80, "validate_every": 80}
      if self.optimizer == "sgd":
        own["learning_rate_lsb"] = 2.0
    return own

  def slopes_a_step(self, layout: Layout, step: int) -> range:
    """One slope a number."""
    del step
    numbers = layout.num_kernels + layout.num_biases
    return range(numbers, numbers + 1)

  def estimator(
    self, layout: Layout, batch_size: int, part: TrainedPart | None = None
  ) -> ClosedFormHead:
    """The exact gradient on the samples of a part.

    Raises:
      NotApplicable: if more than the head trains, or another kind of head.
    """
    del batch_size
    if part is None:
      return ClosedFormHead(layout=layout, head=None)
    if not part.is_head:
      raise NotApplicable(REFUSAL)
    spec = tensor_spec(part.marked, part.mark.head_input)
    head = head_of(
      part.samples.inputs[0],
      spec.scale,
      spec.zero_point,
      part.loss,
      any(t.role == "bias" for t in part.mark.trainable),
      self.logit_gain or 1.0,
    )
    held = weights_of(part.marked, part.mark.trainable)
    return ClosedFormHead(
      layout=layout, head=head, pull=self.pull, start=layout.params(held)
    )
