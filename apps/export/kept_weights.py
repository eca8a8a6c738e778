"""What `get_weights` gave, as a program kept it in a file."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from tflm_fg import files
from tflm_fg.samples import read_npz
from tflm_fg.types import Array, TflmFgError


def read(path: str, details: Mapping[str, Any]) -> dict[str, Array]:
  """Reads weights as `set_weights` takes them.

  Args:
    path: of an .npz with the outputs of `get_weights` by their names; or of
      their bytes one behind the other, little endian, in the order of their
      names, as the sample programs write them.
    details: shape and dtype of each input of `set_weights`, by name.

  Raises:
    TflmFgError: if the file is neither, or of another model.
  """
  if zipfile.is_zipfile(path):
    held = _of_npz(path, details)
  else:
    held = _of_bytes(path, details)
  return {n: held[n].reshape(details[n]["shape"]) for n in details}


def _of_npz(path: str, details: Mapping[str, Any]) -> dict[str, Array]:
  names, held = read_npz(path, lambda there: there)
  if set(names) != set(details) or any(
    held[n].size != math.prod(details[n]["shape"])
    or held[n].dtype != details[n]["dtype"]
    for n in details
  ):
    raise TflmFgError(
      f"{path}: not the weights of this model, which are {_listed(details)}; "
      "keep what get_weights gives as it is"
    )
  return held


def _of_bytes(path: str, details: Mapping[str, Any]) -> dict[str, Array]:
  data = files.read_bytes(path)
  held: dict[str, Array] = {}
  start = 0
  for name in sorted(details):
    dtype = np.dtype(details[name]["dtype"]).newbyteorder("<")
    end = start + math.prod(details[name]["shape"]) * dtype.itemsize
    held[name] = np.frombuffer(data[start:end], np.uint8)
    start = end
  if len(data) != start:
    raise TflmFgError(
      f"{path}: {len(data)} bytes; the weights of this model have {start}: "
      f"{_listed(details)}"
    )
  return {
    name: value.view(np.dtype(details[name]["dtype"]).newbyteorder("<"))
    for name, value in held.items()
  }


def _listed(details: Mapping[str, Any]) -> str:
  """The tensors by name with their types and shapes."""
  return ", ".join(
    f"{name} {np.dtype(details[name]['dtype']).name} "
    f"{[int(n) for n in details[name]['shape']]}"
    for name in sorted(details)
  )
