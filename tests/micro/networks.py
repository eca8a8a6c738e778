"""Random int8 models of every operator that `forward.c` runs, as bytes."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.models import Builder

ACTIVATIONS = (0, 1, 3)
"""None, RELU and RELU6."""


class Random:
  """One-layer models whose sizes, scales and options are drawn."""

  def __init__(self, seed):
    self.random = np.random.default_rng(seed)
    self.net = Builder()

  def some(self, low, high):
    return int(self.random.integers(low, high + 1))

  def one_of(self, *choices):
    return choices[self.some(0, len(choices) - 1)]

  def activation(self, name, shape, scale=None):
    scale = scale or float(np.exp(self.random.uniform(-5, 0)))
    point = self.some(-128, 127)
    return self.net.tensor(name, shape, "int8", scale, point), scale

  def linear(self, shape, axis, scale, fan_in, outputs, bare=False):
    """Kernel and bias, whose sums fill an output's range; and its scale."""
    count = self.one_of(1, outputs)
    scales = np.exp(self.random.uniform(-6, -3, count)).astype(np.float32)
    kernel = self.random.integers(-127, 128, shape)
    units = np.float32(scale) * scales
    bias = self.random.integers(-2000, 2000, outputs)
    held = self.net.tensor("kernel", shape, "int8", scales, 0, axis, kernel)
    weights = [held]
    if not bare or self.some(0, 4):
      weights.append(
        self.net.tensor("bias", (outputs,), "int32", units, 0, 0, bias)
      )
    reach = float(scale * scales.max() * 40 * 70 * fan_in**0.5)
    return weights, max(reach, 1e-6) / 127

  def dense(self):
    inputs, outputs = self.some(1, 40), self.some(1, 12)
    x, scale = self.activation("x", (1, inputs))
    shape = (outputs, inputs)
    weights, made = self.linear(shape, 0, scale, inputs, outputs, bare=True)
    y, _ = self.activation("y", (1, outputs), made)
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = self.one_of(*ACTIVATIONS)
    self.net.operator("FULLY_CONNECTED", [x, *weights], y, options, 4)
    return self.net.finish([x], [y])

  def window(self, options, height, width, size, dilation=(1, 1)):
    """Fills stride and padding; gives the output's height and width."""
    options.strideH, options.strideW = self.some(1, 3), self.some(1, 3)
    made = []
    options.padding = self.one_of(0, 1)
    strides = options.strideH, options.strideW
    for n, window, stride, gap in zip((height, width), size, strides, dilation):
      reach = (window - 1) * gap + 1
      if options.padding == 1 and reach > n:
        options.padding = 0
        return self.window(options, height, width, size, dilation)
      taken = n if options.padding == 0 else n - reach + 1
      made.append(-(-taken // stride))
    return made

  def convolution(self):
    height, width, depth = self.some(1, 9), self.some(1, 8), self.some(1, 6)
    depthwise = self.some(0, 1)
    size = self.some(1, 4), self.some(1, 4)
    times = self.one_of(1, 1, 2)
    outputs = depth * times if depthwise else self.some(1, 8)
    options = (
      schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    )
    dilation = self.one_of((1, 1), (1, 1), (2, 1), (2, 2))
    options.dilationHFactor, options.dilationWFactor = dilation
    if depthwise:
      options.depthMultiplier = times
    options.fusedActivationFunction = self.one_of(*ACTIVATIONS)
    made = self.window(options, height, width, size, dilation)
    x, scale = self.activation("x", (1, height, width, depth))
    shape = (1, *size, outputs) if depthwise else (outputs, *size, depth)
    fan_in = size[0] * size[1] * (1 if depthwise else depth)
    axis = 3 if depthwise else 0
    weights, step = self.linear(shape, axis, scale, fan_in, outputs)
    y, _ = self.activation("y", (1, *made, outputs), step)
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    self.net.operator(name, [x, *weights], y, options, 3)
    return self.net.finish([x], [y])

  def pool(self):
    height, width, depth = self.some(1, 9), self.some(1, 8), self.some(1, 6)
    options = schema.Pool2DOptionsT()
    size = options.filterHeight, options.filterWidth = (
      self.some(1, 4),
      self.some(1, 4),
    )
    options.fusedActivationFunction = self.one_of(*ACTIVATIONS)
    made = self.window(options, height, width, size)
    scale, point = float(np.exp(self.random.uniform(-5, 0))), self.some(-9, 9)
    x = self.net.tensor("x", (1, height, width, depth), "int8", scale, point)
    y = self.net.tensor("y", (1, *made, depth), "int8", scale, point)
    name = self.one_of("AVERAGE_POOL_2D", "MAX_POOL_2D")
    self.net.operator(name, [x], y, options, 2)
    return self.net.finish([x], [y])

  def mean(self):
    height, width, depth = self.some(1, 25), self.some(1, 10), self.some(1, 6)
    x, scale = self.activation("x", (1, height, width, depth))
    y, _ = self.activation("y", (1, depth), scale * self.one_of(0.2, 0.6, 1.3))
    axes = self.net.tensor("axes", (2,), "int32", data=np.array([1, 2]))
    options = schema.ReducerOptionsT()
    options.keepDims = False
    self.net.operator("MEAN", [x, axes], y, options, 2)
    return self.net.finish([x], [y])

  def joined(self):
    height, width, depth = self.some(1, 6), self.some(1, 6), self.some(1, 6)
    x, one = self.activation("x", (1, height, width, depth))
    shape = self.one_of(
      (1, height, width, depth),
      (1, 1, width, 1),
      (1, 1, 1, 1),
      (1, 1, 1, depth),
    )
    y, other = self.activation("y", shape)
    name = self.one_of("ADD", "MUL")
    reach = max(one, other) if name == "ADD" else 90 * one * other
    z, _ = self.activation("z", (1, height, width, depth), reach)
    options = schema.AddOptionsT() if name == "ADD" else schema.MulOptionsT()
    options.fusedActivationFunction = self.one_of(*ACTIVATIONS)
    self.net.operator(name, [x, y], z, options, 2)
    return self.net.finish([x, y], [z])


KINDS = ("dense", "convolution", "pool", "mean", "joined")


def random_models(count, seed=0):
  """`count` models of each of KINDS."""
  return [
    getattr(Random((seed, number, place)), kind)()
    for place, kind in enumerate(KINDS)
    for number in range(count)
  ]
