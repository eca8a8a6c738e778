"""Make interpreters of the packages that share LiteRT's Python interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MakeInterpreter = Callable[[bytes], Any]
"""Makes an engine's interpreter from private model bytes."""


def interpreter_maker(module: Any, resolver: str) -> MakeInterpreter:
  """Makes interpreters of `module` with one of its op resolvers.

  Args:
    module: ai_edge_litert.interpreter, tflite_runtime.interpreter or tf.lite,
      with its OpResolverType.
    resolver: a name of OpResolverType: "BUILTIN" (XNNPACK), "BUILTIN_REF" or
      "BUILTIN_WITHOUT_DEFAULT_DELEGATES".
  """
  kernels = getattr(module.OpResolverType, resolver)

  def make(model: bytes) -> Any:
    return module.Interpreter(
      model_content=model,
      experimental_op_resolver_type=kernels,
      num_threads=1,
    )

  return make
