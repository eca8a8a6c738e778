"""Make clips of the classes that a head knows, without any recording.

Where no clip of the old words is left, the head itself is the anchor: it says
which inputs it takes for each old word. From the mean of the new clips an input
climbs, in the directions in which clips of one word differ, until the head is
sure of the old word; clips spread around it as clips of a new word do. Our own
construction, after model inversion and after Gaussian classifiers with one
covariance; it is no match for real clips, and much better than none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.kws.model.head_model import Head
from apps.kws.model.saved_clips import Kept
from tflm_fg.fixed_point import dequantize, quantize
from tflm_fg.tflite import tensor_spec, weights_of

CLIPS_A_CLASS = 100

_SURE = 0.9
_SPREAD = 1.5  # in standard deviations of a word's clips
_SHRINKAGE = 0.3  # towards a sphere: few clips tell little of a covariance
_MOST_STEPS = 2000
_STEP = 0.1

Floats = NDArray[np.float64]


def clips(head: Head, new: Kept, old: list[int], seed: int) -> Kept:
  """Imagines clips of the old classes.

  Args:
    head: the model, cut in front of its last layer, before it learns.
    new: clips of new words, at the head's input.
    old: the outputs to imagine clips of.
    seed: of what is drawn.

  Returns:
    Up to CLIPS_A_CLASS clips a class: those that the head takes for it.
  """
  tensors = head.marked.mark.trainable
  kernel, bias = (
    array * np.reshape(t.scales, [-1] + [1] * (array.ndim - 1))
    for array, t in zip(weights_of(head.marked.data, tensors), tensors)
  )
  rows, offsets = kernel.reshape(len(kernel), -1), bias.reshape(-1)
  spec = tensor_spec(head.marked.data, head.marked.mark.head_input)
  flat = new.x.reshape(len(new.x), -1)
  x = dequantize(flat, spec.scale, spec.zero_point)
  least = float(x.min())
  covariance = _within(x, new.y)
  root = np.linalg.cholesky(covariance)
  rng = np.random.default_rng([seed, len(x)])
  made, labels = [], []
  for label in old:
    centre = _climb(x.mean(axis=0), label, rows, offsets, covariance, least)
    noise = rng.standard_normal((CLIPS_A_CLASS, len(centre))) @ root.T
    around = np.maximum(centre + _SPREAD * noise, least)
    around = around[(around @ rows.T + offsets).argmax(axis=1) == label]
    made.append(around)
    labels += [label] * len(around)
  grid = quantize(np.concatenate(made), spec.scale, spec.zero_point, spec.dtype)
  return Kept(
    x=grid.reshape(-1, *new.x.shape[1:]),
    y=np.array(labels, np.int64),
    classes=new.classes,
    frontend=new.frontend,
    layer="head",
    digest=new.digest,
  )


def _within(x: Floats, y: NDArray[np.int64]) -> Floats:
  """How clips of one word vary: their covariance, shrunk to a sphere."""
  residual = x.copy()
  for label in np.unique(y):
    residual[y == label] -= x[y == label].mean(axis=0)
  covariance = residual.T @ residual / max(1, len(x) - len(np.unique(y)))
  sphere = max(float(np.trace(covariance)) / len(covariance), 1e-9)
  return (1 - _SHRINKAGE) * covariance + _SHRINKAGE * sphere * np.eye(
    len(covariance)
  )


def _climb(
  start: Floats,
  label: int,
  rows: Floats,
  offsets: Floats,
  covariance: Floats,
  least: float,
) -> Floats:
  """Moves an input until the old head is sure of a class."""
  step = _STEP * np.sqrt(
    np.trace(covariance) / np.trace(covariance @ covariance)
  )
  x = start
  for _ in range(_MOST_STEPS):
    logits = x @ rows.T + offsets
    p = np.exp(logits - logits.max())
    p /= p.sum()
    if p[label] >= _SURE:
      break
    uphill = covariance @ (rows[label] - p @ rows)
    x = np.maximum(x + step * uphill, least)
  return x
