"""Name the operators that a file needs, as engines have to know them.

An engine finds a kernel by an operator's name; LiteRT also looks at the
version, which grows where an operator learns new types or options. TFLM ignores
the version: there a program adds every operator to a MicroMutableOpResolver,
by a method of its own (micro_mutable_op_resolver.h).
"""

from __future__ import annotations

from typing import NamedTuple

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.model_file import OP_NAMES, ModelFile


class Kernel(NamedTuple):
  """An operator that an engine must have.

  Attributes:
    name: the builtin's name, or the custom code.
    version: the lowest that can do what the file asks for.
    is_custom: whether an application must bring it.
  """

  name: str
  version: int
  is_custom: bool = False

  @property
  def resolver_call(self) -> str:
    """What a MicroMutableOpResolver is told, as C++."""
    if self.is_custom and self.name not in _BROUGHT:
      return f'AddCustom("{self.name}", ...)'
    if self.is_custom:
      return f"Add{_BROUGHT[self.name]}()"
    if self.name in _IRREGULAR:
      return f"Add{_IRREGULAR[self.name]}()"
    parts = (
      part if part in _UPPER else part.capitalize()
      for part in self.name.split("_")
    )
    return f"Add{''.join(parts)}()"


_UPPER = ("2D", "LSTM")
_IRREGULAR = {
  "BATCH_MATMUL": "BatchMatMul",
  "CUMSUM": "CumSum",
  "PADV2": "PadV2",
}
"""Operators whose method is not named by the rule."""

_BROUGHT = {
  "CIRCULAR_BUFFER": "CircularBuffer",
  "TFLite_Detection_PostProcess": "DetectionPostprocess",
  "ethos-u": "EthosU",
}
"""Custom operators that TFLM brings itself."""


def kernels_of(file: ModelFile) -> tuple[Kernel, ...]:
  """The operators that all subgraphs of a file use, each once, by name.

  Of an operator in several versions each one is listed.
  """
  root = schema.Model.GetRootAsModel(file.data, 0)
  used = set()
  for number in range(root.SubgraphsLength()):
    graph = root.Subgraphs(number)
    used |= {
      graph.Operators(n).OpcodeIndex() for n in range(graph.OperatorsLength())
    }
  return tuple(sorted({_kernel(root.OperatorCodes(i)) for i in used}))


def _kernel(code: schema.OperatorCode) -> Kernel:
  number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
  if number == schema.BuiltinOperator.CUSTOM:
    name = (code.CustomCode() or b"CUSTOM").decode("utf-8", "replace")
    return Kernel(name, code.Version(), True)
  name = OP_NAMES.get(number, f"operator code {number}")
  return Kernel(name, code.Version())


def new_kernels(before: ModelFile, after: ModelFile) -> tuple[Kernel, ...]:
  """The operators that a file needs and another one did not.

  An operator in a higher version than any before is among them: an engine may
  know the old one alone.

  Args:
    before: the file as it came.
    after: the file that was made of it.
  """
  highest: dict[tuple[str, bool], int] = {}
  for kernel in kernels_of(before):
    key = kernel.name, kernel.is_custom
    highest[key] = max(kernel.version, highest.get(key, 0))
  return tuple(
    kernel
    for kernel in kernels_of(after)
    if kernel.version > highest.get((kernel.name, kernel.is_custom), -1)
  )
