"""Write samples as the sample programs read them: plain bytes, no library.

  python apps/samples/make_data.py --model=T.tflite --train=mine.npz
    --test=others.npz --out=data

An .npz holds `x` [n, ...] and `y` [n], as everywhere in tflm_fg. Real numbers
are quantized as the model's input says; integers of its own type are taken as
they are. The folder gets train_x.bin and test_x.bin, one sample behind the
other in the type of the input of `infer`, and train_y.bin and test_y.bin, the
classes as int32, little endian.

Training samples come in a random order, always the same: what learns from a
few at a time should not see one class after the other. Without --test, every
fourth sample of each class is kept aside to test on.

Needs NumPy and ai-edge-litert; nothing of tflm_fg.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def input_of(path: str) -> dict:
  """What `infer` takes as `x`: shape, dtype and quantization."""
  interpreter = Interpreter(model_path=path)
  if "infer" not in interpreter.get_signature_list():
    raise SystemExit(
      f"{path}: no signature infer; write the file with "
      "tflm-fg-export --target=signatures"
    )
  return interpreter.get_signature_runner("infer").get_input_details()["x"]


def samples(path: str, details: dict) -> tuple[np.ndarray, np.ndarray]:
  """An .npz as the model takes it: x [n, ...] in its type, and int32 y [n]."""
  with np.load(path) as held:
    if not {"x", "y"} <= set(held.files):
      raise SystemExit(f"{path}: need arrays x and y, got {held.files}")
    x, y = held["x"], held["y"]
  shape = tuple(int(n) for n in details["shape"])
  dtype = np.dtype(details["dtype"])
  if len(x) != len(y) or x[:1].size != np.prod(shape):
    raise SystemExit(
      f"{path}: x {x.shape} and y {y.shape} are not samples of {shape}"
    )
  if dtype.kind == "f" and x.dtype in (np.int8, np.int16):
    raise SystemExit(
      f"{path}: x holds {x.dtype}, steps of a quantized input; a model with "
      "--io=float32 takes the real numbers behind them"
    )
  if x.dtype != dtype and dtype.kind == "i":
    scale, zero_point = details["quantization"]
    limits = np.iinfo(dtype)
    steps = np.rint(x.astype(np.float64) / scale) + zero_point
    x = np.clip(steps, limits.min, limits.max)
  return x.astype(dtype).reshape(len(x), *shape), y.astype("<i4")


def parted(
  x: np.ndarray, y: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
  """Training samples, and every fourth of each class to test on."""
  rank = np.zeros(len(y), np.int64)
  for label in np.unique(y):
    rank[y == label] = np.arange(np.sum(y == label))
  tested = rank % 4 == 3
  return (x[~tested], y[~tested]), (x[tested], y[tested])


def main() -> None:
  """Reads, quantizes, writes."""
  parser = argparse.ArgumentParser(description="Write samples as plain bytes.")
  parser.add_argument("--model", required=True, help="the exported .tflite")
  parser.add_argument("--train", required=True, help="an .npz with x and y")
  parser.add_argument("--test", help="an .npz to test on")
  parser.add_argument("--out", required=True, help="a folder, made if needed")
  given = parser.parse_args()
  details = input_of(given.model)
  train = samples(given.train, details)
  if given.test:
    test = samples(given.test, details)
  else:
    train, test = parted(*train)
  order = np.random.default_rng(0).permutation(len(train[1]))
  train = train[0][order], train[1][order]
  os.makedirs(given.out, exist_ok=True)
  for name, (x, y) in (("train", train), ("test", test)):
    x.tofile(os.path.join(given.out, f"{name}_x.bin"))
    y.tofile(os.path.join(given.out, f"{name}_y.bin"))
    print(f"{name}: {len(y)} samples of {x[:1].nbytes} bytes")


if __name__ == "__main__":
  try:
    main()
  except (OSError, ValueError) as fault:  # what a file is not
    raise SystemExit(str(fault)) from None
