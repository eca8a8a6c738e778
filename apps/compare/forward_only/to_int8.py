"""Quantize a network that was trained from scratch, as a stack of stock layers.

A step is a steep ramp, cut off by the ReLU6 that a dense layer may have; the
division by a root mean square is an L2_NORMALIZATION, whose constant factor the
next kernel takes; inputs for a label go into the first bias. So the file has
operators that every engine knows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.compare.forward_only.networks import Floats, Layer, Network
from converters import quantize

RAMP = 0.02
"""The width of a step's ramp, in steps' heights."""

_TOP = 6.0
"""Where a ReLU6 ends."""


def to_int8(
  network: Network,
  samples: NDArray[np.float32],
  shape: tuple[int, ...] | None = None,
) -> bytes:
  """Makes an int8 .tflite that ends in a softmax.

  Args:
    network: trained.
    samples: of its training, [N, ...], for the ranges of activations.
    shape: of one sample; by default that of `samples`.

  Returns:
    The file, unmarked.

  Raises:
    TflmFgError: if TensorFlow is missing.
  """
  tf = quantize.tensorflow()
  layers = tf.keras.layers
  inputs = tf.keras.Input(shape or samples.shape[1:])
  flow = layers.Flatten()(inputs)
  folded = stock(network)
  dense = []
  for _ in folded[:-1]:
    dense.append(layers.Dense(network.widths[len(dense) + 1]))
    flow = dense[-1](flow)
    top = _TOP if network.binary_activations else None
    flow = layers.ReLU(max_value=top)(flow)
    if network.normalized:
      flow = layers.UnitNormalization()(flow)
  dense.append(layers.Dense(network.widths[-1]))
  model = tf.keras.Model(inputs, layers.Softmax()(dense[-1](flow)))
  for layer, (kernel, bias) in zip(dense, folded):
    layer.set_weights([kernel, bias])
  return quantize.to_integer(model, samples)


def stock(network: Network) -> list[tuple[Floats, Floats]]:
  """Kernels and biases of plain dense layers that give the same logits.

  Between them stand ReLUs; ReLU6 where activations are binary; and behind them
  a division by the Euclidean norm where outputs are normalized.
  """
  found: list[tuple[Floats, Floats]] = []
  factor = np.float32(1)  # of what a layer reads here, into its kernel
  for number, layer in enumerate(network.layers):
    hidden = number < len(network.layers) - 1
    kernel = network.used(layer.kernel) if hidden else layer.kernel
    bias = layer.bias
    if not number and network.label_inputs:
      kernel, bias = _without_label(network, kernel, bias)
    kernel = kernel * factor
    if hidden:
      gain, factor = _step_and_next(network, layer)
      kernel, bias = kernel * gain, bias * gain
    found.append((kernel, bias))
  return found


def _without_label(
  network: Network, kernel: Floats, bias: Floats
) -> tuple[Floats, Floats]:
  """The first layer, with what a neutral label adds in its bias."""
  count = network.label_inputs
  rest = kernel.copy()
  rest[:count] = 0
  return rest, bias + kernel[:count].mean(axis=0)


def _step_and_next(network: Network, layer: Layer) -> Any:
  """Factors of a hidden layer's sums, and of what the next layer reads."""
  if network.binary_activations:
    gain = np.float32(_TOP / (RAMP * layer.step))
    return gain, np.float32(layer.step / _TOP)
  if network.normalized:
    return np.float32(1), np.float32(layer.kernel.shape[1] ** 0.5)
  return np.float32(1), np.float32(1)
