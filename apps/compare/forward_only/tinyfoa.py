"""TinyFoA: one layer after the other, a part of a layer at a time.

Huang and Aminifar, "TinyFoA: memory efficient forward-only algorithm for
on-device learning", AAAI 2025. A hidden layer is trained alone, by the
cross-entropy of a classifier of its own that is fixed and random; then it is
frozen and the next one reads it. Weights and activations may be binary, and
then gradients go straight through (Bengio et al. 2013) where the number lies
between -1 and 1. The last layer's classifier gives the answer.

Our reading of what the abstract, the table and the authors' published programs
leave open: a layer's inputs and outputs are cut into two parts each; one of the
four blocks trains for one turn, and then the next, with fresh state of Adam, so
that gradients and state need a fourth of the numbers, as the table has it. A
turn is an epoch, or less where a layer would not be gone round twice. Binary
weights have one scale a layer, their mean magnitude; binary activations are
signs times their mean magnitude over the batch, then ReLU. Where no batch is,
that magnitude is its running mean. Real weights stay between -1 and 1.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from apps.compare.forward_only import descent, memory, networks
from apps.compare.forward_only.memory import BIT, FLOAT, Bytes
from apps.compare.forward_only.networks import Floats, Layer, Network
from apps.compare.forward_only.registry import BATCH, Method, register

RATE = 0.003
"""Of Adam; a third and three times as much were worse (docs/results.md)."""

PARTS = 2
"""Of a layer's inputs and of its outputs."""

KEPT = 0.99
"""What a running mean keeps at each step."""

ROUNDS = 2
"""How often a layer's blocks are gone round, at least."""


@register
class TinyFoA(Method):
  """Binary weights and binary activations."""

  name = "tinyfoa"
  about = "TinyFoA (Huang and Aminifar 2025), binary weights and activations"
  binary_weights: ClassVar[bool] = True
  binary_activations: ClassVar[bool] = True

  def start(self, widths: tuple[int, ...], seed: int) -> Network:
    """Kernels after He, biases zero; the last kernel stays as it is drawn."""
    return networks.drawn(
      widths,
      np.random.default_rng([seed, 0]),
      binary_weights=self.binary_weights,
      binary_activations=self.binary_activations,
    )

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
    """Layer after layer, each for an equal share of the epochs."""
    x = network.without_label(x)
    layers = list(network.layers)
    shares = np.linspace(0, epochs, len(layers)).astype(int)
    for number in range(len(layers) - 1):
      trainer = LayerTrainer(
        network, classifier(network, number, seed), RATE * rate, (seed, number)
      )
      own = int(shares[number + 1] - shares[number])
      layers[number] = trainer.train(layers[number], x, y, own)
      x = network.through(layers[number], x)
    return network.with_layers(layers)

  def memory(self, widths: tuple[int, ...]) -> Bytes:
    """The largest layer at its width; a block's gradient and its two states."""
    shapes = memory.shapes_of(widths)[:-1]  # the last layer does not train
    inputs, outputs = memory.largest(shapes)
    number = BIT if self.binary_weights else FLOAT
    flow = BIT if self.binary_activations else FLOAT
    block = inputs * outputs / PARTS**2 + outputs / PARTS
    return Bytes(
      forward=number * inputs * outputs
      + FLOAT * outputs
      + flow * memory.widest(shapes),
      gradient=FLOAT * block + flow * inputs + FLOAT * outputs,
      update=FLOAT * descent.Adam.states * block,
    )


@register
class BinaryWeights(TinyFoA):
  """Binary weights alone."""

  name = "tinyfoa-weights"
  about = "the same, binary weights and ReLUs"
  binary_activations = False


@register
class BinaryActivations(TinyFoA):
  """Binary activations alone."""

  name = "tinyfoa-activations"
  about = "the same, float weights and binary activations"
  binary_weights = False


@register
class FloatFoA(TinyFoA):
  """Neither."""

  name = "tinyfoa-float"
  about = "the same, nothing binary"
  binary_weights = False
  binary_activations = False


