"""Read and write the gains of a layer, in the scales of its kernel and bias.

A gain a channel multiplies the real values of a kernel's channel and of its
bias. In a quantized file that is their scales: no weight is rounded, and no
operator is added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tflm_fg.tflite.subgraph import Subgraph
from tflm_fg.types import SCALE_ONE, Array, TflmFgError

LEAST_GAIN = SCALE_ONE >> 6
"""A smaller gain counts as this, 1/64: no kernel can have a scale of zero."""


class ScaleSpans(NamedTuple):
  """Where the scales of a layer's kernel and bias lie in a file.

  Attributes:
    starts: bytes from the file's beginning, the kernel's first; the bias's
      where the layer has one.
    channels: float32 values at each of them.
  """

  starts: tuple[int, ...]
  channels: int

  @classmethod
  def of(
    cls, data: bytes, graph: Subgraph, kernel: int, bias: list[int]
  ) -> ScaleSpans:
    """Finds the scales of a layer.

    Args:
      data: a file.
      graph: what it says of its first subgraph.
      kernel: the layer's, a tensor.
      bias: the layer's, a tensor; none where it has none.

    Raises:
      TflmFgError: if kernel and bias do not have as many scales.
    """
    tensors = [kernel, *bias]
    packed = schema.Model.GetRootAsModel(data, 0).Subgraphs(0)
    channels = len(graph.tensors[kernel].scales)
    starts = []
    for index in tensors:
      held = packed.Tensors(index).Quantization()
      if held.ScaleLength() != channels:
        raise TflmFgError(
          f"{graph.tensors[index].name!r} has {held.ScaleLength()} scales, its "
          f"layer {channels}; convert it again"
        )
      starts.append(int(held._tab.Vector(held._tab.Offset(_SCALE_SLOT))))
    return cls(tuple(starts), channels)

  def read(self, file: bytes, held: bytes | Array) -> Array:
    """The gains that some bytes have over a file's: int16 [1, channels]."""
    ratio = self._scales(held, 0) / self._scales(file, 0)
    return np.rint(ratio * SCALE_ONE).astype(np.int16)[None]

  def write(self, file: bytes, view: memoryview, gains: Array) -> None:
    """Writes the file's scales times gains, int16 [1, channels]."""
    if gains.shape != (1, self.channels) or gains.dtype != np.int16:
      raise TflmFgError(
        f"gains of {self.channels} channels cannot be {gains.dtype} of shape "
        f"{list(gains.shape)}"
      )
    factors = np.maximum(gains[0], LEAST_GAIN) / np.float64(SCALE_ONE)
    for number, start in enumerate(self.starts):
      fresh = (self._scales(file, number) * factors).astype("<f4")
      view[start : start + 4 * self.channels] = fresh.tobytes()

  def _scales(self, held: bytes | Array, number: int) -> NDArray[np.float64]:
    start = self.starts[number]
    return np.frombuffer(held, "<f4", self.channels, start).astype(np.float64)


_SCALE_SLOT = 8
"""Of the vector of scales in the table of a tensor's quantization."""
