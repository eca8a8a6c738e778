"""When a stream of outputs counts as a detection, and heads that learn to."""

from tflm_fg.detection.adaptation import adapt
from tflm_fg.detection.curve import Curve, Point, det_curve, point, scored_hours
from tflm_fg.detection.guard import require_adaptable
from tflm_fg.detection.model import Head, Model
from tflm_fg.detection.outcome import Attempt, Outcome
from tflm_fg.detection.rule import (
  Rule,
  cutoff_of,
  detections,
  probabilities,
)
from tflm_fg.detection.settings import Settings
from tflm_fg.detection.training import train_head
from tflm_fg.detection.trial import Numbers

__all__ = [
  "Attempt",
  "Curve",
  "Head",
  "Model",
  "Numbers",
  "Outcome",
  "Point",
  "Rule",
  "Settings",
  "adapt",
  "cutoff_of",
  "det_curve",
  "detections",
  "point",
  "probabilities",
  "require_adaptable",
  "scored_hours",
  "train_head",
]
