"""Train a keyword model from scratch on a folder of recordings."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

import tflm_fg
from apps import checkpoints
from apps.kws.audio import folders
from apps.kws.audio.augment import Augment
from apps.kws.features import examples
from apps.kws.features.registry import Frontend
from apps.kws.model import saved_clips, scores
from apps.kws.model.network import belonging, ds_cnn, fit, for_conversion
from apps.kws.model.spotter import Spotter
from converters import quantize
from tflm_fg import files
from tflm_fg.callbacks import StopOnInterrupt
from tflm_fg.types import TflmFgError

REPRESENTATIVE_CLIPS = 480
FEWEST_CLIPS = 2


@dataclasses.dataclass(frozen=True)
class Trained:
  """What training from scratch gives.

  Attributes:
    network: the Keras model.
    spotter: the same, quantized and marked.
    replay: clips of the training, for later learning.
    report: accuracies and counts, JSON-ready.
  """

  network: Any
  spotter: Spotter
  replay: saved_clips.Kept
  report: dict[str, Any]


def train(
  root: str,
  frontend: Frontend,
  words: Sequence[str],
  *,
  name: str,
  epochs: int,
  seed: int,
  copies: int = 0,
  spare: int = 0,
  strict: bool = False,
  stop: StopOnInterrupt | None = None,
  checkpoint: str | None = None,
) -> Trained:
  """Trains, converts, marks and measures.

  Args:
    root: a folder in the Speech Commands layout.
    frontend: what makes the network's input.
    words: the classes, in order.
    name: of the model, for errors.
    epochs: passes over the clips.
    seed: of weights, order, noise and copies.
    copies: augmented copies of every clip.
    spare: outputs that no word has yet, for words that are enrolled later.
    strict: whether a recording that cannot be read stops it all.
    stop: what waits for signals, to keep what the epochs before them gave.
    checkpoint: folder that keeps finished epochs; None for none.

  Raises:
    Interrupted: if a signal came before the first epoch was finished.
    TflmFgError: if the folder does not fit, or TensorFlow is missing.
  """
  classes = (*words, *[folders.FREE] * spare)
  learning = examples.read(
    root,
    frontend,
    classes,
    split="training+validation",
    augment=Augment(copies=copies, seed=seed),
    seed=seed,
    name="--words",
    strict=strict,
  )
  _require_all(learning, words, root)
  tf = quantize.tensorflow()
  tf.keras.utils.set_random_seed(seed)
  tf.config.experimental.enable_op_determinism()
  options = {
    "shape": frontend.shape,
    "outputs": len(classes),
    "batch_momentum": 0.9,
  }
  built = ds_cnn(**options)
  stop = stop or StopOnInterrupt()
  x, y = learning.x, learning.y

  def belongs_to() -> dict[str, str]:
    return belonging(x, y, epochs, seed) | {"words": ", ".join(classes)}

  with checkpoints.opened(checkpoint, belongs_to) as memo:
    fit(built, x, y, epochs, stop, memo)
    if not stop.interrupted:
      memo.finish()
  with stop.deferred():
    return _trained(
      built,
      options,
      learning,
      Spotter(name, b"", frontend, classes),
      root,
      seed,
      stop,
    )


def _trained(
  built: Any,
  options: dict[str, Any],
  learning: examples.Examples,
  spotter: Spotter,
  root: str,
  seed: int,
  stop: StopOnInterrupt,
) -> Trained:
  """Converts, marks and measures what was trained."""
  rng = np.random.default_rng(seed)
  few = rng.permutation(len(learning))[:REPRESENTATIVE_CLIPS]
  quantized = quantize.to_integer(
    for_conversion(built, **options), learning.x[np.sort(few)]
  )
  marked = tflm_fg.mark_trainable(quantized, "head").data
  spotter = dataclasses.replace(spotter, model=marked)
  spotter = dataclasses.replace(spotter, model=spotter.to_bytes())
  replay = saved_clips.of(spotter, learning.x, learning.y, "head")
  report = {
    "interrupted": stop.interrupted,
    "clips": learning.counts(spotter.classes),
    "augmented_clips": int((learning.copy > 0).sum()),
    "notes": list(learning.notes),
    "data_notes": list(learning.doubts),
    **_measured(root, built, spotter, seed),
  }
  return Trained(built, spotter, replay, report)


def _require_all(
  found: examples.Examples, words: Sequence[str], root: str
) -> None:
  counts = found.counts(words)
  missing = [w for w in words if counts.get(w, 0) < FEWEST_CLIPS]
  if len(words) < 2 or missing:
    raise TflmFgError(
      f"{root}: need {FEWEST_CLIPS} or more clips of two or more classes to "
      f"learn from, too few of: {', '.join(missing) or 'all but one'}"
    )


def _measured(
  root: str, built: Any, spotter: Spotter, seed: int
) -> dict[str, Any]:
  """Accuracy on the part that no speaker of the training is in."""
  try:
    held_out = examples.read(
      root,
      spotter.frontend,
      spotter.classes,
      split="testing",
      seed=seed,
      progress=False,
    )
  except TflmFgError:  # few speakers: the hash put none there
    return {"testing": None}
  logits = built.predict(held_out.x, verbose=0)
  int8 = scores.score(spotter.open(), held_out.x, held_out.y)
  return {
    "testing": {
      "clips": len(held_out),
      "float": round(float(np.mean(logits.argmax(axis=1) == held_out.y)), 4),
      "int8": round(int8.accuracy, 4),
    }
  }


def keras_file(built: Any) -> bytes:
  """The bytes of a .keras file."""
  with tempfile.TemporaryDirectory() as folder:
    inner = os.path.join(folder, "model.keras")
    built.save(inner)
    return files.read_bytes(inner)
