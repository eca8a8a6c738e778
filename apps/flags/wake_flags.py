"""The flags of a wake word model, for all programs that open one."""

from __future__ import annotations

from typing import Any

from absl import flags

from apps import cli
from tflm_fg import runtimes

ESPHOME, WHEEL = "esphome", "wheel"
"""Rules by which the front end's features become int8."""

cli.section(cli.NEEDED)
MODEL = flags.DEFINE_string(
  "model", None, "a streaming int8 .tflite of a wake word", required=True
)
cli.section(cli.OFTEN)
MANIFEST = flags.DEFINE_string(
  "manifest",
  None,
  "the model's manifest; by default the .json of the model's name beside it",
)
CUTOFF = flags.DEFINE_float(
  "cutoff",
  None,
  "probability above which the word counts as heard; by default the manifest's",
  0,
  1,
)
WINDOW = flags.DEFINE_integer(
  "window",
  None,
  "steps of the sliding window whose mean is compared with the cutoff; by "
  "default the manifest's",
  1,
  1000,
)
WAKE_WORD = flags.DEFINE_string(
  "wake_word",
  None,
  "what is said to wake it; by default the manifest's",
)
OUTPUT = flags.DEFINE_integer(
  "output",
  None,
  "for a model of several words: which output stands for the word, from 0",
  0,
)
cli.section(cli.SOMETIMES)
QUANTIZATION = flags.DEFINE_enum(
  "quantization",
  ESPHOME,
  [ESPHOME, WHEEL],
  "the rule by which features become int8: ESPHome's, or that of the package "
  "pymicro-wakeword; they differ by one step in a tenth of the values",
)
RUNTIME = flags.DEFINE_enum(
  "runtime",
  "litert-reference",
  list(runtimes.NAMES),
  "the engine that runs the model; by default one whose last layer reads the "
  "numbers that it reads in TensorFlow Lite Micro",
)


def asked() -> dict[str, Any]:
  """What the flags say of the model, as `detector.opened` takes it."""
  return {
    "path": MODEL.value,
    "manifest_path": MANIFEST.value,
    "cutoff": CUTOFF.value,
    "window": WINDOW.value,
    "wake_word": WAKE_WORD.value,
    "output": OUTPUT.value,
    "rule": QUANTIZATION.value,
    "runtime": RUNTIME.value,
  }
