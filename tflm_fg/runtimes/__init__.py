"""Engines that run a model and let its weights be set."""

from tflm_fg.runtimes.interpreters import interpreter_maker
from tflm_fg.runtimes.registry import (
  NAMES,
  STRATEGIES,
  RuntimeOptions,
  installed,
  is_installed,
  open_session,
  open_stream,
  versions,
)
from tflm_fg.runtimes.session import Session, Traits
from tflm_fg.runtimes.streams import Carried, StreamPlan, StreamSession
from tflm_fg.runtimes.trial import (
  TARGETS,
  require_loads,
  require_runs,
  require_target,
)
from tflm_fg.runtimes.write_check import check_visibility, require_visible

__all__ = [
  "NAMES",
  "STRATEGIES",
  "TARGETS",
  "Carried",
  "RuntimeOptions",
  "Session",
  "StreamPlan",
  "StreamSession",
  "Traits",
  "check_visibility",
  "installed",
  "interpreter_maker",
  "is_installed",
  "open_session",
  "open_stream",
  "require_loads",
  "require_runs",
  "require_target",
  "require_visible",
  "versions",
]
