"""Read images in the IDX format, as the MNIST family is given out.

A file is two zero bytes, the type of its numbers, the count of its axes, each
axis as a 32-bit integer, and the numbers, all in big-endian order
(http://yann.lecun.com/exdb/mnist). It may be gzipped. Debian ships
Fashion-MNIST (Xiao et al., arXiv 1708.07747) as dataset-fashion-mnist.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib

import numpy as np
from numpy.typing import NDArray

from tflm_fg import files, limits
from tflm_fg.types import Array, TflmFgError

SPLITS = ("all", "train", "test")

PREFIXES = {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}
"""What the files of each split begin with."""

_TYPES = {
  0x08: np.dtype(np.uint8),
  0x09: np.dtype(np.int8),
  0x0B: np.dtype(">i2"),
  0x0C: np.dtype(">i4"),
  0x0D: np.dtype(">f4"),
  0x0E: np.dtype(">f8"),
}

_GZIP = b"\x1f\x8b"

_MOST_BYTES = 1 << 31
"""No file may unpack to more."""


def read(
  folder: str, split: str = "test"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
  """Reads the images and classes of a folder.

  Args:
    folder: where train-images-idx3-ubyte, train-labels-idx1-ubyte and the same
      of t10k lie, with or without .gz.
    split: one of SPLITS.

  Returns:
    Grey images, uint8 [N, H, W, 1], and classes, int64 [N].

  Raises:
    TflmFgError: if a file is missing, damaged, or does not fit the other.
  """
  parts = [_part(folder, prefix) for prefix in PREFIXES[split]]
  sizes = {x.shape[1:] for x, _ in parts}
  if len(sizes) > 1:
    raise TflmFgError(
      f"{folder}: training images of {list(parts[0][0].shape[1:3])} pixels and "
      f"test images of {list(parts[1][0].shape[1:3])}; read one part alone"
    )
  x, y = (np.concatenate(column) for column in zip(*parts))
  return x, y


def array(path: str) -> Array:
  """Reads one IDX file.

  Args:
    path: of the file, gzipped or not.

  Returns:
    Numbers as the file has them, in the machine's byte order.

  Raises:
    TflmFgError: if it cannot be read, or is no whole IDX file.
  """
  content = _unpacked(files.read_bytes(path), path)
  if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
    raise TflmFgError(
      f"{path}: not an IDX file: it begins with {content[:4].hex(' ')}; need "
      "00 00, a type and a count of axes"
    )
  dtype, axes = _TYPES[content[2]], content[3]
  start = 4 + 4 * axes
  if not axes or len(content) < start:
    raise TflmFgError(
      f"{path}: {len(content)} bytes, and {axes} axes are announced; fetch it "
      "again"
    )
  shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, offset=4))
  need = math.prod(shape) * dtype.itemsize
  if len(content) - start != need:
    raise TflmFgError(
      f"{path}: {len(content) - start} bytes behind a header for {list(shape)} "
      f"{dtype.name}, which are {need}; fetch it again"
    )
  numbers = np.frombuffer(content, dtype, offset=start).reshape(shape)
  return numbers.astype(dtype.newbyteorder("="))


def _part(
  folder: str, prefix: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
  place = _found(folder, f"{prefix}-images-idx3-ubyte")
  x = array(place)
  if x.ndim != 3 or x.dtype != np.uint8 or not x.size:
    raise TflmFgError(
      f"{place}: holds {x.dtype} {list(x.shape)}; need uint8 [N, H, W] images"
    )
  path = _found(folder, f"{prefix}-labels-idx1-ubyte")
  y = array(path)
  if y.shape != x.shape[:1] or y.dtype != np.uint8:
    raise TflmFgError(
      f"{path}: holds {y.dtype} {list(y.shape)}; need uint8 [{len(x)}], a "
      f"class for each image of {os.path.basename(place)}"
    )
  return x[..., None], y.astype(np.int64)


def _found(folder: str, name: str) -> str:
  """The path of a file, which may be gzipped."""
  if not os.path.isdir(folder):
    raise TflmFgError(
      f"{folder}: no such folder; need one with {name}[.gz] (Fashion-MNIST: "
      "apt-get install dataset-fashion-mnist)"
    )
  for ending in ("", ".gz"):
    path = os.path.join(folder, name + ending)
    if os.path.isfile(path):
      return path
  raise TflmFgError(
    f"{os.path.join(folder, name)}: no such file, nor {name}.gz; need the "
    "files of the MNIST family, or name the part that is there, as in "
    f"idx:{folder}:test"
  )


def _unpacked(content: bytes, path: str) -> bytes:
  if content[:2] != _GZIP:
    return content
  most = min(_MOST_BYTES, limits.room() // 3)
  try:
    with gzip.open(io.BytesIO(content)) as packed:
      plain = packed.read(most + 1)
  except (OSError, EOFError, zlib.error):
    raise TflmFgError(
      f"{path}: damaged gzip of {len(content)} bytes; fetch it again"
    ) from None
  if len(plain) > most:
    raise TflmFgError(
      f"{path}: {limits.shown(len(content))} that unpack to more than "
      f"{limits.shown(most)}; give fewer images"
      + ", or raise --max_memory"
      * (most < _MOST_BYTES)
    )
  return plain
