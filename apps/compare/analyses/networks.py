"""Build the shapes of known networks, quantized, with random weights.

For counting memory, which depends on shapes alone. Weights are random and the
ranges of activations come from random samples, so their answers mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.kws.model.shipped import shipped_model
from converters import quantize

CALIBRATION_SAMPLES = 2
"""Ranges of random samples through random weights: any do."""

MOBILE_WIDTH = 0.35
MOBILE_BLOCKS = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)
"""Expansion, channels, repeats and first stride (Sandler et al. 2018, table 2).
Channels are multiplied by the width and rounded to multiples of 8."""


def mobilenet_v2() -> bytes:
  """A MobileNetV2-like network for person detection: 96x96x3, width 0.35.

  Visual wake words' shape, 2 classes. The last 1x1 convolution has 1,280
  channels, as all widths under 1 have.
  """
  return _quantized(mobilenet_v2_keras())


def resnet_8() -> bytes:
  """A ResNet-8-like network: 32x32x3, 10 classes.

  The shape of MLPerf Tiny's image classifier: three residual stages of 16, 32
  and 64 channels.
  """
  return _quantized(resnet_8_keras())


def mobilenet_v2_keras() -> Any:
  """The float network behind `mobilenet_v2`."""
  tf = quantize.tensorflow()
  inputs = tf.keras.Input((96, 96, 3))
  x = _convolved(tf, inputs, _channels(32), 3, 2, cap=6.0)
  for expansion, channels, repeats, stride in MOBILE_BLOCKS:
    for number in range(repeats):
      first = stride if number == 0 else 1
      x = _inverted_residual(tf, x, expansion, _channels(channels), first)
  x = _convolved(tf, x, 1280, 1, 1, cap=6.0)
  return _classifier(tf, inputs, x, 2)


def resnet_8_keras() -> Any:
  """The float network behind `resnet_8`."""
  tf = quantize.tensorflow()
  inputs = tf.keras.Input((32, 32, 3))
  x = _convolved(tf, inputs, 16, 3, 1)
  for channels, stride in ((16, 1), (32, 2), (64, 2)):
    around = x
    x = _convolved(tf, x, channels, 3, stride)
    x = _normalized(tf, x, channels, 3, 1)
    if stride > 1:
      around = _normalized(tf, around, channels, 1, stride)
    x = tf.keras.layers.ReLU()(tf.keras.layers.Add()([x, around]))
  return _classifier(tf, inputs, x, 10)


def _channels(channels: int) -> int:
  """Channels at the width, a multiple of 8, never 10 % under what is asked."""
  wanted = channels * MOBILE_WIDTH
  rounded = max(8, int(wanted + 4) // 8 * 8)
  return rounded + 8 * (rounded < 0.9 * wanted)


def _inverted_residual(
  tf: Any, x: Any, expansion: int, channels: int, stride: int
) -> Any:
  layers = tf.keras.layers
  flow = x
  if expansion > 1:
    flow = _convolved(tf, flow, expansion * x.shape[-1], 1, 1, cap=6.0)
  flow = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(flow)
  flow = layers.ReLU(6.0)(layers.BatchNormalization()(flow))
  flow = _normalized(tf, flow, channels, 1, 1)
  same = stride == 1 and x.shape[-1] == channels
  return layers.Add()([x, flow]) if same else flow


def _convolved(
  tf: Any,
  x: Any,
  channels: int,
  size: int,
  stride: int,
  cap: float | None = None,
) -> Any:
  """Convolution, normalization, ReLU."""
  return tf.keras.layers.ReLU(cap)(_normalized(tf, x, channels, size, stride))


def _normalized(tf: Any, x: Any, channels: int, size: int, stride: int) -> Any:
  layers = tf.keras.layers
  x = layers.Conv2D(channels, size, stride, "same", use_bias=False)(x)
  return layers.BatchNormalization()(x)


def _classifier(tf: Any, inputs: Any, x: Any, classes: int) -> Any:
  layers = tf.keras.layers
  x = layers.GlobalAveragePooling2D()(x)
  return tf.keras.Model(inputs, layers.Softmax()(layers.Dense(classes)(x)))


def _quantized(model: Any) -> bytes:
  random = np.random.default_rng(0)
  for layer in model.layers:
    layer.set_weights([_drawn(w, random) for w in layer.get_weights()])
  shape = (CALIBRATION_SAMPLES, *model.input_shape[1:])
  samples = random.normal(0, 1, shape).astype(np.float32)
  return quantize.to_integer(model, samples)


def _drawn(
  weights: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.float32]:
  """Kernels after He et al. 2015, the rest moved a little.

  With Keras's own initial weights signals fade over fifty layers, and equal
  numbers are one constant to the converter, zeros none: the file would be too
  small.
  """
  if weights.ndim < 2:
    moved = weights + 0.1 * np.abs(random.normal(0, 1, weights.shape))
    return moved.astype(np.float32)
  depthwise = weights.ndim == 4 and weights.shape[3] == 1
  fan_in = weights[..., 0, 0].size if depthwise else weights[..., 0].size
  return random.normal(0, (2 / fan_in) ** 0.5, weights.shape).astype(np.float32)


NETWORKS: dict[str, Callable[[], bytes]] = {
  "DS-CNN": shipped_model,
  "MobileNetV2-like": mobilenet_v2,
  "ResNet-8-like": resnet_8,
}
"""What the memory table counts; all but the first need TensorFlow."""
