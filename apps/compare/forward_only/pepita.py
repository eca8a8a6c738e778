"""PEPITA: the error of a first pass changes the input of a second.

Dellaferrera and Kreiman, "Error-driven input modulation: solving the credit
assignment problem without a backward pass", ICML 2022. With e the softmax minus
the one-hot class, the second pass has the input x + e F, F fixed and random.
A hidden layer's kernel moves along input' (h - h'), the last one along h' e,
where a dash marks the second pass; the first layer's input is the modulated
one. No layer needs the weights of another, and nothing runs backwards.

Our reading of what the text leaves to its code: layers have no biases; F is
uniform within 0.05 sqrt(6 / inputs); the same units are dropped (one of ten) in
both passes; momentum 0.9, a rate of 0.1, a tenth of it after 60 % of the
epochs, a hundredth after 90 %. The paper has one hidden layer; its rule for
more of them is used as it stands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.compare.forward_only import descent, networks
from apps.compare.forward_only.memory import Bytes, shapes_of, whole_network
from apps.compare.forward_only.networks import Floats, Layer, Network
from apps.compare.forward_only.registry import BATCH, Method, register

RATE = 0.1
"""The paper's. Twice as much is better on digits, and kills the network on
Fashion-MNIST."""

FEEDBACK = 0.05
DROPPED = 0.1
DECAYS = (0.6, 0.9)
"""Shares of the epochs after which the rate is a tenth of what it was."""


@register
class Pepita(Method):
  """Two forward passes, the second with an input that the error changed."""

  name = "pepita"
  about = "PEPITA (Dellaferrera and Kreiman 2022), float32"
  passes_a_step = 2

  def start(self, widths: tuple[int, ...], seed: int) -> Network:
    """Kernels after He; biases are zero and stay so."""
    return networks.drawn(widths, np.random.default_rng([seed, 0]))

  def train(
    self,
    network: Network,
    x: Floats,
    y: NDArray[np.int64],
    *,
    epochs: int,
    seed: int,
    rate: float = 1.0,
  ) -> Network:
    """Steps of momentum, one kernel beside the other."""
    feedback = projection(network.widths, seed)
    kernels = [layer.kernel for layer in network.layers]
    momentum = descent.Momentum(RATE * rate)
    for epoch in range(epochs):
      momentum.rate = RATE * rate * decayed(epoch, epochs)
      random = np.random.default_rng([seed, 2, epoch])
      for xs, ys in descent.batches(x, y, BATCH, (seed, 1, epoch)):
        masks = dropped(kernels, len(xs), random)
        found = updates(kernels, feedback, xs, ys, masks)
        kernels = momentum.step(kernels, found)
    return network.with_layers(
      [Layer(k, layer.bias) for k, layer in zip(kernels, network.layers)]
    )

  def memory(self, widths: tuple[int, ...]) -> Bytes:
    """As backpropagation, but one state a number, and no biases."""
    return whole_network(shapes_of(widths), descent.Momentum.states, False)


def projection(widths: tuple[int, ...], seed: int) -> Floats:
  """F, float32 [classes, inputs]: fixed, and made of the seed alone."""
  most = FEEDBACK * (6 / widths[0]) ** 0.5
  random = np.random.default_rng([seed, 3])
  shape = (widths[-1], widths[0])
  return random.uniform(-most, most, shape).astype(np.float32)


def decayed(epoch: int, epochs: int) -> float:
  """A factor of the rate."""
  return 0.1 ** sum(epoch >= share * epochs for share in DECAYS)


def dropped(
  kernels: list[Floats], samples: int, random: np.random.Generator
) -> list[Floats]:
  """A mask for each hidden layer, [N, units]: 0, or what makes up for it."""
  keep = 1 - DROPPED
  return [
    (random.random((samples, k.shape[1])) < keep).astype(np.float32)
    / np.float32(keep)
    for k in kernels[:-1]
  ]


def updates(
  kernels: list[Floats],
  feedback: Floats,
  x: Floats,
  y: NDArray[np.int64],
  masks: list[Floats],
) -> list[Floats]:
  """What each kernel moves against, in the place of its gradient.

  Args:
    kernels: of all layers, [inputs, outputs].
    feedback: F, [classes, inputs].
    x: samples [N, inputs].
    y: classes [N].
    masks: of the hidden layers, the same in both passes.
  """
  first = flows(kernels, x, masks)
  errors = networks.residual(first[-1] @ kernels[-1], y)
  second = flows(kernels, x + errors @ feedback, masks)
  count = np.float32(len(x))
  found = [
    second[number].T @ (first[number + 1] - second[number + 1]) / count
    for number in range(len(masks))
  ]
  return [*found, second[-1].T @ errors / count]


def flows(
  kernels: list[Floats], x: Floats, masks: list[Floats]
) -> list[Floats]:
  """The input, and the outputs of every hidden layer."""
  found = [x]
  for kernel, mask in zip(kernels[:-1], masks):
    found.append(np.maximum(found[-1] @ kernel, np.float32(0)) * mask)
  return found
