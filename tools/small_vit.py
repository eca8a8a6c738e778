"""Train a small vision transformer and quantize it to an int8 .tflite.

  python tools/small_vit.py --out=small_vit.tflite \
      --pictures=/usr/share/datasets/fashion-mnist

Patches become tokens by one strided convolution; behind two blocks of attention
and dense layers (Dosovitskiy et al., "An image is worth 16x16 words", ICLR
2021) the mean of the tokens is classified. Dense layers have ReLU in place of
GELU, which TensorFlow Lite Micro lacks. Training takes a minute or two of
processor time, and needs `pip install 'tflm-fg[tf]'`.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import tflm_fg
from apps.compare.data import readers
from converters import quantize
from tflm_fg import files
from tflm_fg.types import TflmFgError

PATCH, BLOCKS, HEADS = 7, 2, 4
"""Pixels a side of a patch, blocks, and heads of each attention."""

BATCH_SIZE, PEAK_RATE, CALIBRATION = 128, 2e-3, 300


def network(shape: tuple[int, ...], channels: int, classes: int) -> Any:
  """The Keras model, untrained.

  Args:
    shape: of a picture, [height, width, colours]; multiples of PATCH.
    channels: of a token, a multiple of HEADS.
    classes: how many logits it gives.

  Returns:
    [N, *shape] from 0 to 1 to logits [N, classes].

  Raises:
    TflmFgError: if patches or heads do not come out even, or TensorFlow is
      missing.
  """
  if shape[0] % PATCH or shape[1] % PATCH:
    raise TflmFgError(
      f"pictures of {shape[0]} x {shape[1]} pixels: need sides that are "
      f"multiples of {PATCH}"
    )
  if channels % HEADS:
    raise TflmFgError(f"--channels={channels}: need a multiple of {HEADS}")
  keras = quantize.tensorflow().keras
  layers = keras.layers

  class Positions(layers.Layer):  # type: ignore[name-defined]
    """Adds a trained number to each channel of each token."""

    def build(self, shape: Any) -> None:
      self.table = self.add_weight(
        shape=tuple(shape[1:]), initializer="random_normal", name="table"
      )

    def call(self, x: Any) -> Any:
      return x + self.table

  inputs = keras.Input(shape, name="pixels")
  x = layers.Conv2D(channels, PATCH, PATCH, name="patches")(inputs)
  count = (shape[0] // PATCH) * (shape[1] // PATCH)
  x = Positions()(layers.Reshape((count, channels))(x))
  for _ in range(BLOCKS):
    y = layers.LayerNormalization()(x)
    y = layers.MultiHeadAttention(HEADS, channels // HEADS)(y, y)
    x = layers.Add()([x, y])
    y = layers.LayerNormalization()(x)
    y = layers.Dense(2 * channels, activation="relu")(y)
    x = layers.Add()([x, layers.Dense(channels)(y)])
  x = layers.LayerNormalization()(x)
  x = layers.GlobalAveragePooling1D(name="pooled")(x)
  return keras.Model(inputs, layers.Dense(classes, name="logits")(x))


def trained(
  x: NDArray[np.float32],
  y: NDArray[np.int64],
  channels: int,
  epochs: int,
  seed: int,
) -> Any:
  """Trains a network with Adam and a cosine decay.

  Args:
    x: pictures [N, H, W, C] from 0 to 1.
    y: their classes [N], from 0.
    channels: of a token.
    epochs: passes over the pictures.
    seed: of the weights and the order.

  Returns:
    The Keras model.
  """
  tf = quantize.tensorflow()
  tf.keras.utils.set_random_seed(seed)
  tf.config.experimental.enable_op_determinism()
  model = network(x.shape[1:], channels, int(y.max()) + 1)
  steps = epochs * -(-len(x) // BATCH_SIZE)
  rate = tf.keras.optimizers.schedules.CosineDecay(PEAK_RATE, steps)
  model.compile(
    tf.keras.optimizers.Adam(rate),
    tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=2)
  return model


def main() -> None:
  """Trains, quantizes, writes and says how good both are."""
  parser = argparse.ArgumentParser(description="Train a small transformer.")
  parser.add_argument("--out", required=True, help="the .tflite")
  parser.add_argument(
    "--pictures",
    default="/usr/share/datasets/fashion-mnist",
    help="folder of IDX files: training pictures and test pictures",
  )
  parser.add_argument("--epochs", type=int, default=6)
  parser.add_argument("--seed", type=int, default=0, help="of the weights")
  parser.add_argument("--channels", type=int, default=48, help="of a token")
  given = parser.parse_args()
  files.require_outputs({"out": given.out}, {})
  pool = readers.read(f"idx:{given.pictures}:train")
  test = readers.read(f"idx:{given.pictures}:test")
  model = trained(pool.x, pool.y, given.channels, given.epochs, given.seed)
  tflite = quantize.to_integer(model, pool.x[:CALIBRATION])
  files.write_atomically(given.out, tflite)
  right = model.predict(test.x, verbose=0).argmax(axis=1) == test.y
  integer = tflm_fg.evaluate(tflite, test.x, test.y)["accuracy"]
  print(
    f"{given.out}: {len(tflite)} bytes, {model.count_params()} weights; of "
    f"{len(test.y)} test pictures float {100 * right.mean():.1f} %, "
    f"int8 {100 * integer:.1f} %"
  )


if __name__ == "__main__":
  try:
    main()
  except TflmFgError as fault:
    sys.exit(f"small_vit: {fault}")
