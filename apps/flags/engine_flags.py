"""The flags that say which engine runs the passes, and how."""

from __future__ import annotations

from typing import Any

from absl import flags

from apps import cli
from tflm_fg.runtimes import NAMES, STRATEGIES

cli.section(cli.SOMETIMES)
RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(NAMES), "the engine that runs the passes"
)
WORKERS = flags.DEFINE_integer(
  "workers",
  None,
  "passes to run side by side; by default as many as there are cores, or 1 "
  "where threads do not pay; it changes no number",
)

cli.section(cli.SELDOM)
STRATEGY = flags.DEFINE_enum(
  "strategy",
  "auto",
  list(STRATEGIES),
  "write weights in place; rebuild the interpreter for every pass, which on "
  "litert runs XNNPACK's kernels; or auto, which rebuilds there where a batch "
  "is much work",
)
EXACT_PREFIX = flags.DEFINE_boolean(
  "exact_prefix",
  False,
  "run frozen layers on --runtime too, and not on XNNPACK, which differs from "
  "other kernels by a few steps",
)

HOLDERS = (RUNTIME, STRATEGY, EXACT_PREFIX, WORKERS)
"""All of them."""


def engine() -> dict[str, Any]:
  """The engine as the command line says, as `tflm_fg.adapt` takes it."""
  return {holder.name: holder.value for holder in HOLDERS}
