"""Operators between the layers of a legacy uint8 file, rewritten to int8."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tests import models
from tflm_fg.runtimes.interpreters import interpreter_maker
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.ready import ready
from tflm_fg.tflite.surgery.uint8_to_int8 import _VERSIONS

SHAPE = (1, 4, 4, 6)


def _options(kind, **fields):
  made = getattr(schema, kind)()
  for name, value in fields.items():
    setattr(made, name, value)
  return made


_POOL = {
  "filterHeight": 2,
  "filterWidth": 2,
  "strideH": 2,
  "strideW": 2,
  "padding": schema.Padding.VALID,
}
_SMALL, _LARGE = (1, 2, 2, 6), (1, 8, 8, 6)

# name: (output shape, its grid or None for the input's, options, constants)
CASES = {
  "ADD": (SHAPE, (0.06, 3), _options("AddOptionsT"), ["other"]),
  "SUB": (SHAPE, (0.06, 3), _options("SubOptionsT"), ["other"]),
  "MUL": (SHAPE, (0.06, 3), _options("MulOptionsT"), ["other"]),
  "MAXIMUM": (SHAPE, None, _options("MaximumMinimumOptionsT"), ["same"]),
  "MAX_POOL_2D": (_SMALL, None, _options("Pool2DOptionsT", **_POOL), []),
  "AVERAGE_POOL_2D": (_SMALL, None, _options("Pool2DOptionsT", **_POOL), []),
  "RELU": (SHAPE, (0.02, -128), None, []),
  "RELU6": (SHAPE, (0.02, -128), None, []),
  "LOGISTIC": (SHAPE, (1 / 256, -128), None, []),
  "TANH": (SHAPE, (1 / 128, 0), None, []),
  "HARD_SWISH": (SHAPE, (0.03, -100), None, []),
  "LEAKY_RELU": (SHAPE, None, _options("LeakyReluOptionsT", alpha=0.2), []),
  "L2_NORMALIZATION": (SHAPE, (1 / 128, 0), _options("L2NormOptionsT"), []),
  "PAD": ((1, 6, 6, 6), None, _options("PadOptionsT"), ["around"]),
  "RESIZE_BILINEAR": (
    _LARGE,
    None,
    _options("ResizeBilinearOptionsT"),
    ["size"],
  ),
  "RESIZE_NEAREST_NEIGHBOR": (
    _LARGE,
    None,
    _options("ResizeNearestNeighborOptionsT"),
    ["size"],
  ),
  "SPACE_TO_DEPTH": (
    (1, 2, 2, 24),
    None,
    _options("SpaceToDepthOptionsT", blockSize=2),
    [],
  ),
  "TRANSPOSE": (SHAPE, None, _options("TransposeOptionsT"), ["turned"]),
}
EXACT = set(CASES) - {"AVERAGE_POOL_2D", "HARD_SWISH", "RESIZE_BILINEAR"}


def _constant(net, kind, flow):
  random = np.random.default_rng(4)
  if kind in ("other", "same"):
    grid = (0.05, 7) if kind == "other" else (flow.scale, flow.zero_point)
    values = random.integers(-100, 100, (1, 1, 1, 6))
    return net.tensor(kind, values.shape, "int8", *grid, data=values)
  values = {
    "around": [[0, 0], [1, 1], [1, 1], [0, 0]],
    "size": [8, 8],
    "turned": [0, 2, 1, 3],
  }[kind]
  values = np.array(values)
  return net.tensor(kind, values.shape, "int32", data=values)


def model(name):
  """conv -> the operator -> mean -> head, as legacy uint8."""
  shape, grid, options, constants = CASES[name]
  net = models.Network(4, per_channel=False)
  x = net.activation("x", (1, 4, 4, 3), 4.0, models.FEATURES)
  flow = net.convolution(x, 6, "conv", relu=False)
  inputs = [flow.index, *(_constant(net, kind, flow) for kind in constants)]
  scale, point = grid or (flow.scale, flow.zero_point)
  out = net.tensor(name, shape, "int8", scale, point)
  net.operator(name, inputs, out, options, _VERSIONS[name])
  flow = models.Flow(out, shape, scale, point)
  flow = net.dense(net.mean(flow), 4, "head", reach=8.0)
  int8 = net.finish([x.index], [flow.index])
  return models.uint8_model(int8, (128,))


def values(data, runtime="litert"):
  x = np.random.default_rng(1).integers(0, 256, (16, 4, 4, 3)).astype("uint8")
  session = open_session(runtime, whole(data, unmarked(data)))
  return session.run((x,))[0].astype(int)


@pytest.mark.parametrize("name", CASES)
def test_an_operator_between_layers_gives_the_same_logits(name):
  legacy = model(name)
  want = values(legacy)
  got = values(ready(ModelFile.open(legacy), GraphOptions()).file)
  assert len(np.unique(want)) > 3
  assert np.abs(got - want).max() <= (0 if name in EXACT else 2)


@pytest.mark.parametrize("name", _VERSIONS)
def test_engines_know_every_operator_at_the_version_that_is_written(name):
  net = models.Builder()
  x, y = (net.tensor(n, (1, 4), "int8", 0.1) for n in "xy")
  net.operator(name, [x], y, None, _VERSIONS[name])
  data = net.finish([x], [y])
  for kernels in ("BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"):
    interpreter_maker(litert, kernels)(data)
