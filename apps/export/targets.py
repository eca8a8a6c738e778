"""The targets of tflm-fg-export: a module each, and their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from absl import flags

from apps.export import (
  c_target,
  patch_target,
  signatures_target,
  tflm_target,
  web_target,
)
from apps.flags import export_flags, graph_flags, output_flags, setting_flags
from tflm_fg.types import TflmFgError

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

_GRAPH = {
  *(holder.name for holder in graph_flags.HOLDERS),
  output_flags.OUTPUT.name,
  output_flags.INPUT.name,
  export_flags.TRAINABLE.name,
}
"""Flags of what trains, and where."""

_OWN: Mapping[str, set[str]] = {
  "tflm": {*_GRAPH, *setting_flags.NAMES, export_flags.SAMPLES.name},
  "signatures": {
    *(_GRAPH - {"operators"}),  # such a file needs more of them in any case
    "batch_size",
    export_flags.CAPACITY.name,
    export_flags.IO.name,
  },
  "web": set(),
  "c": set(),
  "patch": {
    *_GRAPH,
    "batch_size",
    export_flags.BASE.name,
    export_flags.LEARNED.name,
  },
}
"""Target -> the flags that it reads, beside --model and --out."""


def require_read(target: str) -> None:
  """Refuses flags of the command line that a target does not read.

  Args:
    target: its name.

  Raises:
    TflmFgError: naming them, and the targets that do.
  """
  known = sorted(set().union(*_OWN.values()) - _OWN[target])
  for name in known:
    if flags.FLAGS[name].present:
      readers = [other for other, own in _OWN.items() if name in own]
      raise TflmFgError(
        f"--{name}: says nothing with --target={target}; leave it out, or give "
        f"--target={' or '.join(readers)}"
      )
