"""The int8 digits network, trained from scratch on clean images.

  python -m apps.compare.data.train_digits --out=apps/compare/digits.tflite

Reproducible on one machine with the same versions, as `tflm-fg-kws train` is.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from typing import Any

import numpy as np
from absl import flags

import tflm_fg
from apps import cli
from apps.compare.data import digits
from apps.compare.data.sampling import Part
from converters import quantize
from tflm_fg import files

_OUT = flags.DEFINE_string("out", None, "the .tflite", required=True)
_EPOCHS = flags.DEFINE_integer("epochs", 60, "passes over the images", 1)
_SEED = flags.DEFINE_integer("seed", 0, "of the weights", 0)

BATCH_SIZE = 32
_PACKAGES = ("keras", "numpy", "scikit-learn", "tensorflow")


def network() -> Any:
  """Three convolutions, their mean over the image, one dense layer."""
  tf = quantize.tensorflow()
  layers = tf.keras.layers
  inputs = x = tf.keras.Input((8, 8, 1), name="pixels")
  for filters, stride in ((16, 1), (32, 2), (32, 1)):
    x = layers.Conv2D(
      filters, 3, strides=stride, padding="same", use_bias=False
    )(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.ReLU()(x)
  x = layers.GlobalAveragePooling2D(name="pooled")(x)
  return tf.keras.Model(inputs, layers.Dense(10, name="logits")(x))


def train(epochs: int, seed: int) -> tuple[bytes, dict[str, Any]]:
  """Trains, converts and measures.

  Returns:
    The .tflite, and where it came from.
  """
  tf = quantize.tensorflow()
  tf.keras.utils.set_random_seed(seed)
  tf.config.experimental.enable_op_determinism()
  held = digits.parts(*digits.images())
  model = network()
  steps = epochs * -(-len(held.train[0]) // BATCH_SIZE)
  model.compile(
    tf.keras.optimizers.Adam(
      tf.keras.optimizers.schedules.CosineDecay(3e-3, steps)
    ),
    tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  model.fit(*held.train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
  samples = held.train[0].astype(np.float32)
  quantized = quantize.to_integer(model, samples)
  tflite = tflm_fg.strip(
    tflm_fg.mark_trainable(quantized, "head").data
  )  # aligned
  return tflite, {
    "script": "python -m apps.compare.data.train_digits",
    "flags": {"epochs": epochs, "seed": seed},
    "classes": list(digits.CLASSES),
    "images": "scikit-learn's load_digits, pixels divided by 16",
    "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    "accuracy": {
      name: _accuracies(model, tflite, part)
      for name, part in zip(held._fields, held)
    },
  }


def _accuracies(model: Any, tflite: bytes, part: Part) -> dict[str, float]:
  x, y = part
  right = model.predict(x, verbose=0).argmax(axis=1) == y
  return {
    "images": len(y),
    "float": round(float(np.mean(right)), 4),
    "int8": round(tflm_fg.evaluate(tflite, x, y)["accuracy"], 4),
  }


def main() -> None:
  """Trains; writes the network and, beside it, where it came from."""
  beside = os.path.splitext(_OUT.value)[0] + ".json"
  files.require_outputs({**cli.values(_OUT), "out's .json": beside}, {})
  tflite, about = train(_EPOCHS.value, _SEED.value)
  text = cli.to_json(about)
  files.write_set({beside: text, _OUT.value: tflite})
  print(f"{text.decode()}{_OUT.value}: {len(tflite)} bytes")


def run() -> int:
  """The program."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
