"""Measure how well estimates point along the true gradient.

The model is the integer head of an episode's network, run in the engine; the
true gradient is its softmax regression's, (p - y) x^T, in float64 from the
dequantized weights and inputs. Cosines are taken in steps of each number's
grid, where the directions are random.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from apps.compare import cell_settings
from apps.compare.data.registry import UserData, load
from apps.compare.methods import scoring
from apps.compare.methods.head_descent import features_of, head_start
from apps.compare.results.intervals import interval
from apps.compare.results.markdown import table
from tflm_fg.fixed_point import Layout, along_channels, saturate
from tflm_fg.marking import mark_trainable
from tflm_fg.methods import Method
from tflm_fg.placement import SplitModel, masters_of
from tflm_fg.samples import Dataset
from tflm_fg.tflite import MarkedModel, tensor_spec
from tflm_fg.training import BatchPasses, step_rule
from tflm_fg.types import Vectors

Floats = NDArray[np.float64]

Theory = Callable[[int, int], float]
"""Expected cosine from m directions and d numbers."""


def of_slopes(m: int, d: int) -> float:
  """The mean of slopes times directions, isotropic ones."""
  return math.sqrt(m / (d + m))


def of_signs(m: int, d: int) -> float:
  """The mean of signs times directions, m much less than d."""
  return math.sqrt(2 * m / (math.pi * d))


def of_one_direction(m: int, d: int) -> float:
  """Signs are all that one direction has: the mean |cos| of one."""
  return of_signs(m, d) if m == 1 else of_slopes(m, d)


def of_projection(m: int, d: int) -> float:
  """The projection on the span of m directions."""
  return math.sqrt(min(m, d) / d) if m > 1 else of_signs(1, d)


THEORY: dict[str, Theory] = {
  "sign-m-spsa": of_signs,
  "spsa": of_one_direction,
  "one-sided": of_one_direction,
  "multi-tangent": of_projection,
  "sharpness-aware": of_signs,
}

GUIDANCE = 0.9
"""Of guided directions: any two share its square, 0.81, of their length."""

GUIDED = ("sign-m-spsa", "spsa", "multi-tangent")
"""What is also measured along such: the mean, of signs and of slopes, counts
what all share once for each; the projection counts it once."""


def of_guided_slopes(m: int, d: int) -> float:
  """The mean of slopes along guided directions, the guide random.

  With b the guidance, c^2 = 1 - b^2 and u the guide's own slope in units of
  |g| / sqrt(d), a standard normal number: slopes are b u + c x, x independent.
  Their mean square is S = b^2 u^2 + c^2, that of their mean is
  A = b^2 u^2 + c^2 / m, and the cosine S / sqrt(d (b^2 A + c^2 S / m)).
  """
  if m == 1:
    return of_one_direction(m, d)
  u, shares = np.polynomial.hermite_e.hermegauss(32)
  ahead, fresh = GUIDANCE**2, 1 - GUIDANCE**2
  square = ahead * u**2 + fresh
  mean = ahead * u**2 + fresh / m
  found = square / np.sqrt(d * (ahead * mean + fresh * square / m))
  return float(shares @ found / shares.sum())


GUIDED_THEORY: dict[str, Theory] = {
  "spsa": of_guided_slopes,
  "multi-tangent": of_projection,
}

STEPS = 40
"""Estimates of each kind, at addresses of their own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosines:
  """A table to make.

  Attributes:
    domain: an episode; its network's head is the model.
    counts: directions an estimate.
    epsilon_lsb: perturbation.
    steps: estimates of each kind.
  """

  domain: str
  counts: tuple[int, ...] = (1, 4, 16, 64)
  epsilon_lsb: float = 4.0
  steps: int = STEPS

  title = "cosines with the true gradient"
  files = ("cosines.csv",)


@dataclasses.dataclass(frozen=True)
class CosineRow:
  """A row of the table: a kind of estimate with its cosines.

  Attributes:
    method: the estimator.
    directions: their kind; "guided" where they are far from orthogonal.
    m: their number.
    d: numbers that train.
    cosine: mean over the estimates.
    half: half of its 95 % interval.
    theory: what is expected; nan where no formula is known.
  """

  method: str
  directions: str
  m: int
  d: int
  cosine: float
  half: float
  theory: float


