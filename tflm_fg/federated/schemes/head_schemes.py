"""Learn a head together: the closed form in rounds, or all of it in one.

Both send sums over samples alone. In rounds they are residuals times inputs,
(p - y) x^T, and what the server makes of them is what training on all samples
in one place would have made, bit for bit. In one round they are the inputs'
products and each class's inputs, from which a ridge regression gives the head.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tflm_fg.federated.fields import Field, Sums
from tflm_fg.federated.privacy import clipped
from tflm_fg.federated.schemes import ridge_head
from tflm_fg.federated.schemes.ridge_head import Solution
from tflm_fg.federated.schemes.scheme import (
  MASTERS,
  MEASURED,
  SLOPES,
  Part,
  Scheme,
  Standing,
  most_loss,
  one,
)
from tflm_fg.fixed_point.layout import along_channels
from tflm_fg.fixed_point.spread import spread_of_sums
from tflm_fg.gradients.closed_form import ClosedForm, ClosedFormHead, HeadSums
from tflm_fg.types import Array, Int64, TflmFgError, TrainableTensor

_ONE = 1 << 16

Floats = NDArray[np.float64]


class HeadScheme(Scheme):
  """What both know of the head's input.

  Attributes:
    inputs: D, numbers that the head reads.
    classes: C.
    low: the least that an input can be, in steps from its zero point.
    high: the most.
  """

  def __init__(self, standing: Standing) -> None:
    super().__init__(standing)
    spec = standing.head_input
    ends = np.iinfo(spec.dtype)
    self.inputs, self.classes = standing.inputs, standing.classes
    self.low = ends.min - spec.zero_point
    self.high = ends.max - spec.zero_point
    self._zero_point = spec.zero_point

  def _steps(self, part: Part) -> Int64:
    """The head's inputs in steps from their zero point: int64 [N, D].

    Where noise is asked for no sample's are longer than `_length`.
    """
    flat = part.inputs.reshape(len(part.inputs), -1)
    x = np.asarray(flat, np.int64) - self._zero_point
    if self.at.privacy is not None:
      x = np.stack([clipped(row, self._length) for row in x])
    return x

  @property
  def _length(self) -> int:
    """What a sample's inputs are clipped to; 0 without noise."""
    if self.at.privacy is None:
      return 0
    reach = max(-self.low, self.high)
    share = self.at.privacy.clip / math.sqrt(2)
    return max(1, int(reach * math.sqrt(self.inputs * share)))

  def _squares(self) -> int:
    return max(self.low * self.low, self.high * self.high)

  def _counts(self, labels: Array) -> Int64:
    return np.bincount(labels, minlength=self.classes).astype(np.int64)


