"""Small models that met a change, and their whole runs, made once."""

from __future__ import annotations

import functools

import numpy as np

import tflm_fg
from tests import models
from tests.options import options

SHIFT = 20
"""Steps by which a new sensor is off: the prompt reaches 31."""


def crossed(samples, seed, shift=0):
  """Four clusters, two classes crosswise: no line tells them apart."""
  random = np.random.default_rng(seed)
  y, side = np.arange(samples) % 2, np.arange(samples) // 2 % 2
  first = np.where(side, 12, -12)
  x = np.stack([first, np.where(y, first, -first)], axis=1)
  x = x + random.normal(0, 3, x.shape) + np.array([shift, -shift])
  return np.rint(x).clip(-128, 127).astype(np.int8), y


@functools.cache
def source():
  """Random ReLUs and a head that knows the clusters without a shift."""
  result = tflm_fg.adapt(
    models.dense_model(2, 48, 2, seed=1),
    *crossed(400, 0),
    trainable="head",
    graph_options=tflm_fg.GraphOptions(head_room=0),
    **options(method="closed-form", learning_rate_lsb=24.0),
  )
  assert result.report["accuracy_after"] > 0.98
  return result.model


def adapt(data=None, x=None, y=None, **options):
  if x is None:
    x, y = crossed(120, 1, SHIFT)
  return tflm_fg.adapt(data or source(), x, y, **options)


@functools.cache
def cured():
  return adapt(test=crossed(400, 2, SHIFT))


def chosen(report):
  (candidate,) = [
    candidate for candidate in report["candidates"] if candidate["chosen"]
  ]
  return candidate["trainable"]


CLASSES, INPUTS = 6, 8


def clusters(samples, seed, offset=0.0):
  centres = np.random.default_rng(99).normal(0, 1, (CLASSES, INPUTS))
  y = np.arange(samples) % CLASSES
  noise = np.random.default_rng(seed).normal(0, 0.6, (samples, INPUTS))
  signs = np.where(np.random.default_rng(5).random(INPUTS) < 0.5, -1, 1)
  return (centres[y] + noise + offset * signs).astype("f4"), y


@functools.cache
def clustered():
  result = tflm_fg.adapt(
    models.dense_model(INPUTS, 24, CLASSES, seed=3),
    *clusters(600, 0),
    trainable="head",
    graph_options=tflm_fg.GraphOptions(head_room=0),
    **options(method="closed-form"),
  )
  return result.model


@functools.cache
def unlabelled():
  x, _ = clusters(120, 1, 0.9)
  return tflm_fg.adapt(clustered(), x, test=clusters(600, 2, 0.9))
