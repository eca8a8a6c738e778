"""Train a head on samples together with imagined ones of the other classes.

A class without samples has as many imagined inputs as a class that is shown has
samples. Where most classes are shown it has more, up to eight times as many, so
that those to be kept weigh as much together as those that are shown. Few
samples are repeated, so that there are imagined inputs enough to say where a
class ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tflm_fg.fixed_point.arithmetic import dequantize, quantize
from tflm_fg.forgetting.coverage import thin_classes
from tflm_fg.forgetting.imagined import LinearHead, imagine
from tflm_fg.gradients.dense_passes import DenseLayer
from tflm_fg.types import Array, Int64, Samples

LEAST, MOST = 50, 1000
"""Imagined inputs of a class that weighs as a shown one: least and most."""

SHARE, HEAVIEST = 1, 8
"""What all imagined inputs weigh beside all samples, at least, unless a class
would then weigh more than so many times a class that is shown.

Where every class counted alike, absent classes lost 2 to 12 points if most
others were shown (docs/forgetting.md).
"""


def with_imagined(
  samples: Samples, layer: DenseLayer, lacking: Sequence[int], seed: int
) -> Samples:
  """Adds imagined inputs of classes that samples do not show, or barely.

  Args:
    samples: at the head's input, of classes.
    layer: the head, before it learns.
    lacking: classes that new samples do not show, or barely; samples of before
      they may have.
    seed: of what is drawn.

  Returns:
    The samples, repeated where they are few, and then the imagined ones; the
    samples as they are where they show all classes, or the head has learned
    none.
  """
  head = real_head(layer)
  labels = samples.labels.astype(np.int64)
  counts = np.bincount(labels, minlength=len(head.rows))
  thin = sorted({*lacking, *thin_classes(counts)})
  if not 0 < len(thin) < len(counts) or not layer.kernel.any():
    return samples
  shown = np.delete(counts, thin)
  repeats, count = _amounts(shown, len(thin))
  flat, spec = _known(samples.inputs[0], layer), layer.inputs
  x = dequantize(flat.reshape(len(flat), -1), spec.scale, spec.zero_point)
  made, of = imagine(head, x, labels, thin, count, seed)
  missing = _up_to(count, of, counts * repeats)
  grid = quantize(made[missing], spec.scale, spec.zero_point, spec.dtype)
  again = np.tile(np.arange(len(labels)), repeats)
  return Samples(
    (np.concatenate([flat[again], grid.reshape(-1, *flat.shape[1:])]),),
    np.concatenate([labels[again], of[missing]]),
  )


def _known(inputs: Array, layer: DenseLayer) -> Array:
  """Inputs, those at rest that the head has learned nothing of.

  A wide head begins with such inputs. Imagined ones cannot say what they are
  like in other classes, so none of their weights may move.
  """
  used = layer.kernel.reshape(len(layer.kernel), -1).any(axis=0)
  rest = np.array(layer.inputs.zero_point, inputs.dtype)
  return np.where(used.reshape(inputs.shape[1:]), inputs, rest)


def _amounts(shown: Int64, thin: int) -> tuple[int, int]:
  """How often samples are repeated; how many a class to be kept is to have."""
  mean = float(shown.mean())
  repeats = max(1, round(LEAST / mean))
  alike = min(MOST, max(LEAST, round(mean * repeats)))
  weight = min(max(SHARE * len(shown) / thin, 1), HEAVIEST)
  return repeats, round(weight * alike)


def _up_to(count: int, labels: Int64, held: Int64) -> Int64:
  """Which imagined inputs a class needs beside its samples, if it has some."""
  chosen = [
    np.flatnonzero(labels == label)[: max(0, count - int(held[label]))]
    for label in np.unique(labels)
  ]
  return np.concatenate([*chosen, np.zeros(0, np.int64)]).astype(np.int64)


def real_head(layer: DenseLayer) -> LinearHead:
  """A dense layer in real numbers."""
  scales = np.broadcast_to(layer.kernel_scales, len(layer.kernel))
  rows = layer.kernel.reshape(len(layer.kernel), -1).astype(np.float64)
  units = layer.inputs.scale * scales
  return LinearHead(
    rows * scales[:, None], layer.bias.reshape(-1).astype(np.float64) * units
  )
