"""Train a row on streams: integers, an exact gradient, a box and a pull.

Masters are int16 in 1/256 of an int8 step, and saturate at +-127 steps, so that
training sees the box that the file has. A weight's step is divided by the
square of its input's spread, and the bias takes up what the weights do at the
mean input, as in the closed form (`gradients/closed_form.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tflm_fg.detection.model import Head
from tflm_fg.detection.over_time import Charge, Others, Words
from tflm_fg.detection.row import Row, in_bits, require_streams
from tflm_fg.detection.rule import Rule
from tflm_fg.detection.settings import Settings
from tflm_fg.fixed_point.arithmetic import (
  LIMITS,
  as_factors,
  narrow,
  round_shift,
)
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.masters import apply_updates
from tflm_fg.fixed_point.spread import (
  MEAN_SQUARE_BITS,
  Spread,
  scaled,
  spread_of,
)
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.optimizers.transforms import centred, sgd
from tflm_fg.types import (
  Int8,
  Int32,
  Int64,
  Params,
  TflmFgError,
  TrainableTensor,
  Vectors,
)

_BIAS_SHARE = 11
"""The bias counts as an input with 1/11 of all squares."""

_MOST_MEASURED = 1 << 13
"""So many steps of the negatives say how inputs spread."""

_PULL_BITS = 24


@dataclasses.dataclass(frozen=True, eq=False)
class Negatives:
  """All scored steps of streams that do not hold the word.

  Attributes:
    inputs: int8 [N, D].
    offsets: int64 [N], see `Row.offsets`.
  """

  inputs: Int8
  offsets: Int64

  @classmethod
  def of(cls, row: Row, streams: Sequence[Int8], rule: Rule) -> Negatives:
    """Joins streams, without what a device does not score."""
    scored = [s[rule.warm_up :] for s in streams]
    return cls(
      np.concatenate(scored),
      np.concatenate([row.offsets(s) for s in scored]),
    )

  def hardest(
    self, row: Row, weights: Int8, bias: int, rule: Rule, settings: Settings
  ) -> Others:
    """The steps with the highest odds, in order; of equal ones the first."""
    wanted = settings.hard_steps
    inputs, offsets = self.inputs, self.offsets
    if 0 < wanted < len(inputs):
      sums = row.accumulators(inputs, weights, bias)
      odds = row.log_odds(sums, offsets, 1)
      chosen = np.sort(np.argsort(-odds, kind="stable")[:wanted])
      inputs, offsets = inputs[chosen], offsets[chosen]
    return Others(
      row,
      inputs.astype(np.float64) - row.head.input_zero_point,
      offsets,
      len(self.inputs),
      in_bits(settings.margin),
      settings.negative_seconds / rule.step_seconds,
    )


def train_head(
  head: Head,
  positives: Sequence[Int8],
  negatives: Sequence[Int8],
  keepers: Sequence[Int8],
  rule: Rule,
  settings: Settings | None = None,
) -> tuple[Int8, Int32]:
  """Trains the row of the word; other rows stay as they are.

  Args:
    head: of the model.
    positives: what the head reads in streams that hold the word, int8 [T,
      features] each, from `StreamModel.head_inputs`.
    negatives: the same of streams that do not.
    keepers: the same of other voices that say the word, which the model should
      go on hearing; may be empty.
    rule: when the word counts as heard.
    settings: how it is trained; None for the defaults.

  Returns:
    weights int8 [outputs, features] and bias int32 [outputs].

  Raises:
    TflmFgError: if streams are missing, too short, or not of this head.
  """
  settings = settings or Settings()
  row = Row.of(head, rule.output)
  task = Task.of(row, positives, negatives, keepers, rule, settings)
  params = _trained(task)
  weights, bias = head.weights.copy(), head.bias.copy()
  weights[rule.output], bias[rule.output] = task.held(params)
  return weights, bias


def _trained(task: Task) -> Params:
  """Trains, with shorter steps where the loss has not fallen."""
  before = task.whole_loss(task.start)
  for _ in range(_TRIES):
    params = task.start
    for step in range(task.settings.steps):
      params = task.step(params, step)
    if task.whole_loss(params) < before:
      return params
    task = task.slower()
  return task.start


_TRIES = 4


class Task:
  """One training: what is charged, and the optimizer with its state."""

  def __init__(
    self,
    row: Row,
    words: list[Words],
    negatives: Negatives,
    spread: Spread,
    rule: Rule,
    settings: Settings,
  ) -> None:
    """See `of`."""
    self.row, self.words, self.negatives = row, words, negatives
    self.rule, self.settings, self.spread = rule, settings, spread
    self.layout = Layout(_tensors(row))
    rate = schedule(settings.learning_rate, "linear", settings.steps)
    self._optimizer = centred(
      sgd(self.layout, rate, settings.momentum), self.layout, spread.centre
    )
    self.start = self.layout.params(
      [row.weights[None], np.array([row.bias], np.int32)]
    )
    self._state = self._optimizer.init(self.start)
    self._others: Others | None = None
    mean_square = spread.mean_square / (1 << MEAN_SQUARE_BITS)
    share = (_BIAS_SHARE - 1) / _BIAS_SHARE
    self._kernel = as_factors(
      np.array([share / (256 * row.unit * mean_square)])
    )
    output_step = self.layout.step_units.biases[0] * row.unit
    self._bias = as_factors(np.array([1 / (256 * _BIAS_SHARE * output_step)]))
    pull = 2 * settings.pull * share / mean_square
    self._pull = round(pull * (1 << _PULL_BITS))

  @classmethod
  def of(
    cls,
    row: Row,
    positives: Sequence[Int8],
    negatives: Sequence[Int8],
    keepers: Sequence[Int8],
    rule: Rule,
    settings: Settings,
  ) -> Task:
    """Checks streams and adds up their windows; see `train_head`."""
    require_all(row, positives, negatives, keepers, rule, settings)
    joined = Negatives.of(row, negatives, rule)
    words = [Words.of(row, positives, rule, settings, 1.0)]
    if keepers and settings.keeper_weight:
      weight = settings.keeper_weight
      words.append(Words.of(row, keepers, rule, settings, weight))
    every = -(-len(joined.inputs) // _MOST_MEASURED)
    measured = joined.inputs[::every].astype(np.int32)
    spread = spread_of(measured - row.head.input_zero_point, centred=True)
    longest = max(group.longest(spread) for group in words)
    spread = spread._replace(mean_square=max(spread.mean_square, longest))
    return cls(row, words, joined, spread, rule, settings)

  def held(self, params: Params) -> tuple[Int8, int]:
    """What the file holds: int8 [D] and the bias."""
    return narrow(params.kernels), int(params.biases[0])

  def charge(self, params: Params, step: int) -> Charge:
    """What all streams cost; without the pull."""
    weights, bias = self.held(params)
    if self._others is None or step % self.settings.refresh == 0:
      self._others = self.negatives.hardest(
        self.row, weights, bias, self.rule, self.settings
      )
    total = self._others.charge(weights, bias)
    for words in self.words:
      total += words.charge(weights, bias)
    return total

  def whole_loss(self, params: Params) -> int:
    """What all streams cost at a state, with hard steps chosen for it."""
    self._others = None
    return self.charge(params, 0).loss

  def slower(self) -> Task:
    """The same task with steps of a quarter of the length, from the start."""
    rate = self.settings.learning_rate / 4
    settings = dataclasses.replace(self.settings, learning_rate=rate)
    return Task(
      self.row, self.words, self.negatives, self.spread, self.rule, settings
    )

  def slopes(self, params: Params, step: int) -> Vectors:
    """The gradient in the metric of the steps: Q16 int8 steps, output steps."""
    charge = self.charge(params, step)
    kernel = charge.kernel - self.spread.centre * charge.bias
    bits = self._kernel[1] + 2 * self.spread.bits
    slopes = scaled(kernel, np.resize(self._kernel[0], bits.shape), bits)
    away = params.kernels.astype(np.int64) - self.start.kernels
    slopes = slopes + round_shift(away * self._pull, _PULL_BITS - 8)
    bias = scaled(
      np.array([charge.bias]), self._bias[0], np.array([self._bias[1]])
    )
    return Vectors(_bounded(slopes), _bounded(bias))

  def step(self, params: Params, step: int) -> Params:
    """One step of training."""
    updates, self._state = self._optimizer.update(
      self.slopes(params, step), self._state, params, step
    )
    return apply_updates(params, updates)


def require_all(
  row: Row,
  positives: Sequence[Int8],
  negatives: Sequence[Int8],
  keepers: Sequence[Int8],
  rule: Rule,
  settings: Settings,
) -> None:
  """Refuses streams that cannot be trained on; see `train_head`.

  Raises:
    TflmFgError: naming what is missing, or the first stream that is wrong.
  """
  features = len(row.weights)
  least = settings.settled(rule) + 1
  for name, streams, steps in (
    ("positive", positives, least),
    ("negative", negatives, rule.warm_up + 1),
    ("keeper", keepers, least),
  ):
    require_streams(name, streams, features, steps)
  if not positives:
    raise TflmFgError(
      "no positives: give at least one recording of the wake word"
    )
  if not negatives:
    raise TflmFgError(
      "no negatives: without speech that is not the wake word a model learns "
      "to hear it everywhere; give some, or leave the stock in"
    )


def _bounded(slopes: Int64) -> Int64:
  low, high = LIMITS[np.dtype(np.int32)]
  return np.clip(slopes, low, high)


def _tensors(row: Row) -> tuple[TrainableTensor, TrainableTensor]:
  """The row and its bias as what `Layout` knows."""
  scale = row.unit / row.head.input_scale
  output_step = max(1, round(row.head.logit_scale / row.unit))
  kernel = TrainableTensor(
    name="row",
    subgraph=0,
    index=0,
    operator=0,
    op_name="FULLY_CONNECTED",
    role="kernel",
    shape=(1, len(row.weights)),
    dtype="int8",
    scales=(scale,),
    channel_axis=0,
    output_step=(256,),
  )
  bias = dataclasses.replace(
    kernel,
    name="bias",
    index=1,
    role="bias",
    shape=(1,),
    dtype="int32",
    scales=(row.unit,),
    output_step=(output_step,),
  )
  return kernel, bias
