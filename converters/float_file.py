"""Tell float .tflite files from integer ones, and quantize a float one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import quantize
from converters.comparison import Outputs, file_outputs
from tflm_fg.tflite import ModelFile, resource_fault, with_tail_of
from tflm_fg.types import TflmFgError, one_line

FLOAT, DYNAMIC_RANGE, INTEGER = "float", "dynamic-range", "integer"


def kind_of(file: ModelFile) -> str:
  """What a file computes with.

  Returns:
    "integer" where any layer has integer activations; "dynamic-range" where
    integer weights meet float activations, or are turned to floats while the
    model runs; else "float", also for float16 weights.

  Raises:
    TflmFgError: if its weights or its state are resource variables.
  """
  graph = file.subgraph
  if fault := resource_fault(graph):
    raise TflmFgError(f"{file.name}: {fault}")
  types = {
    tensor.dtype
    for tensor in graph.tensors
    if not tensor.is_constant and tensor.scales
  }
  if types & {"int8", "uint8", "int16"}:
    return INTEGER
  floats = any(t.dtype in ("float32", "float16") for t in graph.tensors)
  if not floats:
    return INTEGER
  weights = {
    tensor.dtype
    for tensor in graph.tensors
    if tensor.is_constant and tensor.scales and len(tensor.shape) > 1
  }
  return DYNAMIC_RANGE if weights & {"int8", "uint8", "int4"} else FLOAT


def cure(path: str, kind: str) -> str:
  """One line that says which command makes an integer file of this one."""
  if kind == FLOAT:
    return (
      f"{path}: computes in floats; add --calibration=X.npz with x, about 100 "
      "of your samples as floats, and this command makes an int8 file of it"
    )
  return (
    f"{path}: a dynamic-range file, int8 weights with float activations; give "
    "--model the model that it was made from (.keras, a SavedModel or a float "
    ".tflite), with --calibration=X.npz of about 100 samples"
  )


def to_integer(
  data: bytes, samples: NDArray[np.floating], activations: str
) -> bytes:
  """Quantizes a float .tflite with TensorFlow's calibrator.

  Args:
    data: a float32 .tflite of one input.
    samples: float [N, ...], in the model's units, for the ranges.
    activations: "int8" or "int16".

  Returns:
    The integer .tflite, unmarked; input and output are integers too. The
    calibrator keeps metadata and signatures; what stands behind the file, as
    packed labels, is put behind the new one.

  Raises:
    TflmFgError: if TensorFlow is missing, the samples do not fit, or an
      operator has no integer kernel.
  """
  tf = quantize.tensorflow()
  from tensorflow.lite.python.optimize import calibrator

  chosen = quantize.calibration_samples(samples, _input_shape(data))
  wide = activations == "int16"
  kind = tf.int16 if wide else tf.int8
  try:
    made = calibrator.Calibrator(data).calibrate_and_quantize(
      lambda: ([sample] for sample in chosen),
      kind,
      kind,
      False,
      activations_type=kind,
      bias_type=tf.int64 if wide else tf.int32,
    )
  except Exception as fault:  # the calibrator's faults have no common type
    raise TflmFgError(
      f"the file cannot be quantized: {one_line(fault, 300)}"
    ) from None
  return with_tail_of(bytes(made), ModelFile.open(data))


def _input_shape(data: bytes) -> list[int]:
  graph = ModelFile.open(data).subgraph
  if len(graph.inputs) != 1:
    raise TflmFgError(
      f"the model has {len(graph.inputs)} inputs; only models with one input "
      "can be converted"
    )
  return list(graph.tensors[graph.inputs[0]].shape)


def float_outputs(data: bytes) -> Any:
  """The float file as a function of one sample, for `comparison.compare`."""
  run = file_outputs(data)

  def call(sample: NDArray[np.float32]) -> Outputs:
    return [value for value, _ in run(sample)]

  return call
