"""When a stream of outputs counts as a detection, and heads that learn to."""

from tflm_fg.detection.curve import Curve, Point, det_curve, point, scored_hours
from tflm_fg.detection.rule import (
  Rule,
  cutoff_of,
  detections,
  probabilities,
)
from tflm_fg.detection.settings import Settings
from tflm_fg.detection.training import train_head

__all__ = [
  "Curve",
  "Point",
  "Rule",
  "Settings",
  "cutoff_of",
  "det_curve",
  "detections",
  "point",
  "probabilities",
  "scored_hours",
  "train_head",
]
