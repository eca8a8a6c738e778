"""tflm-fg-convert: mark what may train in a model, quantizing it if needed.

  tflm-fg-convert --model=kws.tflite --trainable=head --out=marked.tflite
  tflm-fg-convert --model=kws.keras --calibration=samples.npz
  --out=marked.tflite

A .tflite stays as it is but for the mark, unless something has to be mended
before it can train, which is said. A Keras model (.keras, .h5) or a
SavedModel folder is first quantized to int8, or int16x8, with the samples in
--calibration; that needs TensorFlow.
"""

from __future__ import annotations

import os
import sys

from absl import flags

import tflm_fg
from apps import cli, graph_flags
from converters import quantize
from tflm_fg import files
from tflm_fg.placement import measured, with_source_means
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.tflite import GraphOptions, input_spec
from tflm_fg.training import load_npz, model_input
from tflm_fg.types import Array, TflmFgError

_MODEL = flags.DEFINE_string(
  "model",
  None,
  "a .tflite, .keras or .h5 file, or a SavedModel folder",
  required=True,
)
_OUT = flags.DEFINE_string("out", None, "the marked .tflite", required=True)
_TRAINABLE = flags.DEFINE_string(
  "trainable",
  "head",
  "what may train: head (the last FULLY_CONNECTED or CONV_2D with its bias), "
  "wide-head (the same, reading earlier layers too), prompt (an offset a "
  "channel of the input), first-bias, bias, all, a regular expression on "
  "tensor names, or several with commas",
)
_ACTIVATIONS = flags.DEFINE_enum(
  "activations",
  "int8",
  list(quantize.ACTIVATIONS),
  "activations of a converted Keras model; int16 costs time and memory",
)
_CALIBRATION = flags.DEFINE_string(
  "calibration",
  None,
  "an .npz with x [N, ...]: about 100 float samples, in the units the model "
  "was trained on; they set the ranges of activations, and of what a wide head "
  "joins",
)
_STATISTICS = flags.DEFINE_string(
  "statistics",
  None,
  "an .npz with x [N, ...]: source samples, as the model was trained on; each "
  "layer's mean activations go into the mark, for learning without labels",
)


def main() -> None:
  """Loads, quantizes, marks, saves."""
  path = _MODEL.value
  files.require_outputs(
    cli.values(_OUT), cli.values(_MODEL, _CALIBRATION, _STATISTICS)
  )
  plain = _quantized() if _is_keras(path) else _as_it_is(path)
  marked = tflm_fg.mark_trainable(
    plain,
    _TRAINABLE.value,
    graph_options=_graph_options(plain),
    name=path,
  )
  if _STATISTICS.value is not None:
    samples = _samples(_STATISTICS.value, plain)
    marked = with_source_means(marked, samples, RuntimeOptions())
  files.write_atomically(_OUT.value, marked.data)
  for note in marked.notes:
    print(f"mended: {note}")
  print(
    f"{_OUT.value}: {len(marked.data)} bytes, {marked.mark.numbers} trainable "
    f"numbers in {len(marked.mark.trainable)} tensors"
  )


def _graph_options(plain: bytes) -> GraphOptions:
  """How the file may grow, measured on the calibration samples if there are."""
  graph_options = graph_flags.graph_options()
  if not _wants_wide_head() or _CALIBRATION.value is None:
    return graph_options
  samples = _samples(_CALIBRATION.value, plain)
  return measured(plain, samples, graph_options, RuntimeOptions())[0]


def _samples(path: str, plain: bytes) -> Array:
  """Samples of a file on a model's input grid."""
  x = load_npz(path, labels=False).x
  return model_input(x, input_spec(plain), path)


def _wants_wide_head() -> bool:
  return "wide-head" in [part.strip() for part in _TRAINABLE.value.split(",")]


def _as_it_is(path: str) -> bytes:
  for flag in (_ACTIVATIONS, _CALIBRATION):
    if flag is _CALIBRATION and _wants_wide_head():
      continue
    if flag.present:
      raise TflmFgError(
        f"--{flag.name} is for a Keras model or SavedModel; {path} is taken "
        "as it is"
      )
  return files.read_bytes(path)


def _is_keras(path: str) -> bool:
  """Whether TensorFlow must load it: by name, or a SavedModel folder."""
  if path.endswith(quantize.KERAS_SUFFIXES):
    return True
  return os.path.isdir(path)


def _quantized() -> bytes:
  model = quantize.load(_MODEL.value)
  samples = None
  if _CALIBRATION.value is not None:
    samples = load_npz(_CALIBRATION.value, labels=False).x
  elif not quantize.is_quantization_aware(model):
    raise TflmFgError(
      f"{_MODEL.value}: quantizing needs --calibration=X.npz with x, about "
      "100 of your samples as floats"
    )
  return quantize.to_integer(model, samples, _ACTIVATIONS.value)


def run() -> int:
  """The console script."""
  return cli.launch(main, __name__, also=[graph_flags.__name__])


if __name__ == "__main__":
  sys.exit(run())
