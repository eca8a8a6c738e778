"""Files that are no sound model, and graphs that cannot be run, are refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tests.refusals import MARKED, MODEL, X, Y, adapt, edited, refused
from tflm_fg.tflite import model_file
from tflm_fg.types import TflmFgError

# Files that are no sound model.


@pytest.mark.parametrize("content", [b"", b"a text file\n" * 9, bytes(999)])
def test_what_is_no_tflite_is_refused_by_name(content):
  refused(lambda: adapt(content), "m.tflite")
  refused(lambda: tflm_fg.mark_trainable(content, name="m.tflite"), "m.tflite")
  refused(lambda: tflm_fg.strip(content, "m.tflite"), "m.tflite")


def test_every_truncation_is_refused():
  for model in (MODEL, MARKED):
    for length in {
      *range(0, len(model), 41),
      *range(len(model) - 9, len(model)),
    }:
      refused(
        lambda m=model[:length]: tflm_fg.mark_trainable(m, name="cut"), "cut"
      )


def test_trailing_bytes_do_no_harm():
  assert adapt(MODEL + bytes(64)).model


def test_float_model_is_refused_with_the_cure():
  refused(lambda: adapt(models.float_model()), "float32", "quantize")


@pytest.mark.parametrize("trainable", ["head", "bias", "all", "float"])
def test_hybrid_model_is_refused_with_the_cure(trainable):
  hybrid = models.float_model("int8")
  refused(lambda: adapt(hybrid, trainable=trainable), "representative")


def _to_int4(model: schema.ModelT) -> None:
  tensor = model.subgraphs[0].tensors[4]
  tensor.type = schema.TensorType.INT4
  buffer = model.buffers[tensor.buffer]
  buffer.data = buffer.data[: len(buffer.data) // 2]


def test_int4_weights_are_refused_by_name():
  refused(lambda: adapt(edited(_to_int4)), "int4", "head/kernel")


def test_layers_beside_int4_weights_still_train():
  marked = tflm_fg.mark_trainable(edited(_to_int4), "all")
  assert "int4" not in {t.dtype for t in marked.mark.trainable}
  assert "head/kernel" not in {t.name for t in marked.mark.trainable}


def _to_custom(code: bytes) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    operator = model.subgraphs[0].operators[2]
    model.operatorCodes[2].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[2].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[2].customCode = code
    operator.builtinOptions, operator.builtinOptionsType = None, 0

  return edit


@pytest.mark.parametrize("code", [b"edgetpu-custom-op", b"\xff\xfe\n", b""])
def test_custom_operator_is_refused(code):
  refused(lambda: adapt(edited(_to_custom(code))), "operator 2")


def test_uint8_weights_are_refused():
  def edit(model: schema.ModelT) -> None:
    for tensor in model.subgraphs[0].tensors:
      if tensor.type == schema.TensorType.INT8:
        tensor.type = schema.TensorType.UINT8

  refused(lambda: adapt(edited(edit)), "uint8")


def test_two_inputs_are_refused_everywhere():
  def edit(model: schema.ModelT) -> None:
    graph = model.subgraphs[0]
    graph.tensors.append(copy.copy(graph.tensors[0]))
    graph.inputs = np.array([0, len(graph.tensors) - 1], np.int32)

  refused(lambda: adapt(edited(edit)), "2 inputs")
  refused(lambda: tflm_fg.evaluate(edited(edit), X, Y), "2 inputs")


def test_model_of_batch_eight_is_refused_with_the_cure():
  def edit(model: schema.ModelT) -> None:
    for tensor in model.subgraphs[0].tensors:
      if tensor.buffer == 0:
        tensor.shape = np.array([8, tensor.shape[1]], np.int32)

  refused(lambda: adapt(edited(edit)), "batch")
  refused(lambda: tflm_fg.evaluate(edited(edit), X, Y), "batch")


# Models that are sound flatbuffers and broken graphs.


def _set(index: int, field: str, value: Any) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    setattr(model.subgraphs[0].tensors[index], field, value)

  return edit


def _scale(index: int, scale: list[float]) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    quantization = model.subgraphs[0].tensors[index].quantization
    quantization.scale = np.array(scale, np.float32)
    quantization.zeroPoint = np.zeros(len(scale), np.int64)

  return edit


def _without_zero_points(index: int) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[index].quantization.zeroPoint = None

  return edit


def _operator(
  number: int, field: str, value: Any
) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    held = None if value is None else np.array(value, np.int32)
    setattr(model.subgraphs[0].operators[number], field, held)

  return edit


def _graph(field: str, value: Any) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    setattr(model.subgraphs[0], field, value)

  return edit


BROKEN = {
  "kernel scale zero": _scale(4, [0.0] * 4),
  "bias scale zero": _scale(5, [0.0] * 4),
  "bias scale minus zero": _scale(5, [-0.0] * 4),
  "input without scale": _scale(0, []),
  "hidden without scale": _scale(3, []),
  "logits without scale": _scale(6, []),
  "input without a zero point": _without_zero_points(0),
  "kernel without zero points": _without_zero_points(4),
  "input not quantized": _set(0, "quantization", None),
  "hidden not quantized": _set(3, "quantization", None),
  "logits not quantized": _set(6, "quantization", None),
  "kernel not quantized": _set(4, "quantization", None),
  "bias not quantized": _set(5, "quantization", None),
  "bias of floats": _set(5, "type", schema.TensorType.FLOAT32),
  "bias of an unknown type": _set(5, "type", 99),
  "kernel of an unknown type": _set(4, "type", 99),
  "logits of an unknown type": _set(6, "type", 99),
  "input of an unknown type": _set(0, "type", -1),
  "operator without inputs": _operator(1, "inputs", None),
  "operator with no inputs": _operator(2, "inputs", []),
  "operator without outputs": _operator(1, "outputs", None),
  "operator that reads what it writes": _operator(2, "inputs", [7]),
  "operator that writes what it reads": _operator(2, "outputs", [7, 6]),
  "operator that writes a constant": _operator(2, "outputs", [4]),
  "operator that writes the input": _operator(2, "outputs", [0]),
  "bias that is an activation": _operator(1, "inputs", [3, 4, 0]),
  "kernel that is an activation": _operator(1, "inputs", [3, 3, 5]),
  "input that nothing reads": _operator(0, "inputs", [4, 1, 2]),
  "no outputs": _graph("outputs", np.zeros(0, np.int32)),
  "outputs missing": _graph("outputs", None),
  "no inputs": _graph("inputs", np.zeros(0, np.int32)),
  "no operators": _graph("operators", None),
  "shape that is missing": _set(6, "shape", None),
  "shape of no sizes": _set(6, "shape", np.zeros(0, np.int32)),
  "logits of three sizes": _set(6, "shape", np.array([1, 2, 2], np.int32)),
  "input of size zero": _set(0, "shape", np.array([1, 0], np.int32)),
  "input too narrow": _set(0, "shape", np.array([1, 7], np.int32)),
  "logits too wide": _set(6, "shape", np.array([1, 65535], np.int32)),
  "logits enormous": _set(6, "shape", np.array([1, 2**31 - 1], np.int32)),
  "hidden enormous": _set(3, "shape", np.array([1, 2**28], np.int32)),
}


@pytest.mark.parametrize("kind", list(BROKEN))
def test_broken_graph_is_refused_before_training(kind):
  broken = edited(BROKEN[kind])
  width = model_file.schema.Model.GetRootAsModel(broken, 0)
  shape = width.Subgraphs(0).Tensors(0).ShapeAsNumpy()
  x = np.zeros((48, *shape[1:]), np.float32)
  refused(lambda: adapt(broken, x=x, trainable="all"))


@pytest.mark.parametrize("operator", [0, 1])
@pytest.mark.parametrize("stride", [None, 0])
def test_convolution_without_its_options_is_refused(operator, stride):
  # tflite-runtime divides by a stride that is not there.
  model = model_file.read(models.conv_model())
  convolution = model.subgraphs[0].operators[operator]
  if stride is None:
    convolution.builtinOptions, convolution.builtinOptionsType = None, 0
  else:
    convolution.builtinOptions.strideH = stride
  broken = model_file.pack(model)
  refused(lambda: tflm_fg.mark_trainable(broken, name="m.tflite"), "m.tflite")


@pytest.mark.parametrize("name", [None, b"", b"\xff\xfe", b"a\nb"])
def test_odd_tensor_names_are_no_fault(name):
  def edit(model: schema.ModelT) -> None:
    for tensor in model.subgraphs[0].tensors:
      tensor.name = name

  odd = edited(edit)
  try:
    assert adapt(odd, trainable="all").model
  except TflmFgError as fault:  # an engine may refuse them: still one line
    assert str(fault)
