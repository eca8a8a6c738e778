"""Read a .tflite, mark what trains, cut it and write it back."""

from tflm_fg.tflite.choice.outputs import choice_note, described, find_logits
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.contents.labels import (
  carried_note,
  packed_lists,
  unnamed_note,
  with_tail_of,
)
from tflm_fg.tflite.contents.operators import Kernel, kernels_of, new_kernels
from tflm_fg.tflite.graph_options import OPERATORS, UINT8, GraphOptions
from tflm_fg.tflite.inputs import resource_fault
from tflm_fg.tflite.layers import has_scale, tensor_name
from tflm_fg.tflite.model_file import (
  TYPE_NAMES,
  ModelFile,
  op_name,
  read,
  subgraph_of,
  verify,
)
from tflm_fg.tflite.packing import pack
from tflm_fg.tflite.select_trainable import (
  MarkedModel,
  input_spec,
  present_mark,
)
from tflm_fg.tflite.split_graph import Cut, cut, whole
from tflm_fg.tflite.surgery.class_outputs import add_rows, new_rows
from tflm_fg.tflite.surgery.edit import new_operator
from tflm_fg.tflite.surgery.input_prompt import channels_of
from tflm_fg.tflite.surgery.weight_precision import WEIGHTS
from tflm_fg.tflite.tensors import Part, Patchable, tensor_spec, weights_of
from tflm_fg.tflite.training_metadata import (
  describe_input,
  read_mark,
  write_mark,
)

__all__ = [
  "OPERATORS",
  "TYPE_NAMES",
  "UINT8",
  "WEIGHTS",
  "Cut",
  "GraphOptions",
  "Kernel",
  "MarkedModel",
  "ModelFile",
  "Part",
  "Patchable",
  "add_rows",
  "carried_note",
  "channels_of",
  "choice_note",
  "cut",
  "describe_input",
  "described",
  "find_logits",
  "has_scale",
  "input_spec",
  "kernels_of",
  "new_kernels",
  "new_operator",
  "new_rows",
  "op_name",
  "pack",
  "packed_lists",
  "present_mark",
  "read",
  "read_mark",
  "resource_fault",
  "subgraph_of",
  "tensor_name",
  "tensor_spec",
  "unmarked",
  "unnamed_note",
  "verify",
  "weights_of",
  "whole",
  "with_tail_of",
  "write_mark",
]
