"""A .tflite that trains itself, from Python: the whole story in one program.

  python teach.py train MODEL DATA WEIGHTS     remember, train, save
  python teach.py restore MODEL DATA WEIGHTS   a new process: load

Both print the accuracy before and after. MODEL is what
tflm-fg-export --target=signatures wrote. DATA is a folder with train_x.bin,
train_y.bin, test_x.bin and test_y.bin (../make_data.py). WEIGHTS is the file
that keeps what was learned. The last line is JSON, for programs.

Needs NumPy, and ai-edge-litert or tflite-runtime; nothing of tflm_fg.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

try:
  from ai_edge_litert.interpreter import Interpreter
except ImportError:
  from tflite_runtime.interpreter import Interpreter

STEPS, RATE = 100, 1.0
EPOCHS = 8
"""Of `adapt_input`, in files that have it."""


TIMES = ("adapt_input_ms", "remember_ms", "train_ms")


def read(folder, what, details):
  """Samples in the type of the model's input, one a row, and their classes."""
  y = np.fromfile(f"{folder}/{what}_y.bin", "<i4")
  x = np.fromfile(f"{folder}/{what}_x.bin", details["dtype"])
  if not len(y) or x.size != len(y) * np.prod(details["shape"]):
    raise SystemExit(f"{folder}: holds no {what} samples of this model")
  return x.reshape(len(y), *details["shape"]), y


def accuracy(infer, x, y):
  """The share of samples whose highest score is their class's."""
  found = [infer(x=one)["probabilities"].argmax() for one in x]
  return float(np.mean(np.asarray(found) == y))


def adapt_input(call, x, y):
  """Fits the input to the samples, a batch a call, and each epoch anew."""
  details = call["adapt_input"].get_input_details()
  batch = details["y"]["shape"][0]
  seed = 0
  for epoch in range(EPOCHS):
    order = np.roll(np.arange(len(y)), -epoch)
    for start in range(0, len(y), batch):
      part = order[start : start + batch]
      some, labels = np.zeros(details["x"]["shape"], x.dtype), -np.ones(batch)
      some[: len(part)], labels[: len(part)] = x[part][:, 0], y[part]
      call["adapt_input"](
        x=some, y=labels.astype(np.int32), seed=np.int32([seed])
      )
      seed += 1


def save(call, path):
  """Writes the weights beside their place and renames them: all or nothing."""
  held = call["get_weights"]()
  with open(f"{path}.new", "wb") as file:
    for name in sorted(held):
      file.write(held[name].tobytes())
  os.replace(f"{path}.new", path)


def restore(call, path):
  """Gives the weights back to a model in a new process."""
  with open(path, "rb") as file:
    data = file.read()
  details = call["set_weights"].get_input_details()
  sizes = [np.dtype(d["dtype"]).itemsize for d in details.values()]
  sizes = [s * np.prod(d["shape"]) for s, d in zip(sizes, details.values())]
  if len(data) != sum(sizes):
    raise SystemExit(f"{path}: holds no weights of this model")
  weights, start = {}, 0
  for name in sorted(details):
    shape, dtype = details[name]["shape"], details[name]["dtype"]
    count = int(np.prod(shape))
    weights[name] = np.frombuffer(data, dtype, count, start).reshape(shape)
    start += weights[name].nbytes
  if not call["set_weights"](**weights)["accepted"][0]:
    raise SystemExit(f"{path}: the model refuses these weights")


def main(what, model, data, kept):
  """The story."""
  interpreter = Interpreter(model_path=model, num_threads=1)
  call = {
    key: interpreter.get_signature_runner(key)
    for key in interpreter.get_signature_list()
  }
  details = call["infer"].get_input_details()["x"]
  x, y = read(data, "train", details)
  test = read(data, "test", details)
  told = dict.fromkeys(("count", "loss", *TIMES), 0.0)
  start = time.perf_counter()
  told["before"] = accuracy(call["infer"], *test)
  told["infer_ms"] = 1e3 * (time.perf_counter() - start) / len(test[1])
  print(f"accuracy before: {told['before']:.4f}")
  if what == "train":
    start = time.perf_counter()
    if "adapt_input" in call:
      adapt_input(call, x, y)
    told["adapt_input_ms"] = 1e3 * (time.perf_counter() - start)
    start = time.perf_counter()
    for one, label in zip(x, y):
      count = call["remember"](x=one, y=np.array([label], np.int32))["count"]
    told["remember_ms"] = 1e3 * (time.perf_counter() - start) / len(y)
    start = time.perf_counter()
    how = {"steps": np.int32([STEPS]), "rate": np.float32([RATE])}
    loss = call["train"](**how)["loss"]
    told["train_ms"] = 1e3 * (time.perf_counter() - start)
    told["count"], told["loss"] = int(count[0]), float(loss[0])
    print(f"remembered {told['count']} samples, loss {told['loss']:.4f}")
  else:
    restore(call, kept)
  save(call, kept)
  told["after"] = accuracy(call["infer"], *test)
  print(f"accuracy after: {told['after']:.4f}")
  print(json.dumps(told))


if __name__ == "__main__":
  if len(sys.argv) != 5 or sys.argv[1] not in ("train", "restore"):
    raise SystemExit(__doc__)
  try:
    main(*sys.argv[1:])
  except (OSError, ValueError) as fault:  # what a file is not
    raise SystemExit(str(fault)) from None
