"""The targets of tflm-fg-export: a module each, and their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from apps.export import (
  c_target,
  patch_target,
  signatures_target,
  tflm_target,
  web_target,
)

Export = Callable[[str, str], list[str]]
"""(path of the model, path of what is written) -> lines for the user.

It reads its flags from `apps.flags`, writes all or nothing, and raises
TflmFgError where it refuses.
"""

TARGETS: Mapping[str, Export] = {
  "tflm": tflm_target.export,
  "signatures": signatures_target.export,
  "web": web_target.export,
  "c": c_target.export,
  "patch": patch_target.export,
}
