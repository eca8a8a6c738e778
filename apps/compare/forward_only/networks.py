"""A network of dense layers in floats, which all methods here train.

What the methods differ in is said by the network itself, so that one function
runs it, one counts it and one quantizes it:

    h = f(h W + b)  for every hidden layer,  logits = h V + c

f is ReLU, or a step where activations are binary; W is what is stored, or its
signs times one scale where weights are binary; behind a hidden layer there may
be a division by the root mean square of its outputs.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import TflmFgError

Floats = NDArray[np.float32]

TINY = np.float32(1e-8)
"""Keeps a division by a root mean square of zero finite."""


class Layer(NamedTuple):
  """A dense layer.

  Attributes:
    kernel: float32 [inputs, outputs]; with binary weights what their signs and
      their scale are taken from.
    bias: float32 [outputs].
    step: height of a binary activation; 0 where that was not measured yet, or
      activations are not binary.
  """

  kernel: Floats
  bias: Floats
  step: float = 0.0


@dataclasses.dataclass(frozen=True)
class Network:
  """Dense layers, and how they are run.

  Attributes:
    layers: the hidden ones, and last the one that gives logits.
    binary_weights: hidden kernels are signs times one scale a layer.
    binary_activations: hidden outputs are 0 or the layer's `step`.
    normalized: hidden outputs are divided by their root mean square before
      another layer reads them.
    label_inputs: the first so many inputs are for a label, and `logits` fills
      them with equal shares; 0 where all inputs are the sample's.
  """

  layers: tuple[Layer, ...]
  binary_weights: bool = False
  binary_activations: bool = False
  normalized: bool = False
  label_inputs: int = 0

  @property
  def widths(self) -> tuple[int, ...]:
    """Of the input and of every layer."""
    first = self.layers[0].kernel.shape[0]
    return (first, *(layer.kernel.shape[1] for layer in self.layers))

  def hidden(self, x: Floats) -> list[Floats]:
    """Outputs of the hidden layers as the next layer reads them, [N, units]."""
    found = []
    for layer in self.layers[:-1]:
      x = self.through(layer, x)
      found.append(x)
    return found

  def through(self, layer: Layer, x: Floats) -> Floats:
    """What the next layer reads behind a hidden layer, [N, units]."""
    return self.passed(self.activated(layer, self.sums(layer, x)))

  def sums(self, layer: Layer, x: Floats) -> Floats:
    """What a hidden layer adds up, [N, units], before its activation."""
    return x @ self.used(layer.kernel) + layer.bias

  def used(self, kernel: Floats) -> Floats:
    """The hidden kernel that a pass multiplies with."""
    return binary(kernel) if self.binary_weights else kernel

  def activated(self, layer: Layer, sums: Floats) -> Floats:
    """ReLU, or a step of the layer's height."""
    if self.binary_activations:
      return np.where(sums > 0, np.float32(layer.step), np.float32(0))
    return np.maximum(sums, np.float32(0))

  def passed(self, outputs: Floats) -> Floats:
    """What the next layer reads of a hidden layer's outputs."""
    return outputs / root_mean_square(outputs) if self.normalized else outputs

  def logits(self, x: Floats) -> Floats:
    """Outputs of the last layer, [N, classes], before a softmax."""
    last = self.layers[-1]
    flow = self.hidden(self.without_label(x))[-1]
    return flow @ last.kernel + last.bias

  def without_label(self, x: Floats) -> Floats:
    """Samples whose inputs for a label say nothing."""
    if not self.label_inputs:
      return x
    found = x.copy()
    found[:, : self.label_inputs] = 1 / self.label_inputs
    return found

  def with_layers(self, layers: list[Layer]) -> Network:
    """The same with other layers."""
    return dataclasses.replace(self, layers=tuple(layers))


def drawn(
  widths: tuple[int, ...], random: np.random.Generator, **traits: Any
) -> Network:
  """A network whose kernels are drawn after He et al. 2015, biases zero.

  Args:
    widths: of the input, of every hidden layer, and of the output.
    random: where kernels come from, uniform within sqrt(6 / inputs).
    traits: fields of `Network`.

  Raises:
    TflmFgError: for fewer than three widths: something must be hidden.
  """
  if len(widths) < 3 or min(widths) < 1:
    raise TflmFgError(
      f"widths {widths}: need an input, one hidden layer or more, and an "
      "output, each of one or more"
    )
  layers = []
  for inputs, outputs in itertools.pairwise(widths):
    most = (6 / inputs) ** 0.5
    kernel = random.uniform(-most, most, (inputs, outputs))
    layers.append(
      Layer(kernel.astype(np.float32), np.zeros(outputs, np.float32))
    )
  return Network(tuple(layers), **traits)


def binary(kernel: Floats) -> Floats:
  """Signs times the mean magnitude (Rastegari et al. 2016); zero counts up."""
  scale = np.abs(kernel).mean(dtype=np.float32)
  return np.where(kernel >= 0, scale, -scale).astype(np.float32)


def root_mean_square(h: Floats) -> Floats:
  """Of each row, [N, 1], never zero."""
  return np.sqrt((h * h).mean(axis=1, keepdims=True)) + TINY


def softmax(logits: Floats) -> Floats:
  """Shares that add up to 1, [N, classes]."""
  raised = np.exp(logits - logits.max(axis=1, keepdims=True))
  return raised / raised.sum(axis=1, keepdims=True)


def cross_entropy(logits: Floats, y: NDArray[np.int64]) -> float:
  """Mean of minus the logarithm of the right class's share, nats."""
  shifted = logits - logits.max(axis=1, keepdims=True)
  total = np.log(np.exp(shifted).sum(axis=1))
  return float((total - shifted[np.arange(len(y)), y]).mean())


def residual(logits: Floats, y: NDArray[np.int64]) -> Floats:
  """Softmax minus the one-hot class: the gradient of a sample's loss."""
  found = softmax(logits)
  found[np.arange(len(y)), y] -= np.float32(1)
  return found


def error(network: Network, x: Floats, y: NDArray[np.int64]) -> float:
  """Share of samples whose largest logit is another class's."""
  return float((network.logits(x).argmax(axis=1) != y).mean())
