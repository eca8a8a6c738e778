"""Turn a runtime's name into a session: on which kernels, written how."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tflm_fg.runtimes.interpreters import interpreter_maker
from tflm_fg.runtimes.litert import LiteRTSession
from tflm_fg.runtimes.session import Session
from tflm_fg.runtimes.streams import (
  LiteRTStream,
  StreamPlan,
  StreamSession,
  TFLMStream,
)
from tflm_fg.runtimes.tflm import TFLMSession
from tflm_fg.runtimes.trial import require_session, require_stream
from tflm_fg.tflite import known_forms
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.tensors import Part
from tflm_fg.types import TflmFgError, one_line

STRATEGIES = ("auto", "in-place", "rebuild")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
  """Which engine runs the passes, and how.

  Attributes:
    runtime: one of `runtimes.NAMES`, for what trains.
    strategy: "in-place"; "rebuild", on "litert" with XNNPACK's kernels; or
      "auto", which on "litert" rebuilds where a batch is much work.
    exact_prefix: run frozen layers on `runtime` too. By default they run on
      XNNPACK, three to four times faster than optimized kernels; features
      differ by up to 3 steps, 0.1 to 0.3 on the mean, which changed up to
      2.6 % of a head's answers and its accuracy by less than a point
      (docs/measurements.md). Where XNNPACK refuses them, they run on `runtime`.
    workers: passes side by side, at most; None for as many as pay.
    target: one of `runtimes.TARGETS`: an engine that must run every file too
      that is tried or written.
  """

  runtime: str = "litert"
  strategy: str = "auto"
  exact_prefix: bool = False
  workers: int | None = None
  target: str = "any"


class _Runtime(NamedTuple):
  """How to make sessions of one engine."""

  package: str  # what must be importable
  install: str  # what to pip install
  open: Callable[[Part, bool], Session]
  stream: Callable[[StreamPlan], StreamSession]
  in_place: bool  # what "auto" means


def _litert_like(
  module: str,
  resolver: str,
  name: str,
  lsb: int,
  rebuilt: tuple[str, int] | None = None,
) -> Callable[[Part, bool], Session]:
  """Opens with `resolver`, or when rebuilding with `rebuilt`'s and its LSBs."""

  def open_part(part: Part, in_place: bool) -> Session:
    kernels, most = (resolver, lsb) if in_place else rebuilt or (resolver, lsb)
    make = interpreter_maker(_engine(module), kernels)
    return LiteRTSession(part, make, name, in_place, most)

  return open_part


def _litert_stream(
  module: str, resolver: str
) -> Callable[[StreamPlan], StreamSession]:
  """Opens streams with one of the engine's op resolvers."""

  def open_plan(plan: StreamPlan) -> StreamSession:
    return LiteRTStream(plan, interpreter_maker(_engine(module), resolver))

  return open_plan


def _engine(module: str) -> Any:
  """The module with Interpreter and OpResolverType."""
  if module != "tensorflow":
    return importlib.import_module(module)
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  tensorflow = importlib.import_module("tensorflow")
  experimental = tensorflow.lite.experimental

  class _TensorFlowLite:
    OpResolverType = experimental.OpResolverType

    @staticmethod
    def Interpreter(**options: Any) -> Any:  # noqa: N802
      with warnings.catch_warnings():  # "use LiteRT": the user chose this one
        warnings.simplefilter("ignore", UserWarning)
        return tensorflow.lite.Interpreter(**options)

  return _TensorFlowLite


def _tflm(part: Part, in_place: bool) -> Session:
  if not in_place:
    raise TflmFgError("runtime 'tflm' writes in place; drop --strategy=rebuild")
  return TFLMSession(part)


_LITERT = "ai_edge_litert.interpreter"
_OPTIMIZED = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
_XNNPACK = ("BUILTIN", 6)
_RUNTIMES = {
  "litert": _Runtime(
    "ai_edge_litert",
    "ai-edge-litert",
    _litert_like(_LITERT, _OPTIMIZED, "litert", 2, rebuilt=_XNNPACK),
    _litert_stream(_LITERT, _OPTIMIZED),
    True,
  ),
  "litert-reference": _Runtime(
    "ai_edge_litert",
    "ai-edge-litert",
    _litert_like(_LITERT, "BUILTIN_REF", "litert-reference", 0),
    _litert_stream(_LITERT, "BUILTIN_REF"),
    True,
  ),
  "litert-xnnpack": _Runtime(
    "ai_edge_litert",
    "ai-edge-litert",
    _litert_like(_LITERT, _XNNPACK[0], "litert-xnnpack", _XNNPACK[1]),
    _litert_stream(_LITERT, _XNNPACK[0]),
    False,
  ),
  "tflite-runtime": _Runtime(
    "tflite_runtime",
    "tflm-fg[tflite-runtime]",
    _litert_like("tflite_runtime.interpreter", _OPTIMIZED, "tflite-runtime", 2),
    _litert_stream("tflite_runtime.interpreter", _OPTIMIZED),
    True,
  ),
  "tf": _Runtime(
    "tensorflow",
    "tflm-fg[tf]",
    _litert_like("tensorflow", _OPTIMIZED, "tf", 2),
    _litert_stream("tensorflow", _OPTIMIZED),
    True,
  ),
  "tflm": _Runtime("tflite_micro", "tflm-fg[tflm]", _tflm, TFLMStream, True),
}