def classifier(network: Network, number: int, seed: int) -> Layer:
  """What a hidden layer is judged by: fixed, and made of the seed alone.

  Behind the last hidden layer it is the network's last layer.
  """
  if number == len(network.layers) - 2:
    return network.layers[-1]
  units, classes = network.widths[number + 1], network.widths[-1]
  random = np.random.default_rng([seed, 3, number])
  kernel = random.normal(0, (2 / units) ** 0.5, (units, classes))
  return Layer(kernel.astype(np.float32), np.zeros(classes, np.float32))


@dataclasses.dataclass(frozen=True)
class LayerTrainer:
  """Trains one hidden layer by its own loss.

  Attributes:
    network: whose traits say what is binary.
    judge: the fixed classifier.
    rate: of Adam.
    address: of all that is drawn.
  """

  network: Network
  judge: Layer
  rate: float
  address: tuple[int, ...]

  def train(
    self, layer: Layer, x: Floats, y: NDArray[np.int64], epochs: int
  ) -> Layer:
    """The layer after so many epochs, block after block in turn."""
    steps = epochs * -(-len(x) // BATCH)
    turn = max(1, min(steps // max(1, epochs), steps // (PARTS**2 * ROUNDS)))
    blocks = itertools.cycle(blocks_of(*layer.kernel.shape))
    block, adam = next(blocks), descent.Adam(self.rate)
    done = 0
    for epoch in range(epochs):
      address = (*self.address, 1, epoch)
      for xs, ys in descent.batches(x, y, BATCH, address):
        if done and done % turn == 0:
          block, adam = next(blocks), descent.Adam(self.rate)
        layer = self._step(layer, xs, ys, block, adam)
        done += 1
    return layer

  def _step(
    self,
    layer: Layer,
    x: Floats,
    y: NDArray[np.int64],
    block: tuple[slice, slice],
    adam: descent.Adam,
  ) -> Layer:
    step, *found = gradients(self.network, layer, self.judge, x, y, block)
    kernel, bias = layer.kernel.copy(), layer.bias.copy()
    moved = adam.step([kernel[block], bias[block[1]]], found)
    kernel[block], bias[block[1]] = (np.clip(m, -1, 1) for m in moved)
    if not self.network.binary_activations:
      return Layer(kernel, bias)
    before = layer.step or float(step)
    return Layer(kernel, bias, KEPT * before + (1 - KEPT) * float(step))


def blocks_of(inputs: int, outputs: int) -> list[tuple[slice, slice]]:
  """A kernel's blocks, which together are all of it: parts of rows, columns."""
  rows, columns = (
    [
      slice(size * part // PARTS, size * (part + 1) // PARTS)
      for part in range(PARTS)
    ]
    for size in (inputs, outputs)
  )
  return [(row, column) for column in columns for row in rows]


def gradients(
  network: Network,
  layer: Layer,
  judge: Layer,
  x: Floats,
  y: NDArray[np.int64],
  block: tuple[slice, slice],
) -> tuple[np.float32, Floats, Floats]:
  """Of the layer's own cross-entropy, the mean over the samples.

  Args:
    network: whose traits say what is binary.
    layer: that trains.
    judge: its fixed classifier.
    x: what it reads, [N, inputs].
    y: classes [N].
    block: which of its inputs and outputs train.

  Returns:
    The mean magnitude of what the layer adds up, the gradient of the kernel's
    block, and that of the bias's part.
  """
  rows, columns = block
  sums = network.sums(layer, x)
  step = np.abs(sums).mean(dtype=np.float32)
  outputs = network.activated(layer._replace(step=float(step)), sums)
  errors = networks.residual(outputs @ judge.kernel + judge.bias, y)
  back = errors @ judge.kernel[columns].T / np.float32(len(x))
  own = sums[:, columns]
  back *= own > 0  # the ReLU, behind a step too
  if network.binary_activations:
    back *= own < 1
  found = x[:, rows].T @ back
  if network.binary_weights:
    found *= np.abs(layer.kernel[block]) < 1
  return step, found, back.sum(axis=0)
