"""Turn a runtime's name into a session, and test that its writes are seen."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tflm_fg import rng
from tflm_fg.base import (
  Array,
  Session,
  Tensors,
  TflmFgError,
  TrainableTensor,
)
from tflm_fg.flatbuffer_cut import Part
from tflm_fg.litert_session import LiteRTSession, interpreter_maker
from tflm_fg.quant import saturate
from tflm_fg.quiet import native_output
from tflm_fg.tflm_session import TFLMSession

STRATEGIES = ("auto", "in-place", "rebuild")


class _Runtime(NamedTuple):
  """How to make sessions of one engine."""

  package: str  # what must be importable
  install: str  # what to pip install
  open: Callable[[Part, bool], Session]
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
    True,
  ),
  "litert-reference": _Runtime(
    "ai_edge_litert",
    "ai-edge-litert",
    _litert_like(_LITERT, "BUILTIN_REF", "litert-reference", 0),
    True,
  ),
  "litert-xnnpack": _Runtime(
    "ai_edge_litert",
    "ai-edge-litert",
    _litert_like(_LITERT, _XNNPACK[0], "litert-xnnpack", _XNNPACK[1]),
    False,
  ),
  "tflite-runtime": _Runtime(
    "tflite_runtime",
    "tflm-fg[tflite-runtime]",
    _litert_like("tflite_runtime.interpreter", _OPTIMIZED, "tflite-runtime", 2),
    True,
  ),
  "tf": _Runtime(
    "tensorflow",
    "tflm-fg[tf]",
    _litert_like("tensorflow", _OPTIMIZED, "tf", 2),
    True,
  ),
  "tflm": _Runtime("tflite_micro", "tflm-fg[tflm]", _tflm, True),
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
  if name not in _RUNTIMES:
    raise TflmFgError(
      f"runtime {name!r} is unknown; choose one of {', '.join(NAMES)}"
    )
  if strategy not in STRATEGIES:
    raise TflmFgError(
      f"strategy {strategy!r} is unknown; choose one of {', '.join(STRATEGIES)}"
    )
  runtime = _RUNTIMES[name]
  if not is_installed(name):
    raise TflmFgError(
      f"runtime {name!r} is not installed; pip install '{runtime.install}'"
    )
  in_place = runtime.in_place if strategy == "auto" else strategy == "in-place"
  try:
    with native_output() as last_line:
      try:
        return runtime.open(part, in_place)
      except (TflmFgError, RuntimeError, ValueError) as fault:
        raise TflmFgError(f"{name}: {fault} {last_line()}".rstrip()) from None
  except (ImportError, SystemError, AttributeError) as fault:
    raise TflmFgError(
      f"runtime {name!r} does not import ({fault}); pip install "
      f"'{runtime.install}' in an environment of its own"
    ) from None


class Visibility(NamedTuple):
  """The guard's verdict on one tensor."""

  tensor: TrainableTensor
  seen: bool
  cause: str  # empty if seen


def check_visibility(
  session: Session,
  tensors: tuple[TrainableTensor, ...],
  probes: Tensors | None = None,
) -> list[Visibility]:
  """Changes each trainable tensor and looks whether the output changes.

  Args:
    session: where the tensors will be written; left as it was.
    tensors: the trainable tensors, the session's order.
    probes: inputs of at least one clip; zeros would hide a kernel.

  Returns:
    One verdict a tensor.
  """
  before = session.params()
  inputs = (
    probes
    if probes is not None
    else tuple(
      rng.probe_input(shape, dtype, number)
      for number, (shape, dtype) in enumerate(session.input_specs)
    )
  )
  quiet = session.run(inputs)
  verdicts: list[Visibility] = []
  for number, tensor in enumerate(tensors):
    changed = [np.array(w) for w in before]
    changed[number] = _shifted(changed[number], tensor)
    session.load(changed)
    seen = any(
      not np.array_equal(a, b) for a, b in zip(quiet, session.run(inputs))
    )
    # All sums of low bytes may lie under half a step of these outputs; what
    # runs them runs their kernel too.
    seen = seen or (tensor.is_low and verdicts[-1].seen)
    verdicts.append(Visibility(tensor, seen, "" if seen else _cause(session)))
    session.load(before)
  return verdicts


def require_visible(
  session: Session,
  tensors: tuple[TrainableTensor, ...],
  probes: Tensors | None = None,
) -> None:
  """Refuses to train where a write would change nothing.

  Raises:
    TflmFgError: naming the first tensor whose write is not seen.
  """
  for verdict in check_visibility(session, tensors, probes):
    if not verdict.seen:
      raise TflmFgError(
        f"runtime {session.traits.runtime!r} does not see a write to "
        f"{verdict.tensor.name!r}: {verdict.cause}"
      )


def _shifted(array: NDArray[Any], tensor: TrainableTensor) -> Array:
  """Another value for every element, far enough to move the outputs."""
  if array.dtype.kind == "f":  # of a float twin
    return array + np.where(array > 0, -1, 1).astype(array.dtype)
  if tensor.has_master:
    most = 127 << (8 * array.itemsize - 8)
    return np.where(array > 0, -most, most).astype(array.dtype)
  steps = np.resize(np.asarray(tensor.output_step, np.int64), array.shape)
  signs = np.where(np.arange(array.size) % 2, 60, -60).reshape(array.shape)
  return saturate(array + signs * steps, array.dtype)


def _cause(session: Session) -> str:
  if session.traits.in_place and session.traits.runtime == "litert-xnnpack":
    return (
      "XNNPACK packed the weights when the interpreter was made; use "
      "--strategy=rebuild or --runtime=litert"
    )
  if session.traits.in_place:
    return (
      "its kernel or a delegate keeps a copy of the weights, or nothing after "
      "this tensor reaches the output; try --strategy=rebuild"
    )
  return "nothing after this tensor reaches the output; mark other tensors"
