"""tflm-fg-kws train: train an int8 keyword model from scratch.

  tflm-fg-kws train --data=speech --out=kws.tflite
  tflm-fg-kws train --data=speech --words=yes,no,lamp --spare_outputs=3
    --out=kws.tflite
  tflm-fg-kws train --out=apps/kws/ds_cnn.tflite

With --data it trains on a folder in the Speech Commands layout, all but the
testing part, and writes the model, marked, with its front end and classes; a
.json of the same name; and a replay set, so that the model can learn later and
not forget. A name that ends in .keras gets the Keras model instead, for
tflm-fg-convert. Without --data it makes the synthetic speech of the model that
ships with this package, and that model.

With --data, Ctrl-C or SIGTERM keeps what the epochs before it gave, if there
are any; the .json says so. With --checkpoint finished epochs are kept, and the
same command goes on behind the last of them, to the same bytes.

Reproducible: on one machine with the same versions of TensorFlow, NumPy,
SciPy and espeakng-loader, the same flags give the same clips, the same
weights and the same bytes of the .tflite file. Not reproducible: on another
CPU or with other versions the floating-point sums may differ in their last
bits, and training lets that grow; the bytes differ then, and the accuracies
may too.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import sys
from typing import Any

import numpy as np
from absl import flags

import tflm_fg
from apps import checkpoints, cli
from apps.flags import checkpoint_flags, sound_flags
from apps.kws.audio import folders
from apps.kws.features import micro
from apps.kws.features.registry import NAMES, named
from apps.kws.model import replay_set, saved_clips, shipped, training
from apps.kws.model.network import belonging, ds_cnn, fit, for_conversion
from apps.kws.synthetic import features, voices
from converters import quantize
from tflm_fg import files
from tflm_fg.callbacks import StopOnInterrupt
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_OUT = flags.DEFINE_string(
  "out", None, "the .tflite, or with --data a .keras", required=True
)
_DATA = flags.DEFINE_string("data", None, "a folder with WORD/*.wav")
cli.section(cli.OFTEN)
_FRONTEND = flags.DEFINE_enum(
  "frontend", "micro", list(NAMES), "what makes the input of a clip"
)
_WORDS = flags.DEFINE_list(
  "words",
  None,
  "the classes; by default the ten keywords of Speech Commands where all are "
  "there, or every folder, with silence where there is background noise",
)
cli.section(cli.SOMETIMES)
_SPARE = flags.DEFINE_integer(
  "spare_outputs", 0, "outputs for words that are enrolled later", 0, 100
)
_COPIES = flags.DEFINE_integer(
  "copies", 0, "augmented copies of every clip of --data", 0, 100
)
_REPLAY_KB = flags.DEFINE_integer(
  "replay_kb", 96, "size of the replay set beside the model; 0 for none", 0
)
_CLIPS = flags.DEFINE_integer("clips_per_class", 500, "clips a class", 1)
_EPOCHS = flags.DEFINE_integer("epochs", 10, "passes over the clips", 1)
_SEED = flags.DEFINE_integer("seed", 0, "of the clips and the weights", 0)

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
  x, y = features.make("source", "train", clips_per_class, seed)
  model = ds_cnn()
  folder = checkpoint_flags.CHECKPOINT.value
  work = functools.partial(belonging, x, y, epochs, seed)
  with checkpoints.opened(folder, work) as memo:
    fit(model, x, y, epochs, memo=memo)
    memo.finish()
  quantized = quantize.to_integer(
    for_conversion(model), x[:REPRESENTATIVE_CLIPS]
  )
  tflite = tflm_fg.strip(
    tflm_fg.mark_trainable(quantized, "head").data
  )  # aligned
  provenance = {
    "script": "tflm-fg-kws train",
    "flags": {
      "clips_per_class": clips_per_class,
      "epochs": epochs,
      "seed": seed,
    },
    "classes": list(voices.CLASSES),
    "frontend": dataclasses.asdict(micro.PARAMETERS),
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
    x, y = features.make(name, "test", TEST_CLIPS_PER_CLASS, seed)
    logits = model.predict(x, verbose=0)
    accuracies[name] = {
      "clips": len(y),
      "float": round(float(np.mean(logits.argmax(axis=1) == y)), 4),
      "int8": round(tflm_fg.evaluate(tflite, x, y)["accuracy"], 4),
    }
  return accuracies


def main() -> None:
  """Trains and writes the model and, beside it, where it came from."""
  beside = os.path.splitext(_OUT.value)[0] + ".json"
  outputs = {**cli.values(_OUT), "out's .json": beside}
  if _DATA.value and _REPLAY_KB.value and not _OUT.value.endswith(".keras"):
    outputs["out's replay set"] = replay_set.beside(_OUT.value)
  files.require_outputs(outputs, {})
  if _DATA.value:
    train_on_folder(beside)
    return
  tflite, provenance = train(_CLIPS.value, _EPOCHS.value, _SEED.value)
  text = cli.to_json(provenance)
  files.write_set({beside: text, _OUT.value: tflite})
  print(f"{text.decode()}{_OUT.value}: {len(tflite)} bytes")


def train_on_folder(beside: str) -> None:
  """Trains on --data; writes the model, its .json and its replay set."""
  as_keras = _OUT.value.endswith(".keras")
  if not as_keras and not _OUT.value.endswith(".tflite"):
    raise TflmFgError(f"--out={_OUT.value}: need a .tflite or a .keras")
  with StopOnInterrupt() as stop:
    _train_and_write(beside, as_keras, stop)
    cli.end(stop, _OUT.value, checkpoint_flags.CHECKPOINT.value)


def _train_and_write(
  beside: str, as_keras: bool, stop: StopOnInterrupt
) -> None:
  """Trains and writes all files, or none."""
  trained = training.train(
    _DATA.value,
    named(_FRONTEND.value),
    tuple(_WORDS.value or folders.classes_of(_DATA.value)),
    name=_OUT.value,
    epochs=_EPOCHS.value,
    seed=_SEED.value,
    copies=_COPIES.value,
    spare=_SPARE.value,
    strict=sound_flags.STRICT.value,
    stop=stop,
    checkpoint=checkpoint_flags.CHECKPOINT.value,
  )
  spotter = trained.spotter
  text = cli.to_json(
    {
      "script": "tflm-fg-kws train --data",
      "flags": {"epochs": _EPOCHS.value, "seed": _SEED.value},
      "classes": list(spotter.classes),
      "frontend": spotter.frontend.to_json(),
      "versions": _versions(),
      **trained.report,
    }
  )
  with stop.deferred():
    # It may not fit: before anything is written.
    kept = b"" if as_keras else _kept_clips(trained)
  with stop.deferred(firmly=True):
    contents = {beside: text}
    if kept:
      contents[replay_set.beside(_OUT.value)] = kept
    network = spotter.model
    if as_keras:
      network = training.keras_file(trained.network)
    files.write_set({**contents, _OUT.value: network})
  print(f"{text.decode()}{_OUT.value}: trained on {_DATA.value}")


def _kept_clips(trained: training.Trained) -> bytes:
  """The clips for later learning, a file; empty for none."""
  if not _REPLAY_KB.value:
    return b""
  return saved_clips.packed(
    trained.replay, "replay_kb", _REPLAY_KB.value
  ).to_bytes()


def _versions() -> dict[str, str]:
  found = importlib.metadata.version
  return {name: found(name) for name in (*_PACKAGES, "soundfile")}


def run() -> int:
  """The subcommand."""
  return cli.launch(
    main, __name__, also=[sound_flags.__name__, checkpoint_flags.__name__]
  )


if __name__ == "__main__":
  sys.exit(run())