def run(cosines: Cosines, user_data: UserData) -> dict[str, bytes]:
  """Measures all, and returns the CSV."""
  task = load(cosines.domain, 0, user_data)
  marked = mark_trainable(task.model, "head")
  graph = SplitModel(marked.data, marked.mark, scoring.RUNTIME_OPTIONS)
  x, y = task.train
  true = true_gradient(graph, marked, x, np.asarray(y))
  loss = graph.loss()
  passes = BatchPasses(
    graph.suffix, loss, graph.samples(Dataset(x, y), "train")
  )
  rows = [
    measured(marked, passes, own_settings, true, cosines.steps)
    for own_settings in kinds(cosines, len(y))
  ]
  names = [f.name for f in dataclasses.fields(CosineRow)]
  body = [",".join(names)]
  body += [",".join(str(v) for v in dataclasses.astuple(n)) for n in rows]
  return {cosines.files[0]: ("\n".join(body) + "\n").encode()}


def kinds(cosines: Cosines, batch: int) -> list[Method]:
  """The methods of every estimator with every kind and number of directions."""
  variants = [
    (method, {"directions": kind})
    for method in THEORY
    for kind in ("rademacher", "normal")
  ]
  guided = {"guidance": GUIDANCE, "momentum": 0.9}
  variants += [(method, guided) for method in GUIDED]
  return [
    cell_settings.of_estimator(method, m, cosines.epsilon_lsb, batch, **fields)
    for method, fields in variants
    for m in cosines.counts
  ]


def measured(
  marked: MarkedModel,
  passes: BatchPasses,
  settings: Method,
  true: Floats,
  steps: int,
) -> CosineRow:
  """One kind of estimate, several times from the same weights."""
  layout = Layout(marked.mark.trainable)
  rule = step_rule(settings, layout, len(passes.labels))
  start = rule.start(layout.gather(masters_of(marked.data, marked.mark)))
  found = []
  for step in range(steps):
    state = dataclasses.replace(start, step=step)
    if settings.guidance:
      state = dataclasses.replace(
        state,
        optimizer=start.optimizer._replace(velocity=_guide(layout, step)),
      )
    estimate = rule.estimator(passes, state)
    parts = rule.estimator.gradient(estimate, state)
    estimated = np.concatenate(parts).astype(np.float64)
    found.append(cosine(estimated, true))
  own, d, m = interval(found), len(true), settings.num_directions
  known = GUIDED_THEORY if settings.guidance else THEORY
  theory = known.get(settings.name)
  return CosineRow(
    settings.name,
    "guided" if settings.guidance else settings.directions,
    m,
    d,
    own.mean,
    own.half,
    theory(m, d) if theory else math.nan,
  )


def _guide(layout: Layout, step: int) -> Vectors:
  """A velocity that knows nothing: as likely along any direction."""
  units = np.concatenate(layout.step_units)
  steps = np.random.default_rng([step, 7]).normal(0, 4, len(units))
  kernels, biases = np.split(steps * units, [layout.num_kernels])
  return Vectors(
    saturate(np.rint(kernels), "int16"), saturate(np.rint(biases), "int32")
  )


def cosine(a: Floats, b: Floats) -> float:
  """0 where one of them is zero."""
  size = float(np.linalg.norm(a) * np.linalg.norm(b))
  return float(a @ b) / size if size else 0.0


def true_gradient(
  graph: SplitModel, marked: MarkedModel, x: NDArray, y: NDArray
) -> Floats:
  """Of the mean loss, per step of each number's grid; kernels first."""
  spec = tensor_spec(marked.data, marked.mark.head_input)
  features = features_of(graph, (x, y), spec)  # a column of ones behind them
  logits = features @ head_start(marked)
  p = np.exp(logits - logits.max(axis=1, keepdims=True))
  p /= p.sum(axis=1, keepdims=True)
  residual = p - np.eye(logits.shape[1])[y]
  real = features.T @ residual / len(y)
  parts = {"kernel": real[:-1].T, "bias": real[-1]}
  layout = Layout(marked.mark.trainable)
  return np.concatenate(
    [
      parts[tensor.role].reshape(-1) * along_channels(tensor, tensor.step_sizes)
      for held in (True, False)
      for tensor, _ in layout.places
      if tensor.has_master == held
    ]
  )


def markdown(content: bytes) -> str:
  """The CSV as a table, measured over theory."""
  _, *rows = (line.split(",") for line in content.decode().split())
  body: list[Sequence[str]] = []
  for method, kind, m, d, found, half, theory in rows:
    known = not math.isnan(float(theory))
    body.append(
      [
        method,
        kind,
        m,
        d,
        f"{float(found):.3f} ± {float(half):.3f}",
        f"{float(theory):.3f}" if known else "-",
        f"{float(found) / float(theory):.2f}" if known else "-",
      ]
    )
  header = ["method", "directions", "m", "d", "cosine", "theory", "ratio"]
  note = (
    f"Guided directions are {GUIDANCE:g} a velocity of random direction, so "
    f"that any two of an estimate have a cosine of {GUIDANCE**2:.2g}."
  )
  return f"{table(header, body)}\n\n{note}"
