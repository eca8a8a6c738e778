"""The process that `conversion` starts: load, quantize, compare, write.

It reads request.json and samples.npy from the folder that it is given, prints a
line a stage, and leaves model.tflite and answer.json in the folder.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import comparison, float_file, quantize
from converters.conversion import STAGE
from tflm_fg.types import TflmFgError, one_line


def main() -> None:
  """Converts what the folder in the command line asks for."""
  folder = pathlib.Path(sys.argv[1])
  request = json.loads((folder / "request.json").read_text())
  answer: dict[str, Any] = {}
  samples = None
  if (folder / "samples.npy").exists():
    samples = np.load(folder / "samples.npy")
  try:
    work = _from_file if request["path"].endswith(".tflite") else _from_model
    data = work(request, samples, answer, folder)
    (folder / "model.tflite").write_bytes(data)
  except TflmFgError as fault:
    answer["error"] = str(fault)
  except MemoryError as fault:
    answer["error"] = f"{request['path']}: out of memory: {one_line(fault)}"
  _note(folder, answer)


def _from_model(
  request: dict[str, Any],
  samples: NDArray[np.floating] | None,
  answer: dict[str, Any],
  folder: pathlib.Path,
) -> bytes:
  """A Keras model or a SavedModel as an integer file."""
  path = request["path"]
  _tell(f"loading {path} in TensorFlow")
  model = quantize.load(path)
  if samples is None and not quantize.is_quantization_aware(model):
    raise TflmFgError(
      f"{path}: quantizing needs --calibration=X.npz with x, about 100 of your "
      "samples as floats"
    )
  layers = dict(_recurrent(model))
  if request["unroll"]:
    for layer, _ in layers.values():
      layer.unroll = True
  else:
    answer["recurrent"] = {name: steps for name, (_, steps) in layers.items()}
  _note(folder, answer)  # a crash would leave nothing else
  _tell(_quantizing(samples))
  data = quantize.to_integer(model, samples, request["activations"])
  _compare(quantize.float_outputs(model), data, samples, answer)
  return data


def _from_file(
  request: dict[str, Any],
  samples: NDArray[np.floating] | None,
  answer: dict[str, Any],
  folder: pathlib.Path,
) -> bytes:
  """A float .tflite as an integer one."""
  del folder
  assert samples is not None
  plain = pathlib.Path(request["path"]).read_bytes()
  _tell(_quantizing(samples))
  data = float_file.to_integer(plain, samples, request["activations"])
  _compare(float_file.float_outputs(plain), data, samples, answer)
  return data


def _quantizing(samples: NDArray[np.floating] | None) -> str:
  most = quantize.MAX_CALIBRATION_SAMPLES
  count = 0 if samples is None else min(len(samples), most)
  with_samples = f" with {count} calibration samples" * bool(count)
  return f"quantizing{with_samples}; this may take a minute"


def _compare(
  floats: Callable[[Any], Any],
  data: bytes,
  samples: NDArray[np.floating] | None,
  answer: dict[str, Any],
) -> None:
  """Adds the comparison to the answer; a model that cannot be run has none."""
  if samples is None:
    return
  _tell("comparing the integer file with the float model")
  try:
    found = comparison.compare(floats, data, samples)
  except (RuntimeError, ValueError, TypeError) as fault:
    _tell(f"they could not be compared: {one_line(fault, 200)}")
    return
  answer["comparison"] = None if found is None else dataclasses.asdict(found)


def _recurrent(model: Any) -> Iterator[tuple[str, tuple[Any, int]]]:
  """The recurrent layers of a Keras model, by name, with their steps."""
  flattened = getattr(model, "_flatten_layers", None)
  for layer in flattened() if flattened else ():
    if getattr(layer, "unroll", None) is False:
      yield layer.name, (layer, _steps(layer))


def _steps(layer: Any) -> int:
  """How many steps a recurrent layer takes; 0 where it does not say."""
  try:
    return int(layer.input.shape[1] or 0)
  except Exception:  # a layer within a layer has no input of its own
    return 0


def _tell(stage: str) -> None:
  print(STAGE + stage, flush=True)


def _note(folder: pathlib.Path, answer: dict[str, Any]) -> None:
  (folder / "answer.json").write_text(json.dumps(answer))
