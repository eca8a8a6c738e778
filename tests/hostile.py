"""Damaged models that once ended a process, or left a traceback.

Each is a model of `tests/zoo.py` and what was done to it, found by
`tools/fuzz_models.py` or by hand. None may end badly again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tools.fuzzing.mutations import Edit, Mutant

_FIRST = ("subgraphs", 0)


def _operator(base: str, number: int, *path: Any, value: Any) -> Mutant:
  return Mutant(base, (_edit("operators", number, *path, value=value),))


def _tensor(base: str, number: int, *path: Any, value: Any) -> Mutant:
  return Mutant(base, (_edit("tensors", number, *path, value=value),))


def _edit(*path: Any, value: Any) -> Edit:
  return Edit((*_FIRST, *path), value, "kept")


def _scale(base: str, tensor: int, value: float) -> Mutant:
  return _tensor(base, tensor, "quantization", "scale", 0, value=value)


def _option(base: str, number: int, field: str, value: Any) -> Mutant:
  return _operator(base, number, "builtinOptions", field, value=value)


def _lacks(base: str, number: int, place: int) -> Mutant:
  return _operator(base, number, "inputs", place, value=-1)


def _constant(base: str, buffer: int, values: Any) -> Mutant:
  held = np.asarray(values, np.int32).reshape(-1).view(np.uint8).tolist()
  return Mutant(base, (Edit(("buffers", buffer, "data"), held, "kept"),))


# What is refused by the name of the operator or tensor, before any engine.
REFUSED: dict[str, tuple[Mutant, str]] = {
  "a required input of -1": (
    _lacks("squared_difference", 1, 0), "SQUARED_DIFFERENCE lacks its input 0"),
  "a kernel of -1": (_lacks("conv_2d", 0, 1), "CONV_2D lacks its input 1"),
  "sizes of -1": (_lacks("split_v", 0, 1), "SPLIT_V lacks its input 1"),
  "paddings of -1": (
    _lacks("space_to_batch_nd", 0, 2), "SPACE_TO_BATCH_ND lacks its input 2"),
  "axes of -1": (_lacks("sum", 0, 1), "SUM lacks its input 1"),
  "an order of -1": (_lacks("transpose", 0, 1), "TRANSPOSE lacks its input 1"),
  "a shape of -1": (_lacks("mul", 2, 1), "RESHAPE lacks its input 1"),
  "no outputs of the graph": (
    Mutant("conv", (Edit(("subgraphs", 0, "outputs"), None, "kept"),)),
    "has no outputs"),
  "an activation of strings": (_tensor("dense_16x8", 7, "type", value=5),
                               "which has no numbers"),
  "an input of 30 million numbers and more": (
    _tensor("abs", 0, "shape", 1, value=1 << 22), "input 0 has shape"),
  "no inputs": (_operator("abs", 1, "inputs", value=None),
                "RESHAPE reads 0 tensors"),
  "inputs that are too many": (
    _operator("relu", 0, "inputs", 1, value=0), "RELU reads 2 tensors"),
  "a sum that keeps its axes": (
    _option("sum", 0, "keepDims", True), "SUM leaves 4 axes"),
  "options of another operator": (
    _operator("transpose_conv", 2, "builtinOptionsType", value=7),
    "has other options"),
  "no options": (_operator("conv_2d", 0, "builtinOptions", value=None),
                 "has other options than its Conv2DOptions"),
  "a stride of 0": (_option("conv_2d", 0, "strideH", 0), "StrideH 0"),
  "a dilation of 0": (
    _option("depthwise_conv_2d", 0, "dilationWFactor", 0),
    "DilationWFactor 0"),
  "a window of 0": (_option("max_pool_2d", 0, "filterWidth", 0),
                    "FilterWidth 0"),
  "a depth multiplier of 0": (
    _option("depthwise_conv_2d", 0, "depthMultiplier", 0),
    "DepthMultiplier 0"),
  "a depth multiplier of 7": (
    _option("depthwise_conv_2d", 0, "depthMultiplier", 7),
    "for 4 channels with DepthMultiplier 7"),
  "a beta that is no number": (
    _option("softmax", 0, "beta", float("nan")), "Beta nan"),
  "a beta of nearly 0": (_option("softmax", 0, "beta", 1e-38), "Beta 1e-38"),
  "a padding that is none": (_option("conv_2d", 0, "padding", 7), "Padding 7"),
  "an activation that is none": (
    _option("add", 1, "fusedActivationFunction", 99),
    "FusedActivationFunction 99"),
  "a split into 9": (_option("split", 0, "numSplits", 9), "NumSplits 9"),
  "a pack of 9": (_option("pack", 1, "valuesCount", 9), "ValuesCount 9"),
  "an unpack of 9": (_option("unpack", 0, "num", 9), "Num 9"),
  "a block of 0": (_option("space_to_depth", 0, "blockSize", 0), "BlockSize 0"),
  "a block that does not divide": (
    _option("space_to_depth", 0, "blockSize", 3), "BlockSize 3"),
  "an axis that is not there": (
    _option("concatenation", 1, "axis", 9), "axis 9"),
  "a row that is not there": (_constant("gather", 1, [5, 8, 2]),
                              "looks up 8 of 8"),
  "an axis to sum over that is not there": (_constant("sum", 1, [1, 4]),
                                            "axis 4"),
  "an order that is none": (_constant("transpose", 1, [0, 2, 2, 3]),
                            "orders 4 axes as"),
  "a size of 0": (_constant("resize_bilinear", 1, [0, 6]), "resizes to [0, 6]"),
  "a slice beyond the end": (_constant("slice", 2, [1, 2, 4, 4]),
                             "SLICE takes"),
  "strides of 0 in a slice": (_constant("strided_slice", 3, [1, 0, 1, 1]),
                              "strides [1, 0, 1, 1]"),
  "negative paddings": (
    _constant("pad", 1, [[0, 0], [-1, 1], [1, 1], [0, 0]]), "PAD pads"),
  "another size": (_constant("reshape", 1, [1, 8, 9]), "reshapes"),
  "sizes that do not fit": (_constant("split_v", 1, [2, 3]), "SPLIT_V splits"),
  "repeats below 0": (_constant("tile", 1, [1, -2]), "TILE repeats"),
  "indices that are not there": (
    _constant("gather_nd", 1, [[0, 1], [0, 4]]), "does not have"),
  "a block of -1": (_constant("space_to_batch_nd", 1, [-1, 2]), "has blocks"),
  "a scale of 0": (_scale("squared_difference", 0, -0.0),
                   "computes with tensor 0, which has scale"),
  "a subnormal scale": (_scale("abs", 1, 1e-45), "which has scale 1.4013e-45"),
  "an enormous scale": (_scale("mul", 2, 3e38), "which has scale 3e+38"),
  "a scale that is no number": (_scale("mul", 2, float("nan")), "not finite"),
  "no scale": (_tensor("add", 2, "quantization", value=None),
               "ADD computes with tensor 2, which has no scale"),
  "a sum of much larger steps": (_scale("add", 2, 1e-20), "ADD adds steps of"),
  "a zero point of another type": (
    _tensor("add", 0, "quantization", "zeroPoint", 0, value=300),
    "zero point 300, int8 takes -128 to 127"),
  "a kernel of another depth": (
    _tensor("conv_2d", 0, "shape", 3, value=5), "with a kernel for 4"),
  "a bias that is too long": (
    _operator("fully_connected", 0, "inputs", 2, value=5),
    "has a bias of shape [3]"),
  "an output of a layer without axes": (
    _tensor("conv_2d", 3, "shape", value=[]), "its output has shape []"),
  "shapes that do not join": (
    _tensor("sub", 1, "shape", 3, value=3), "SUB joins shapes"),
  "matrices that do not fit": (
    _tensor("batch_matmul", 0, "shape", 3, value=5),
    "BATCH_MATMUL multiplies shapes"),
  "a loop that runs its own graph": (
    _option("while", 0, "bodySubgraphIndex", 0), "runs subgraph 0"),
  "a loop over a graph that is not there": (
    _option("while", 0, "condSubgraphIndex", 9), "runs subgraph 9 of 3"),
  "a loop that loses a tensor": (
    Mutant("while", (Edit(("subgraphs", 2, "outputs", 1), None, "kept"),)),
    "runs subgraph 2 of 2 inputs and 1 outputs"),
  "a signature of a graph that is not there": (
    Mutant("signed", (Edit(("signatureDefs", 0, "subgraphIndex"), 9, "kept"),)),
    "signature 0 is of subgraph 9"),
  "a signature of a tensor that is not there": (
    Mutant("signed", (Edit(("signatureDefs", 0, "inputs", 0, "tensorIndex"), 99,
                           "kept"),)),
    "names tensor 99"),
}  # fmt: skip
"""What is wrong -> the model, and words of the refusal."""

# What ended in a traceback, or what an engine alone can tell.
KEPT: dict[str, Mutant] = {
  "an output without a shape": _tensor("uint8", 6, "shape", value=None),
  "sixteen million classes": Mutant(
    "squeeze",
    (
      _edit("tensors", 6, "shape", 1, value=1 << 24),
      Edit(("operatorCodes", 2, "builtinCode"), 121, "kept"),
    ),
  ),
  "an input of int4": _tensor("uint8", 0, "type", value=17),
  "an input of eight without a batch": _tensor("uint8", 0, "shape", 0, value=8),
  "an operator code of another operator": Mutant(
    "fully_connected", (Edit(("operatorCodes", 0, "builtinCode"), 49, "kept"),)
  ),
}
"""What is wrong -> the model."""

ENDING = _tensor("batch_matmul", 2, "type", value=4)
"""Passes the verifier and ends LiteRT's process: products of int8 as int64."""
