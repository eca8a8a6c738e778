"""The default method: exact where it can be, forward gradients elsewhere."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from tflm_fg.gradients.method import Method, fields_of, register
from tflm_fg.gradients.spsa import DirectionalMethod
from tflm_fg.losses.base import LossFunction
from tflm_fg.losses.custom import exact_refusal
from tflm_fg.types import TflmFgError


@register
@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Auto(DirectionalMethod):
  """The closed form for the head, and for what lies before it one of two.

  A prompt alone has a direction for every sample, unless settings are given
  that it does not take; all else has sign-m-SPSA.

  What is given here goes to every phase whose method takes it.

  Example:
    >>> tflm_fg.adapt(model, x, y, method=Auto(seed=3, steps=100))
  """

  name: ClassVar[str] = "auto"

  def as_phase(self, kind: type[Method], **own: Any) -> Method:
    """The method of a phase, with what was given here and it takes."""
    names = set(fields_of(kind)) & set(fields_of(type(self)))
    values = {**own, **{n: v for n, v in self.given.items() if n in names}}
    return kind(**values)


def method_or_auto(method: Method | None, loss: str | LossFunction) -> Method:
  """The method that a user gave, or `Auto`.

  Raises:
    TflmFgError: for what is no method, or has no use for a function.
  """
  if method is None:
    return Auto()
  if not isinstance(method, Method):
    raise TflmFgError(
      f"method={method!r}: need one of tflm_fg.methods, as methods.SignSPSA()"
    )
  if method.is_exact and not isinstance(loss, str):
    raise TflmFgError(exact_refusal(loss))
  return method
