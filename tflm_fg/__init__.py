"""Adapt quantized .tflite models on the device, with forward passes alone."""

from tflm_fg import callbacks, limits, losses, methods, optimizers, runtimes
from tflm_fg.adaptation import AdaptResult, adapt
from tflm_fg.evaluation import evaluate
from tflm_fg.fixed_point.native import core
from tflm_fg.inspection import inspect
from tflm_fg.journal import Journal
from tflm_fg.loading import load_samples
from tflm_fg.marking import mark_trainable, strip
from tflm_fg.replaying import replay
from tflm_fg.report import Report
from tflm_fg.samples.reading import LoadedSamples
from tflm_fg.signatures.simulation import simulate_signatures
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.select_trainable import MarkedModel
from tflm_fg.types import TflmFgError

__version__ = "0.1.0"

__all__ = [
  "AdaptResult",
  "GraphOptions",
  "Journal",
  "LoadedSamples",
  "MarkedModel",
  "Report",
  "TflmFgError",
  "adapt",
  "callbacks",
  "core",
  "evaluate",
  "inspect",
  "limits",
  "load_samples",
  "losses",
  "mark_trainable",
  "methods",
  "optimizers",
  "replay",
  "runtimes",
  "simulate_signatures",
  "strip",
]
