"""Handwritten digits, and the small int8 network that reads clean ones.

The images are scikit-learn's `load_digits`: 1,797 of 8 x 8 pixels, real
handwriting. They are parted once and for all: what the network was trained
on, what it may adapt to, what it is tested on.
"""

from __future__ import annotations

import importlib.resources
from typing import NamedTuple

import numpy as np

from apps.compare.data import corruptions, sampling
from apps.compare.data.sampling import Part
from tflm_fg import files
from tflm_fg.types import Array, TflmFgError

MODEL = "digits.tflite"
ABOUT = "digits.json"
"""Beside the network: how it was made and what it knows."""

CLASSES = tuple("0123456789")
PEAK = 16
"""The brightest pixel; the network is given shares of it."""

TRAIN, ADAPT = 900, 450
"""Images to train on and to adapt to; the other 447 are for tests."""


class Parts(NamedTuple):
  """Images, float32 [N, 8, 8, 1] from 0 to 1, and digits, int64 [N]."""

  train: Part
  adapt: Part
  test: Part


def shipped_model() -> bytes:
  """The int8 network that `apps.compare.data.train_digits` made."""
  path = importlib.resources.files("apps.compare").joinpath(MODEL)
  return files.read_bytes(str(path))


def images() -> Part:
  """All images, float32 [1797, 8, 8, 1] from 0 to 1.

  Raises:
    TflmFgError: if scikit-learn is missing.
  """
  try:
    from sklearn.datasets import load_digits
  except ImportError:
    raise TflmFgError("digits need: pip install 'tflm-fg[compare]'") from None
  x, y = load_digits(return_X_y=True)
  return (
    (x / PEAK).astype(np.float32).reshape(-1, 8, 8, 1),
    y.astype(np.int64),
  )


def parts(x: Array, y: Array) -> Parts:
  """The same three parts always; the images of the three differ."""
  order = np.random.default_rng(0).permutation(len(x))
  train, adapt, test = np.split(order, [TRAIN, TRAIN + ADAPT])
  return Parts(*((x[rows], y[rows]) for rows in (train, adapt, test)))


def spoilt(kind: str, severity: int) -> Parts:
  """The three parts, of corrupted images; a pixel's noise is always the same.

  Args:
    kind: a key of `corruptions.KINDS`.
    severity: 1 to 5.

  Raises:
    TflmFgError: if there is no such corruption, or no scikit-learn.
  """
  x, y = images()
  return parts(corruptions.corrupt(x, kind, severity, peak=1.0), y)


def split_of(
  kind: str, severity: int, shots: int, seed: int
) -> tuple[Part, Part]:
  """A few corrupted images of each digit, and the same 447 to score on."""
  held = spoilt(kind, severity)
  found = sampling.sample(*held.adapt, None, shots, 0, seed)
  return found.train, held.test
