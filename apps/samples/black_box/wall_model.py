"""An int8 wall model learns a rough wall from a second probe.

  python apps/samples/black_box/wall_model.py

A wall model tells the friction velocity u_tau from the velocity u at one
height y above a wall; with it a flow solver knows the wall's drag. A small
network is trained in floats on Reichardt's law for smooth walls and quantized:
from log(u y / nu) to log(u / u_tau). The device's wall is rough, which lowers
u+ by log(1 + 0.3 ks+) / kappa (Colebrook), with a roughness that nobody knows,
and its velocities have noise of one percent.

In the first case u_tau itself was measured for the training samples, and the
loss is the squared error. In the second it was not. There is a second probe at
four times the height instead, and the loss runs the law between the two: from
the u_tau that the network says follows how much faster the flow is at the
second probe, and the loss is how far that is from what was measured.
Roughness shifts both probes alike, so that the difference does not know it.

Printed are mean errors of u_tau in percent on test samples of the rough wall:
of the network before, after each of the two, of Reichardt's law solved for
u_tau, and of the law between the probes solved for u_tau sample by sample.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tflm_fg
from converters import quantize

KAPPA = 0.41
NU, LOW, HIGH = 1e-5, 0.01, 0.04
"""Viscosity in m^2/s, and the heights of the two probes in m."""

ROUGHNESS = 5e-4
"""Of the wall that the device meets, in m; neither it nor the network knows."""

NOISE = 0.01
TRAIN, TEST = 100, 500
SEEDS = (0, 1, 2)

Floats = NDArray[np.float64]


def reichardt(y_plus: Floats) -> Floats:
  """u+ of a smooth wall (Reichardt 1951), from the wall to the log layer."""
  bent = 1 - np.exp(-y_plus / 11) - y_plus / 11 * np.exp(-y_plus / 3)
  return np.log(1 + KAPPA * y_plus) / KAPPA + 7.8 * bent


def velocity(u_tau: Floats, y: float, roughness: float) -> Floats:
  """Mean velocity at a height over a wall of that roughness, in m/s."""
  lowered = np.log(1 + 0.3 * roughness * u_tau / NU) / KAPPA
  return u_tau * (reichardt(y * u_tau / NU) - lowered)


def friction(count: int, random: np.random.Generator) -> Floats:
  """Draws u_tau, evenly on a logarithmic scale: y+ of 100 to 3,000."""
  return np.exp(random.uniform(np.log(0.1), np.log(3), count))


def feature(u: Floats) -> NDArray[np.float32]:
  """What the network is told, [N, 1], from about -2 to 2."""
  return (np.log(u * LOW / NU)[:, None] - 9).astype(np.float32)


def trained_on_smooth_walls(seed: int) -> bytes:
  """A network of 1, 16, 16 and 1, in floats, then int8."""
  tf = quantize.tensorflow()
  tf.keras.utils.set_random_seed(seed)
  random = np.random.default_rng([seed, 0])
  u_tau = friction(3000, random)
  u = velocity(u_tau, LOW, 0.0)
  layers = tf.keras.layers
  model = tf.keras.Sequential(
    [
      tf.keras.Input((1,)),
      layers.Dense(16, "relu"),
      layers.Dense(16, "relu"),
      layers.Dense(1),
    ]
  )
  model.compile(tf.keras.optimizers.Adam(0.01), "mse")
  x, y = feature(u), np.log(u / u_tau)[:, None]
  model.fit(x, y, batch_size=100, epochs=20, verbose=0)
  wide = np.linspace(x.min() - 1, x.max() + 1, 200)[:, None]
  return quantize.to_integer(model, wide.astype(np.float32))


def u_tau_of(outputs: NDArray[Any], u: Floats) -> Floats:
  """The friction velocity that the network says, [N]."""
  return u / np.exp(outputs[:, 0])


def second_probe(outputs: NDArray[Any], probes: NDArray[Any]) -> Floats:
  """The loss of each sample, in percent of the velocity: no u_tau is known.

  Args:
    outputs: of the network, log(u / u_tau), [N, 1].
    probes: velocities at both heights, [N, 2], given to `adapt` as targets.
  """
  low, high = probes.T
  u_tau = u_tau_of(outputs, low)
  faster = velocity(u_tau, HIGH, 0.0) - velocity(u_tau, LOW, 0.0)
  return (100 * (faster - (high - low)) / low) ** 2


def percent_off(outputs: NDArray[Any], truth: NDArray[Any]) -> Floats:
  """How far u_tau is off, percent, [N]; truth is u and u_tau, [N, 2]."""
  u, u_tau = truth.T
  return 100 * np.abs(u_tau_of(outputs, u) / u_tau - 1)


def solved(value: Floats, heights: tuple[float, ...], rough: float) -> Floats:
  """u_tau at which the law gives a velocity, or a difference of two."""
  grid = np.geomspace(1e-2, 30, 4000)
  given = velocity(grid, heights[0], rough)
  if len(heights) == 2:
    given = velocity(grid, heights[1], rough) - given
  return np.interp(value, given, grid)


def off(u_tau: Floats, truth: Floats) -> float:
  """Mean error in percent."""
  return float(100 * np.abs(u_tau / truth - 1).mean())


def rough_samples(
  count: int, random: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
  """Velocities at both probes, with noise, and u_tau, [N] each."""
  u_tau = friction(count, random)
  low, high = (
    velocity(u_tau, y, ROUGHNESS) * (1 + NOISE * random.standard_normal(count))
    for y in (LOW, HIGH)
  )
  return low, high, u_tau


def run(seed: int) -> list[float]:
  """Errors in percent, in the order that `main` prints."""
  random = np.random.default_rng([seed, 1])
  low, high, u_tau = rough_samples(TRAIN, random)
  low_test, high_test, truth = rough_samples(TEST, random)
  model = trained_on_smooth_walls(seed)
  labelled = tflm_fg.adapt(
    model,
    feature(low),
    np.log(low / u_tau)[:, None],
    loss="mse",
    trainable="head",
    method=tflm_fg.methods.Auto(seed=seed),
  )
  probed = tflm_fg.adapt(
    model,
    feature(low),
    np.stack([low, high], axis=1),
    loss=second_probe,
    trainable="head",
    method=tflm_fg.methods.SPSA(num_directions=4, steps=300, seed=seed),
  )
  known = np.stack([low_test, truth], axis=1)
  errors = [
    tflm_fg.evaluate(m, feature(low_test), known, loss=percent_off)["loss"]
    for m in (model, labelled.model, probed.model)
  ]
  faster = high_test - low_test
  return [
    *errors,
    off(solved(low_test, (LOW,), 0.0), truth),
    off(solved(faster, (LOW, HIGH), 0.0), truth),
    off(solved(low_test, (LOW,), ROUGHNESS), truth),
  ]


def main() -> int:
  """Prints errors of u_tau in percent, a line a seed."""
  print(
    "seed, before, squared error, second probe, law of smooth walls, "
    "law between the probes, law with the roughness known"
  )
  for seed in SEEDS:
    print(seed, *(f"{value:.1f}" for value in run(seed)), sep=", ", flush=True)
  return 0


if __name__ == "__main__":
  sys.exit(main())
