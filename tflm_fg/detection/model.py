"""What a model is to its detections; `streaming.StreamModel` is one.

Nothing here runs an engine by itself, so that rules, losses and the guard are
the same for any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tflm_fg.detection.rule import Outputs
from tflm_fg.types import Array, Int8, Int32


class Head(Protocol):
  """The last layer of a model; `streaming.Head` says what each number is."""

  @property
  def weights(self) -> Int8:
    """Of the layer, int8 [outputs, features]; their zero point is 0."""

  @property
  def bias(self) -> Int32:
    """Of the layer, int32 [outputs], in units of the sums."""

  @property
  def weight_scales(self) -> Sequence[float]:
    """One or one an output."""

  @property
  def input_scale(self) -> float:
    """Of what the layer reads."""

  @property
  def input_zero_point(self) -> int:
    """Of what the layer reads."""

  @property
  def logit_scale(self) -> float:
    """Of what the layer makes, int8."""

  @property
  def logit_zero_point(self) -> int:
    """Of what the layer makes."""

  @property
  def activation(self) -> str:
    """LOGISTIC or SOFTMAX, or empty for none."""

  @property
  def output_scale(self) -> float:
    """Of what the model gives away; 0 for floats."""

  @property
  def output_dtype(self) -> str:
    """Of what the model gives away."""


class Model(Protocol):
  """A model whose frozen part has run; `streaming.StreamModel` is one."""

  @property
  def head(self) -> Head:
    """Its last layer."""

  def head_outputs(
    self,
    head_inputs: Int8,
    weights: Array | None = None,
    bias: Array | None = None,
  ) -> Outputs:
    """What the engine gives behind the last layer: [T, outputs].

    Args:
      head_inputs: int8 [T, features].
      weights: of the head; None for the file's.
      bias: of the head; None for the file's.
    """