class ClosedFormScheme(HeadScheme):
  """A round of measuring, then a round a step of the closed form."""

  def fields(self) -> tuple[Field, ...]:
    """Sums and squares of inputs; then residuals times centred inputs."""
    if self.at.head is None:
      return (
        Field("inputs", self.inputs, self.low, self.high, self._length),
        Field("squares", self.inputs, 0, self._squares()),
        Field("classes", self.classes, 0, 1, 1),
      )
    centre = self.at.head.centre
    reach = max(self.high - int(centre.min()), int(centre.max()) - self.low)
    kernel, bias = self._clips(reach)
    most, size = _ONE * reach, self.inputs * self.classes
    found = [
      Field("kernel", size, -most, most, kernel)
      if t.role == "kernel"
      else Field("bias", self.classes, -_ONE, _ONE, bias)
      for t in self.at.layout.tensors
    ]
    most = most_loss(self.at.loss, self.classes)
    return (*found, Field("loss", 1, 0, most))

  def _clips(self, reach: int) -> tuple[int, int]:
    """What a sample's residual times input, and residual, are clipped to.

    A residual is no longer than the root of 2.
    """
    if self.at.privacy is None:
      return 0, 0
    share, one = self.at.privacy.clip, math.sqrt(2) * _ONE
    kernel = share * one * reach * math.sqrt(self.inputs)
    return max(1, int(kernel)), max(1, int(math.sqrt(share) * one))

  def sums(self, part: Part) -> list[Int64]:
    """Runs no pass to measure, and then one a step."""
    if self.at.head is None:
      x = self._steps(part)
      squares = (x * x).sum(axis=0)
      return [x.sum(axis=0), squares, self._counts(part.labels)]
    found = self._head.sums(part.passes, self.at.state)
    by_role = [found.by_role[t.role].reshape(-1) for t in self._tensors]
    return [*by_role, np.asarray(found.losses, np.int64).reshape(-1)]

  def fault(self, samples: int, sums: Sums) -> str:
    """Means and squares that do not go together; residuals that do not add up.

    The residuals of a sample add up to 0, but for what rounding down takes.
    """
    if self.at.head is None:
      inputs, squares, counts = sums
      if int(counts.sum()) != samples:
        return f"{int(counts.sum())} labels of {samples} samples"
      if (bad := _above(inputs, samples, squares)) >= 0:
        return (
          f"squares[{bad}] is {int(squares[bad])}, less than its sum allows"
        )
      return ""
    for tensor, field, own in zip(self._tensors, self.fields(), sums):
      most = samples * self.classes * field.high // _ONE
      rows = np.abs(own.reshape(self.classes, -1).sum(axis=0))
      if rows.max(initial=0) > most:
        return (
          f"{tensor.role}: its classes add up to {int(rows.max())}, and "
          f"{samples} samples give {most} at most"
        )
    return ""

  def step(self, samples: int, sums: Sums) -> list[Int64]:
    """What was measured, or the slopes of a step."""
    if self.at.head is None:
      inputs, squares, _ = sums
      centred = any(t.role == "bias" for t in self._tensors)
      found = spread_of_sums(samples, inputs, squares, centred)
      square = one(found.mean_square)
      return [one(MEASURED), found.centre, found.bits, square]
    by_role = {
      t.role: own.reshape(self.classes, -1) if t.role == "kernel" else own
      for t, own in zip(self._tensors, sums)
    }
    given = HeadSums(samples, by_role, sums[-1])
    estimate = self._head.estimate(given, self.at.state.params)
    return [one(SLOPES), estimate.slopes]

  def mean_loss(self, samples: int, sums: Sums) -> float | None:
    """At the masters where the round began; none while measuring."""
    if self.at.head is None:
      return None
    return self.at.loss.mean(int(sums[-1][0]), samples)

  @property
  def _tensors(self) -> tuple[TrainableTensor, ...]:
    return self.at.layout.tensors

  @property
  def _head(self) -> ClosedFormHead:
    method = self.at.method
    return ClosedFormHead(
      layout=self.at.layout,
      head=self.at.head,
      pull=method.pull if isinstance(method, ClosedForm) else 0.0,
      start=self.at.start,
    )


def _above(inputs: Int64, samples: int, squares: Int64) -> int:
  """The first input whose sum squared is above samples times its squares."""
  for at, (own, square) in enumerate(zip(inputs.tolist(), squares.tolist())):
    if own * own > samples * square:
      return at
  return -1


