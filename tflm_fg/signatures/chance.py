"""Tell labels that say something from labels by chance."""

from __future__ import annotations

from tflm_fg.signatures.engine import Engine, Value
from tflm_fg.signatures.head import HeadSpec


def beyond_chance(
  e: Engine, spec: HeadSpec, right: Value, count: Value
) -> Value:
  """Whether more samples are right than labels by chance would make.

  That is a sixth of the way from chance to all, and three samples more.

  Args:
    e: the engine.
    spec: of the head.
    right: int32, how many samples are right.
    count: int32, of how many.

  Returns:
    Truths in their shape.
  """
  bound = count * (spec.classes + 5) + 18 * spec.classes
  return right * (6 * spec.classes) >= bound
