"""Integers, where they lie, and random bits by address."""

from tflm_fg.fixed_point.arithmetic import (
  MASTER_UNIT,
  dequantize,
  quantize,
  saturate,
)
from tflm_fg.fixed_point.layout import Layout, along_channels
from tflm_fg.fixed_point.state import Estimate, TrainState, Transform

__all__ = [
  "MASTER_UNIT",
  "Estimate",
  "Layout",
  "TrainState",
  "Transform",
  "along_channels",
  "dequantize",
  "quantize",
  "saturate",
]
