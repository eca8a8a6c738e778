"""Forward-Forward: every layer tells right labels from wrong ones by itself.

Hinton, "The Forward-Forward algorithm: some preliminary investigations", 2022
(arXiv 2212.13345). A label is written over the first pixels. A layer's goodness
is the sum of its squared outputs, and its loss is that of a logistic regression
on goodness minus the count of its units: high for the right label, low for a
wrong one. What the next layer reads is divided by its root mean square, so that
it cannot see the goodness. A sample is classified by one pass with a neutral
label and a linear softmax on all hidden layers but the first, or by one pass a
class, the highest goodness of these layers taking it.

Our reading of what the paper leaves open: a wrong label is drawn from the
others with equal chance; the neutral label is a tenth in each pixel; hidden
layers and the softmax learn in the same steps, each from its own loss, with
Adam at 0.003; no peer normalization. With two hidden layers the softmax reads
the second alone, so that the network is a plain stack.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.compare.forward_only import descent, memory, networks
from apps.compare.forward_only.memory import FLOAT, Bytes
from apps.compare.forward_only.networks import Floats, Layer, Network
from apps.compare.forward_only.registry import BATCH, Method, register

RATE = 0.003
"""Of Adam; three times as much was worse (docs/results.md)."""


@register
class ForwardForward(Method):
  """A pass with the right label, a pass with a wrong one, a local loss."""

  name = "forward-forward"
  about = "Forward-Forward (Hinton 2022), float32"
  passes_a_step = 3

  def start(self, widths: tuple[int, ...], seed: int) -> Network:
    """Kernels after He, biases zero, outputs divided by their size."""
    random = np.random.default_rng([seed, 0])
    return networks.drawn(
      widths, random, normalized=True, label_inputs=widths[-1]
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
    """A step of Adam for every layer, each from its own loss."""
    classes = network.widths[-1]
    layers = list(network.layers)
    adams = [descent.Adam(RATE * rate) for _ in layers]
    for epoch in range(epochs):
      random = np.random.default_rng([seed, 2, epoch])
      for xs, ys in descent.batches(x, y, BATCH, (seed, 1, epoch)):
        wrong = wrong_labels(ys, classes, random)
        good, bad = labelled(xs, ys, classes), labelled(xs, wrong, classes)
        plain = network.without_label(xs)
        for number, layer in enumerate(layers[:-1]):
          found = gradients(layer, good, bad)
          layers[number] = moved(layer, found, adams[number])
          good, bad, plain = (
            network.through(layer, flow) for flow in (good, bad, plain)
          )
        last = layers[-1]
        errors = networks.residual(plain @ last.kernel + last.bias, ys)
        errors /= np.float32(len(xs))
        found = [plain.T @ errors, errors.sum(axis=0)]
        layers[-1] = moved(last, found, adams[-1])
    return network.with_layers(layers)

  def memory(self, widths: tuple[int, ...]) -> Bytes:
    """A layer at a time; both passes are kept, states of all layers."""
    shapes = memory.shapes_of(widths)
    inputs, outputs = memory.largest(shapes)
    one = memory.weights([(inputs, outputs)])
    return Bytes(
      forward=FLOAT * (one + memory.widest(shapes)),
      gradient=FLOAT * (one + 2 * (inputs + outputs)),
      update=FLOAT * descent.Adam.states * memory.weights(shapes),
    )


def gradients(layer: Layer, good: Floats, bad: Floats) -> list[Floats]:
  """Of a layer's own loss, the mean over the samples: kernel and bias.

  Args:
    layer: a hidden layer.
    good: what it reads under right labels, [N, inputs].
    bad: the same under wrong labels.
  """
  found = []
  for x, sign in ((good, 1), (bad, -1)):
    h = np.maximum(x @ layer.kernel + layer.bias, np.float32(0))
    over = sign * ((h * h).sum(axis=1, keepdims=True) - h.shape[1])
    wrong = sigmoid(-over)  # how far the layer is from sure
    slope = (-2 * sign) * wrong * h / np.float32(len(x))
    found.append((x.T @ slope, slope.sum(axis=0)))
  return [a + b for a, b in zip(*found)]


def local_loss(layer: Layer, good: Floats, bad: Floats) -> float:
  """A layer's own loss, the mean over the samples, nats."""
  total = 0.0
  for x, sign in ((good, 1), (bad, -1)):
    h = np.maximum(x @ layer.kernel + layer.bias, np.float32(0))
    over = sign * ((h * h).sum(axis=1) - h.shape[1])
    total += float(np.logaddexp(0, -over).mean())
  return total


def moved(layer: Layer, found: list[Floats], adam: descent.Adam) -> Layer:
  """The layer after a step."""
  return Layer(*adam.step([layer.kernel, layer.bias], found))


def sigmoid(x: Floats) -> Floats:
  """Without overflow on either side."""
  return np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))


def wrong_labels(
  y: NDArray[np.int64], classes: int, random: np.random.Generator
) -> NDArray[np.int64]:
  """Another class for each sample, all others with equal chance."""
  return (y + random.integers(1, classes, len(y))) % classes


def labelled(x: Floats, y: NDArray[np.int64], classes: int) -> Floats:
  """Samples whose first pixels say a class."""
  found = x.copy()
  found[:, :classes] = 0
  found[np.arange(len(y)), y] = 1
  return found


def goodness(network: Network, x: Floats) -> Floats:
  """Of every class, [N, classes], one pass a class; not of the first layer."""
  classes = network.widths[-1]
  columns = []
  for label in range(classes):
    flow = labelled(x, np.full(len(x), label), classes)
    total = np.zeros(len(x), np.float32)
    for number, layer in enumerate(network.layers[:-1]):
      h = network.activated(layer, network.sums(layer, flow))
      if number or len(network.layers) == 2:
        total += (h * h).sum(axis=1)
      flow = network.passed(h)
    columns.append(total)
  return np.stack(columns, axis=1)
