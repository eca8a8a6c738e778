"""Backpropagation in floats, which the other methods stand beside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.compare.forward_only import descent, networks
from apps.compare.forward_only.memory import Bytes, shapes_of, whole_network
from apps.compare.forward_only.networks import Floats, Layer, Network
from apps.compare.forward_only.registry import BATCH, Method, register

RATE = 0.001
"""Of Adam."""


@register
class Backprop(Method):
  """Adam with the exact gradient of cross-entropy."""

  name = "backprop"
  about = "backpropagation with Adam, float32"

  def start(self, widths: tuple[int, ...], seed: int) -> Network:
    """Kernels after He, biases zero."""
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
    """Steps of Adam."""
    adam = descent.Adam(RATE * rate)
    for epoch in range(epochs):
      for xs, ys in descent.batches(x, y, BATCH, (seed, 1, epoch)):
        flat = [n for layer in network.layers for n in layer[:2]]
        flat = adam.step(flat, gradients(network, xs, ys))
        network = network.with_layers(layers_of(flat))
    return network

  def memory(self, widths: tuple[int, ...]) -> Bytes:
    """All weights, all gradients, all activations, two states a number."""
    return whole_network(shapes_of(widths), descent.Adam.states)


def gradients(
  network: Network, x: Floats, y: NDArray[np.int64]
) -> list[Floats]:
  """Of the mean cross-entropy: kernel and bias of the first layer, and so on.

  The network has ReLUs, and none of the traits of other methods.
  """
  flows = [x, *network.hidden(x)]
  errors = networks.residual(network.logits(x), y) / np.float32(len(x))
  found: list[Floats] = []
  for layer, flow in zip(reversed(network.layers), reversed(flows)):
    found = [flow.T @ errors, errors.sum(axis=0), *found]
    errors = (errors @ layer.kernel.T) * (flow > 0)
  return found


def layers_of(flat: list[Floats]) -> list[Layer]:
  """Layers from their kernels and biases, in turn."""
  return [Layer(k, b) for k, b in zip(flat[::2], flat[1::2])]
