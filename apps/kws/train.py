"""tflm-fg-kws train: synthetic source speech in, a trained int8 DS-CNN out.

  tflm-fg-kws train --out=apps/kws/ds_cnn.tflite

Reproducible: on one machine with the same versions of TensorFlow, NumPy,
SciPy and espeakng-loader, the same flags give the same clips, the same
weights and the same bytes of the .tflite file. Not reproducible: on another
CPU or with other versions the floating-point sums may differ in their last
bits, and training lets that grow; the bytes differ then, and the accuracies
may too.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import sys
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

import tflm_fg
from apps import cli
from apps.kws import dataset, domains, frontend, shipped
from converters import quantize
from tflm_fg import files

_OUT = flags.DEFINE_string("out", None, "where the .tflite goes", required=True)
_CLIPS = flags.DEFINE_integer("clips_per_class", 500, "clips a class", 1)
_EPOCHS = flags.DEFINE_integer("epochs", 10, "passes over the clips", 1)
_SEED = flags.DEFINE_integer("seed", 0, "of the clips and the weights", 0)

BATCH_SIZE = 64
TEST_CLIPS_PER_CLASS = 40
REPRESENTATIVE_CLIPS = 480
_PACKAGES = (
  "espeakng-loader",
  "keras",
  "numpy",
  "pymicro-features",
  "scipy",
  "tensorflow",
)


def ds_cnn(filters: int = 64, blocks: int = 4) -> Any:
  """Builds the depthwise-separable network of MLPerf Tiny, for 49 x 40 inputs.

  The first block halves the channel axis once more than MLPerf's, whose input
  has 10 columns and not 40: a clip costs twice as much, not four times.

  Args:
    filters: Channels of every layer.
    blocks: Depthwise-separable blocks.

  Returns:
    float32 [batch, 49, 40, 1] to logits, float32 [batch, 12].
  """
  tf = quantize.tensorflow()
  layers = tf.keras.layers
  inputs = tf.keras.Input(frontend.PARAMETERS.shape, name="features")
  x = _batch_relu(
    layers.Conv2D(filters, (10, 4), strides=2, padding="same", use_bias=False)(
      inputs
    )
  )
  for block in range(blocks):
    strides = (1, 2) if block == 0 else (1, 1)
    x = _batch_relu(
      layers.DepthwiseConv2D(
        3, strides=strides, padding="same", use_bias=False
      )(x)
    )
    x = _batch_relu(layers.Conv2D(filters, 1, use_bias=False)(x))
  x = layers.GlobalAveragePooling2D(name="pooled")(x)
  x = layers.Dropout(0.3)(x)
  logits = layers.Dense(len(domains.CLASSES), name="logits")(x)
  return tf.keras.Model(inputs, logits)


def _batch_relu(x: Any) -> Any:
  tf = quantize.tensorflow()
  return tf.keras.layers.ReLU()(tf.keras.layers.BatchNormalization()(x))


def fit(
  model: Any,
  x: NDArray[np.float32],
  y: NDArray[np.int32],
  epochs: int,
) -> None:
  """Trains the model in place: Adam, with a cosine that ends at 0.

  Args:
    model: What `ds_cnn` builds.
    x: float32 [N, 49, 40, 1].
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


def train(
  clips_per_class: int, epochs: int, seed: int
) -> tuple[bytes, dict[str, Any]]:
  """Trains, converts and measures.

  Args:
    clips_per_class: Training clips for each class.
    epochs: Passes over them.
    seed: Of the clips, of the weights and of their order.

  Returns:
    The .tflite file, and its provenance.
  """
  tf = quantize.tensorflow()
  tf.keras.utils.set_random_seed(seed)
  tf.config.experimental.enable_op_determinism()
  x, y = dataset.make("source", "train", clips_per_class, seed)
  model = ds_cnn()
  fit(model, x, y, epochs)
  quantized = quantize.to_integer(model, x[:REPRESENTATIVE_CLIPS])
  tflite = tflm_fg.strip(tflm_fg.mark(quantized, "head").data)  # aligned
  provenance = {
    "script": "tflm-fg-kws train",
    "flags": {
      "clips_per_class": clips_per_class,
      "epochs": epochs,
      "seed": seed,
    },
    "classes": list(domains.CLASSES),
    "frontend": dataclasses.asdict(frontend.PARAMETERS),
    "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    "accuracy": _accuracies(model, tflite, seed),
  }
  return tflite, provenance


def _accuracies(
  model: Any, tflite: bytes, seed: int
) -> dict[str, dict[str, float]]:
  """Measures both models on the test clips of every domain."""
  accuracies = {}
  for name in ("source", *shipped.TARGETS):
    x, y = dataset.make(name, "test", TEST_CLIPS_PER_CLASS, seed)
    logits = model.predict(x, verbose=0)
    accuracies[name] = {
      "clips": len(y),
      "float": round(float(np.mean(logits.argmax(axis=1) == y)), 4),
      "int8": round(tflm_fg.evaluate_model(tflite, x, y)["accuracy"], 4),
    }
  return accuracies


def main() -> None:
  """Trains and writes the model and, beside it, where it came from."""
  provenance_path = os.path.splitext(_OUT.value)[0] + ".json"
  files.require_outputs(
    {**cli.values(_OUT), "out's .json": provenance_path}, {}
  )
  tflite, provenance = train(_CLIPS.value, _EPOCHS.value, _SEED.value)
  files.write_atomically(_OUT.value, tflite)
  text = cli.to_json(provenance)
  files.write_atomically(provenance_path, text)
  print(f"{text.decode()}{_OUT.value}: {len(tflite)} bytes")


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
