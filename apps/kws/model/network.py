"""The keyword network: built, and trained from scratch (TensorFlow)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.kws.features import micro
from apps.kws.synthetic import voices
from converters import quantize

BATCH_SIZE = 64


def ds_cnn(
  filters: int = 64,
  blocks: int = 4,
  *,
  shape: tuple[int, int, int] = micro.PARAMETERS.shape,
  outputs: int = len(voices.CLASSES),
  batch_momentum: float = 0.99,
) -> Any:
  """Builds the depthwise-separable network of MLPerf Tiny, for 49 x 40 inputs.

  The first block halves the channel axis once more than MLPerf's, whose input
  has 10 columns and not 40: a clip costs twice as much, not four times.

  Args:
    filters: Channels of every layer.
    blocks: Depthwise-separable blocks.
    shape: A clip's features.
    outputs: How many classes.
    batch_momentum: How slowly the batches' statistics are averaged; for a
      training of few steps 0.99 is too slow.

  Returns:
    float32 [batch, *shape] to logits, float32 [batch, outputs].
  """
  tf = quantize.tensorflow()
  layers = tf.keras.layers
  inputs = tf.keras.Input(shape, name="features")

  def relu(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization(momentum=batch_momentum)(x))

  x = relu(
    layers.Conv2D(filters, (10, 4), strides=2, padding="same", use_bias=False)(
      inputs
    )
  )
  for block in range(blocks):
    strides = (1, 2) if block == 0 else (1, 1)
    x = relu(
      layers.DepthwiseConv2D(
        3, strides=strides, padding="same", use_bias=False
      )(x)
    )
    x = relu(layers.Conv2D(filters, 1, use_bias=False)(x))
  x = layers.GlobalAveragePooling2D(name="pooled")(x)
  x = layers.Dropout(0.3)(x)
  logits = layers.Dense(outputs, name="logits")(x)
  return tf.keras.Model(inputs, logits)


def fit(
  model: Any,
  x: NDArray[np.float32],
  y: NDArray[np.int32],
  epochs: int,
) -> None:
  """Trains the model in place: Adam, with a cosine that ends at 0.

  Args:
    model: What `ds_cnn` builds.
    x: float32 [N, *shape].
    y: int32 [N].
    epochs: Passes over the clips.
  """
  tf = quantize.tensorflow()
  steps = epochs * -(-len(x) // BATCH_SIZE)
  rate = tf.keras.optimizers.schedules.CosineDecay(
    0.0, steps, warmup_target=4e-3, warmup_steps=steps // 10
  )
  model.compile(
    optimizer=tf.keras.optimizers.Adam(rate),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
  )
  model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=2)