NAMES = tuple(_RUNTIMES)


def is_installed(name: str) -> bool:
  """Whether a runtime's package can be found."""
  return importlib.util.find_spec(_RUNTIMES[name].package) is not None


def installed() -> list[str]:
  """The runtimes that can be used here."""
  return [name for name in NAMES if is_installed(name)]


def rebuilds_faster(name: str) -> bool:
  """Whether rebuilding brings kernels that may be faster than in place."""
  return name == "litert"


def open_frozen(name: str, part: Part, exact: bool) -> Session:
  """Opens a part without trained tensors.

  It is written never, so XNNPACK may pack it, whatever runs the rest.

  Args:
    name: the runtime of the trained part.
    part: what to run.
    exact: to run it on `name` too, as it also does where XNNPACK refuses.

  Raises:
    TflmFgError: if the runtime is unknown, missing, or refuses the model.
  """
  if not exact:
    try:
      return open_session("litert-xnnpack", part, "in-place")
    except TflmFgError:
      pass
  return open_session(name, part)


def open_session(name: str, part: Part, strategy: str = "auto") -> Session:
  """Opens a part of the graph in a runtime.

  Args:
    name: one of `NAMES`.
    part: what to run.
    strategy: "in-place", "rebuild", or "auto" for what fits the runtime.

  Raises:
    TflmFgError: if the runtime is unknown, missing, or refuses the model.
  """
  runtime = _known(name, part.file)
  if strategy not in STRATEGIES:
    raise TflmFgError(
      f"strategy {strategy!r} is unknown; choose one of {', '.join(STRATEGIES)}"
    )
  in_place = runtime.in_place if strategy == "auto" else strategy == "in-place"
  with _faults_told(name):
    require_session(part, name, in_place)
    return runtime.open(part, in_place)


def open_stream(name: str, plan: StreamPlan) -> StreamSession:
  """Opens what runs step by step in a runtime.

  Args:
    name: one of `NAMES`.
    plan: what to run.

  Raises:
    TflmFgError: if the runtime is unknown, missing, or refuses the model.
  """
  runtime = _known(name, plan.file)
  with _faults_told(name):
    require_stream(plan.file, name)
    return runtime.stream(plan)


def _known(name: str, file: ModelFile) -> _Runtime:
  """A runtime that is installed and reads the file rightly."""
  if name not in _RUNTIMES:
    raise TflmFgError(
      f"runtime {name!r} is unknown; choose one of {', '.join(NAMES)}"
    )
  runtime = _RUNTIMES[name]
  if not is_installed(name):
    raise TflmFgError(
      f"runtime {name!r} is not installed; pip install '{runtime.install}'"
    )
  fault = known_forms.refusal(file.subgraph, name)
  if fault:
    raise TflmFgError(f"{file.name}: {fault}")
  return runtime


@contextlib.contextmanager
def _faults_told(name: str) -> Iterator[None]:
  """Says in one line why a runtime does not open a file."""
  try:
    yield
  except (TflmFgError, RuntimeError, ValueError, MemoryError) as fault:
    raise TflmFgError(f"{name}: {one_line(fault)}") from None
  except (ImportError, SystemError, AttributeError) as fault:
    raise TflmFgError(
      f"runtime {name!r} does not import ({fault}); pip install "
      f"'{_RUNTIMES[name].install}' in an environment of its own"
    ) from None


_PACKAGES = (
  "tflm-fg",
  "numpy",
  "ai-edge-litert",
  "tflite-runtime",
  "tensorflow-cpu",
  "tensorflow",
  "tflite-micro",
)


def versions() -> dict[str, str]:
  """Versions of this project and of the engines that are installed."""
  return dict(_versions())


@functools.cache
def _versions() -> Mapping[str, str]:
  """They stay as they are while a process runs, and are slow to read."""
  found = {}
  for package in _PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found
