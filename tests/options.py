"""Settings by name, as flags have them, made into what functions take."""

from __future__ import annotations

from typing import Any

from tflm_fg.methods import Auto, DirectionalMethod, Method, named, registered
from tflm_fg.training.objective import Objective

FORWARD = sorted(
  name
  for name, kind in registered().items()
  if issubclass(kind, DirectionalMethod) and kind is not Auto
)
"""The names of the methods that perturb weights along directions."""

_OBJECTIVE = ("loss", "huber_delta", "labels")


def options(method: str = "auto", **settings: Any) -> dict[str, Any]:
  """What `tflm_fg.adapt` takes, from settings of method and loss alike."""
  loss = {k: v for k, v in settings.items() if k in _OBJECTIVE}
  own = {k: v for k, v in settings.items() if k not in _OBJECTIVE}
  return {"method": named(method, **own), **loss}


def method_of(method: str, **settings: Any) -> Method:
  """A method with everything chosen that does not need measuring."""
  loss = settings.pop("loss", "cross-entropy")
  quadratic = Objective(loss=loss).is_quadratic
  return named(method, **settings).filled(quadratic)
