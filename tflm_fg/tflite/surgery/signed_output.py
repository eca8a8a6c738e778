"""Give away uint8 logits as int8, which losses compute with.

A uint8 number less 128, with the zero point less 128, is the same real number.
Files stay as they are: only the pieces that training and scoring run have a
QUANTIZE behind such logits.
"""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from tflm_fg.tflite.layers import tensor_name
from tflm_fg.tflite.surgery.edit import add_tensor, insert_operator
from tflm_fg.types import TensorSpec

_HALF = 128


def signed(spec: TensorSpec) -> TensorSpec:
  """The grid on which pieces give away a tensor: int8 in place of uint8."""
  if spec.dtype != "uint8":
    return spec
  return spec._replace(dtype="int8", zero_point=spec.zero_point - _HALF)


def sign_output(model: schema.ModelT, number: int) -> None:
  """Puts QUANTIZE behind a uint8 output of subgraph 0; leaves others alone.

  Args:
    model: the unpacked model, edited.
    number: which output.
  """
  graph = model.subgraphs[0]
  index = int(graph.outputs[number])
  tensor = graph.tensors[index]
  if tensor.type != schema.TensorType.UINT8 or tensor.quantization is None:
    return
  grid = tensor.quantization
  fresh = add_tensor(
    model,
    tensor_name(tensor) + "/int8",
    tuple(int(d) for d in tensor.shape),
    "int8",
    float(grid.scale[0]),
    int(grid.zeroPoint[0]) - _HALF,
  )
  insert_operator(
    model,
    len(graph.operators),
    "QUANTIZE",
    [index],
    fresh,
    schema.QuantizeOptionsT(),
    2,
  )
  graph.outputs = [
    fresh if place == number else int(output)
    for place, output in enumerate(graph.outputs)
  ]
