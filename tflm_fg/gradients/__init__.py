"""Gradients from forward passes."""

from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.method import (
  Method,
  TrainedPart,
  fields_of,
  named,
  register,
  registered,
)

__all__ = [
  "Directions",
  "Method",
  "TrainedPart",
  "fields_of",
  "named",
  "register",
  "registered",
]
