"""Adapt quantized .tflite models on the device, with forward passes alone."""

from tflm_fg.adaptation import Adapted, adapt
from tflm_fg.evaluation import evaluate_model
from tflm_fg.journal import replay
from tflm_fg.tflite.select_trainable import mark_trainable, present_mark
from tflm_fg.tflite.training_metadata import strip
from tflm_fg.training.settings import Settings
from tflm_fg.types import TflmFgError

__version__ = "0.1.0"

__all__ = [
  "Adapted",
  "Settings",
  "TflmFgError",
  "adapt",
  "evaluate_model",
  "mark_trainable",
  "present_mark",
  "replay",
  "strip",
]
