"""Losses in fixed point, one integer a sample."""

from tflm_fg.losses.base import Loss, LossFunction
from tflm_fg.losses.binary_cross_entropy import (
  BernoulliInformation,
  BinaryCrossEntropy,
)
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.losses.custom import BlackBox
from tflm_fg.losses.information_maximization import InformationMaximisation
from tflm_fg.losses.squared_error import SquaredError

__all__ = [
  "BernoulliInformation",
  "BinaryCrossEntropy",
  "BlackBox",
  "CrossEntropy",
  "InformationMaximisation",
  "Loss",
  "LossFunction",
  "SquaredError",
]
