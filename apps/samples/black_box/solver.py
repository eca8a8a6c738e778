"""An int8 network sets a solver's damping, and learns it from iteration counts.

  python apps/samples/black_box/solver.py [SEED ...]

The solver is SciPy's `linearmixing`, which steps along the residual by a fixed
`alpha`: too little and it creeps, a bit too much and it diverges. It solves a
rod that is heated and loses heat, -k u'' + c u^3 = q, on eight points. For
c = 0 the best alpha is known; a small network is trained on half of it, in
floats, and quantized. The device meets rods with c > 0, for which there is no
formula. There the network learns by forward passes alone: its loss is what the
solver says, the logarithm of how many iterations it took. Nothing
differentiates the solver.

Printed are mean iterations over test rods that were not trained on: with the
network before and after, with the single alpha that is best for the training
rods, and with the best of thirteen alphas for each test rod, found by trying.
"""

from __future__ import annotations

import argparse
import functools
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

import tflm_fg
from converters import quantize

POINTS = 8
SPACING = 1 / (POINTS + 1)
MOST = 200
"""Iterations of a solve that failed, or diverged."""

TRAIN, TEST = 64, 60
ALPHAS = np.arange(-12.5, -6.0, 0.5)
"""log2 of what is tried without a network."""

Rod = tuple[float, ...]
"""Conductivity k, loss c, heat q."""


def rods(
  count: int, random: np.random.Generator, lossy: bool = True
) -> NDArray[np.float64]:
  """Draws rods, [N, 3]: k, c and q, each evenly on a logarithmic scale.

  Args:
    count: how many.
    random: where from.
    lossy: as the device meets them; else with k from a wider range.
  """
  low, high = (0.5, 2.0) if lossy else (0.25, 8.0)
  ends = np.log([[low, 1, 10], [high, 100, 300]])
  return np.exp(random.uniform(*ends, (count, 3)))


def features(some: NDArray[np.float64]) -> NDArray[np.float32]:
  """What the network is told of each rod, [N, 3], about -2 to 2."""
  return (np.log(some) - np.log([1, 10, 50])).astype(np.float32)


def formula(some: NDArray[np.float64]) -> NDArray[np.float32]:
  """log2 of half the best alpha for c = 0, [N, 1]: half of it, to be safe.

  The best is 2 over the sum of the two ends of the spectrum of -k u'', and that
  sum is 4 k over the square of the spacing.
  """
  return np.log2(SPACING**2 / (4 * some[:, :1])).astype(np.float32)


@functools.cache
def iterations(rod: Rod, log2_alpha: float) -> int:
  """Runs the solver, and counts.

  Outputs have 8 bits, so that questions come again, and answers are kept.
  """
  k, c, q = rod
  matrix = k / SPACING**2 * (2 * np.eye(POINTS) - np.eye(POINTS, k=1))
  matrix -= k / SPACING**2 * np.eye(POINTS, k=-1)
  taken = 0

  def count(x: object, residual: object) -> None:
    nonlocal taken
    taken += 1

  try:
    with np.errstate(all="ignore"):
      optimize.linearmixing(
        lambda u: q - matrix @ u - c * u**3,
        np.zeros(POINTS),
        alpha=2.0**log2_alpha,
        maxiter=MOST - 1,
        f_tol=1e-5 * q,
        line_search=None,
        callback=count,
      )
  except (optimize.NoConvergence, OverflowError, ValueError):
    return MOST
  return taken


def counts(outputs: NDArray[Any], some: NDArray[Any]) -> NDArray[np.float64]:
  """Iterations of each rod with its own alpha, [N]: what the device can see.

  Args:
    outputs: of the network, log2 of alpha, [N, 1].
    some: the rods, [N, 3], given to `adapt` in the place of targets.
  """
  pairs = zip(some.tolist(), outputs[:, 0].tolist(), strict=True)
  return np.array([iterations(tuple(rod), a) for rod, a in pairs], float)


def log_counts(
  outputs: NDArray[Any], some: NDArray[Any]
) -> NDArray[np.float64]:
  """The loss: halving any count is worth the same."""
  return np.log2(counts(outputs, some))


def trained_on_formula(seed: int) -> bytes:
  """A network of 3, 24 and 1, in floats, then int8."""
  tf = quantize.tensorflow()
  tf.keras.utils.set_random_seed(seed)
  random = np.random.default_rng([seed, 0])
  known = rods(2000, random, lossy=False)
  x, y = features(known), formula(known)
  layers = tf.keras.layers
  model = tf.keras.Sequential(
    [tf.keras.Input((3,)), layers.Dense(24, "relu"), layers.Dense(1)]
  )
  model.compile(tf.keras.optimizers.Adam(0.01), "mse")
  model.fit(x, y, batch_size=100, epochs=20, verbose=0)
  return quantize.to_integer(model, x[:200])


def tried(some: NDArray[np.float64]) -> NDArray[np.float64]:
  """Iterations of every rod with each of `ALPHAS`, [rods, alphas]."""
  columns = [counts(np.full((len(some), 1), a), some) for a in ALPHAS]
  return np.stack(columns, axis=1)


def run(seed: int, **others: Any) -> list[float]:
  """Mean iterations on test rods: before, after, best single alpha, best.

  Args:
    seed: of rods, network and training.
    others: arguments of `tflm_fg.adapt`; by default its default method.
  """
  others = others or {"method": tflm_fg.methods.Auto(seed=seed)}
  random = np.random.default_rng([seed, 1])
  train, test = rods(TRAIN, random), rods(TEST, random)
  model = trained_on_formula(seed)
  result = tflm_fg.adapt(
    model,
    features(train),
    train,
    loss=log_counts,
    **others,
  )
  before, after = (
    tflm_fg.evaluate(m, features(test), test, loss=counts)["loss"]
    for m in (model, result.model)
  )
  best = tried(train).mean(axis=0).argmin()
  trials = tried(test)
  return [before, after, trials[:, best].mean(), trials.min(axis=1).mean()]


def main() -> int:
  """Prints mean iterations, a line a seed."""
  parser = argparse.ArgumentParser(description="Mean iterations of a solver.")
  parser.add_argument("seeds", nargs="*", type=int, default=[5])
  seeds = parser.parse_args().seeds
  print("seed, before, after, best single alpha, best alpha of each rod")
  for seed in seeds:
    print(seed, *(f"{value:.1f}" for value in run(seed)), sep=", ", flush=True)
  return 0


if __name__ == "__main__":
  sys.exit(main())