class OneRoundScheme(HeadScheme):
  """Products of inputs and sums of each class, once; a ridge regression."""

  def fields(self) -> tuple[Field, ...]:
    """Of each row of products what stands from its diagonal on."""
    d, square = self.inputs, self._squares()
    length = self._length
    return (
      Field("inputs", d, self.low, self.high, length),
      Field("products", d * (d + 1) // 2, -square, square, length * length),
      Field("classes", self.classes, 0, 1, 1),
      Field("by class", self.classes * d, self.low, self.high, length),
    )

  def sums(self, part: Part) -> list[Int64]:
    """Runs no pass of the head: its inputs are enough."""
    x = self._steps(part)
    found = ridge_head.sums_of(x, 0, part.labels, self.classes)
    upper = found.squares[np.triu_indices(self.inputs)]
    return [found.inputs, upper, found.classes, found.by_class.reshape(-1)]

  def fault(self, samples: int, sums: Sums) -> str:
    """Sums that are of no matrix of samples."""
    inputs, upper, counts, by_class = sums
    if int(counts.sum()) != samples:
      return f"{int(counts.sum())} labels of {samples} samples"
    rows = by_class.reshape(self.classes, -1)
    if (rows.sum(axis=0) != inputs).any():
      return "by class: the classes' inputs do not add up to all inputs"
    reach = max(-self.low, self.high)
    if (np.abs(rows) > counts[:, None] * reach).any():
      return "by class: more than the samples of a class can give"
    squares = self._matrix(upper)
    own = np.diag(squares)
    if (own < 0).any():
      return "products: a square is below 0"
    if (bad := _above(inputs, samples, own)) >= 0:
      return f"products: the square of input {bad} is less than its sum allows"
    # Whole numbers of up to 2**62: floats would not tell equal from above.
    roots = np.array([int(n) for n in own], object)
    if (squares.astype(object) ** 2 > np.outer(roots, roots)).any():
      return "products: two inputs go together more than their squares allow"
    return ""

  def step(self, samples: int, sums: Sums) -> list[Int64]:
    """The masters of a head that is pulled to the one it starts from."""
    inputs, upper, counts, by_class = sums
    rows = by_class.reshape(self.classes, -1)
    squares = self._matrix(upper)
    floor = 0.0
    if self.at.noise:
      squares = _possible(squares, inputs, samples)
      # As long as noise makes a symmetric matrix: no input counts for less.
      floor = 2 * self.at.noise[1] * math.sqrt(self.inputs) / samples
    given = ridge_head.Sums(samples, inputs, squares, counts, rows)
    tensors = {t.role: t for t in self.at.layout.tensors}
    if set(tensors) != {"kernel", "bias"}:
      raise TflmFgError(
        "scheme 'one-round' needs a head with a kernel and a bias; use "
        "'closed-form'"
      )
    kernel, bias = tensors["kernel"], tensors["bias"]
    scale = self.at.head_input.scale
    units = np.array(kernel.scales) / kernel.units_a_scale * scale
    steps = along_channels(kernel, units).reshape(self.classes, -1)
    start = self.at.state.params.kernels.reshape(steps.shape) * steps
    method = self.at.method
    pull = (method.pull if isinstance(method, ClosedForm) else 0) or PULL
    mean = inputs / samples
    for height in HEIGHTS:
      solution = ridge_head.solve(given, pull, start, height, floor)
      if self.at.noise:
        biases = self.at.state.params.biases * np.array(bias.scales)
        moved = biases + (start - solution.kernel) @ mean
        solution = self._steadied(solution, moved, samples)
      params, lost = ridge_head.quantized(solution, kernel, bias, scale, mean)
      if lost <= MOST_LOST:
        break
    return [one(MASTERS), *(a.astype(np.int64) for a in params)]

  def _steadied(
    self, solution: Solution, moved: Floats, samples: int
  ) -> Solution:
    """A solution whose biases are as sure as noise leaves the counts.

    Args:
      solution: of sums with noise.
      moved: float64 [C], the biases that leave all answers at the mean input as
        they were.
      samples: how many.
    """
    doubt = self.at.noise[2] * self.classes / samples
    share = 1 / (1 + doubt * doubt)
    bias = share * solution.bias + (1 - share) * moved
    return solution._replace(bias=bias)

  def _matrix(self, upper: Int64) -> Int64:
    found = np.zeros((self.inputs, self.inputs), np.int64)
    found[np.triu_indices(self.inputs)] = upper
    return found + np.triu(found, 1).T


def _possible(squares: Int64, inputs: Int64, samples: int) -> Int64:
  """The nearest products that samples can have, where noise made others.

  Args:
    squares: int64 [D, D], symmetric.
    inputs: int64 [D], their sums.
    samples: their count.
  """
  means = np.outer(inputs, inputs) / samples
  values, vectors = np.linalg.eigh(squares - means)
  inside = (vectors * np.maximum(values, 0)) @ vectors.T
  return np.rint(inside + means).astype(np.int64)


PULL = 0.03
"""Of a ridge regression where the plan's method has none."""

HEIGHTS = (12.0, 8.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.0)
"""How far a class's logit shall stand above the others; the first that fits.

Weights that saturate cost more accuracy than low logits do: on three voices of
the keyword spotter heads of 12 ended at 87.9 %, with half of their weights at
an end, and heads of 2 at 91.2 %.
"""

MOST_LOST = 0.05
"""The share of the weights that may saturate."""
