"""tflm-fg-convert: mark what may train in a model, quantizing it if needed.

  tflm-fg-convert --model=kws.tflite --trainable=head --out=marked.tflite
  tflm-fg-convert --model=kws.keras --calibration=samples.npz
    --out=marked.tflite
  tflm-fg-convert --model=float.tflite --calibration=samples.npz
    --activations=int16 --trainable=wide-head --out=marked.tflite

An integer .tflite stays as it is but for the mark, unless something has to be
mended before it can train, which is said. A Keras model (.keras, .h5), a
SavedModel folder or a float .tflite is first quantized to int8, or int16x8,
with the samples in --calibration, and compared with the float model on them.
That needs TensorFlow, and happens in a process of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import flags

import tflm_fg
from apps import cli, outputs
from apps.flags import graph_flags, output_flags, sample_flags, target_flags
from converters import conversion, float_file, quantize
from tflm_fg import files
from tflm_fg.marking import opened
from tflm_fg.placement import measured, with_source_means
from tflm_fg.requirements import in_words, requirements
from tflm_fg.runtimes import RuntimeOptions, require_runs, require_target
from tflm_fg.samples import Wanted, model_input, read_samples
from tflm_fg.tflite import (
  GraphOptions,
  MarkedModel,
  ModelFile,
  carried_note,
  choice_note,
  input_spec,
)
from tflm_fg.types import Array, TflmFgError

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model",
  None,
  "a .tflite, .keras or .h5 file, or a SavedModel folder",
  required=True,
)
_OUT = flags.DEFINE_string("out", None, "the marked .tflite", required=True)
cli.section(cli.OFTEN)
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
  "about 100 samples, in the units the model was trained on: "
  f"{sample_flags.FORMS}; they set the ranges of activations, and of what a "
  "wide head joins",
)
cli.section(cli.SOMETIMES)
_REPORT = flags.DEFINE_string(
  "report", None, "JSON with what the marked file needs, and all notes"
)
_STATISTICS = flags.DEFINE_string(
  "statistics",
  None,
  "source samples, as the model was trained on, in any form of --calibration; "
  "each layer's mean activations go into the mark, for learning without labels",
)


def main() -> None:
  """Loads, quantizes, marks, saves."""
  path = _MODEL.value
  files.require_outputs(
    cli.values(_OUT, _REPORT),
    cli.values(_MODEL) | sample_flags.sources(_CALIBRATION, _STATISTICS),
  )
  require_target(target_flags.TARGET.value)
  plain = opened(
    _plain(path), path, output_flags.OUTPUT.value, output_flags.INPUT.value
  )
  marked = tflm_fg.mark_trainable(
    plain,
    _TRAINABLE.value,
    graph_options=_graph_options(plain),
    target=target_flags.TARGET.value,
  )
  if _STATISTICS.value is not None:
    samples = _samples(_STATISTICS.value, plain)
    marked = with_source_means(marked, samples, RuntimeOptions())
  require_runs(marked.file, RuntimeOptions().runtime)
  needs = requirements(plain, marked.file)
  told = {"notes": list(marked.notes), "needs": needs}
  contents = {_OUT.value: marked.data}
  if _REPORT.value:
    report = cli.to_json(outputs.telling_of(told, marked.data))
    contents = {_REPORT.value: report, **contents}
  files.write_set(contents)
  _tell_of(plain, marked, needs)


def _tell_of(
  plain: ModelFile, marked: MarkedModel, needs: Mapping[str, Any]
) -> None:
  """What was changed, what the file needs, and what may train."""
  if note := choice_note(plain.subgraph):
    print(f"note: {note}")
  for note in marked.notes:
    print(f"mended: {note}")
  for line in in_words(needs):
    print(line)
  print(
    f"{_OUT.value}: {len(marked.data)} bytes, {marked.mark.numbers} trainable "
    f"numbers in {len(marked.mark.trainable)} tensors"
  )


def _graph_options(plain: ModelFile) -> GraphOptions:
  """How the file may grow, measured on the calibration samples if there are."""
  graph_options = graph_flags.graph_options()
  if not _wants_wide_head() or _CALIBRATION.value is None:
    return graph_options
  samples = _samples(_CALIBRATION.value, plain)
  return measured(plain, samples, graph_options, RuntimeOptions())[0]


def _samples(source: str, plain: ModelFile) -> Array:
  """Samples in any form on a model's input grid."""
  x = sample_flags.load(source, plain, labels=False).x
  return model_input(x, input_spec(plain), source)


def _wants_wide_head() -> bool:
  return "wide-head" in [part.strip() for part in _TRAINABLE.value.split(",")]


def _plain(path: str) -> bytes:
  """The integer file to mark: the one that came, or a converted one."""
  _refuse_other_formats(path)
  if os.path.isdir(path) or path.endswith(quantize.KERAS_SUFFIXES):
    return _converted(path)
  data = files.read_bytes(path)
  file = ModelFile.open(data, path)
  kind = float_file.kind_of(file)
  if kind == float_file.INTEGER:
    return _as_it_is(path, data)
  if kind == float_file.DYNAMIC_RANGE or _CALIBRATION.value is None:
    raise TflmFgError(float_file.cure(path, kind))
  require_runs(file, RuntimeOptions().runtime)
  return _converted(path)


def _as_it_is(path: str, data: bytes) -> bytes:
  for flag in (_ACTIVATIONS, _CALIBRATION):
    if flag is _CALIBRATION and _wants_wide_head():
      continue
    if flag.present:
      raise TflmFgError(
        f"--{flag.name} is for a float model; {path} is an integer file, which "
        "is taken as it is"
      )
  return data


_TOOLS = {
  ".onnx": (
    "an ONNX model; pip install onnx2tf, onnx2tf -i MODEL.onnx -o FOLDER -osd "
    "makes a SavedModel"
  ),
  ".pt": (
    "a PyTorch model; litert-torch (before: ai-edge-torch) makes a float "
    ".tflite: litert_torch.convert(model.eval(), (sample,)).export(PATH)"
  ),
}
"""Formats that other tools convert, by the ends of their names."""

_TOOLS[".pth"] = _TOOLS[".pt"]


def _refuse_other_formats(path: str) -> None:
  """Names the tool that makes a file which this command takes."""
  for end, said in _TOOLS.items():
    if path.endswith(end):
      raise TflmFgError(
        f"{path}: {said}; then give it to --model, with --calibration=X.npz"
      )


def _converted(path: str) -> bytes:
  """Quantizes in a child, telling what it does, and how well it went."""
  quantize.require_loadable(path)
  samples = None
  if _CALIBRATION.value is not None:
    samples = _float_samples(_CALIBRATION.value, path)
  made = conversion.convert(path, samples, _ACTIVATIONS.value, _tell)
  if made.comparison is not None:
    print(made.comparison.line())
  if carried := carried_note(ModelFile.open(made.data, path)):
    print(f"note: {carried}")
  return made.data


def _float_samples(source: str, path: str) -> Array:
  """Samples for a float model, in its units.

  Raises:
    TflmFgError: if they cannot be read, or nothing says their shape or units.
  """
  if path.endswith(".tflite"):
    x = sample_flags.load(source, path, labels=False).x
    if os.path.isdir(source) and x.dtype == np.uint8:
      raise TflmFgError(
        f"{source}: a float model does not say what the pixels 0 and 255 are "
        "in its units; add --pixel_range=0,1, or -1,1, or 0,255"
      )
    return x

  def unknown() -> Wanted:
    raise TflmFgError(
      f"--calibration={source}: this kind of model does not say the shape of a "
      "sample; give an .npz with x, or x.npy"
    )

  return read_samples(source, unknown, labels=False).x


def _tell(line: str) -> None:
  """Says on stderr what is being done."""
  print(f"{line} ...", file=sys.stderr, flush=True)


def run() -> int:
  """The console script."""
  return cli.launch(
    main,
    __name__,
    also=[
      graph_flags.__name__,
      target_flags.__name__,
      output_flags.__name__,
      sample_flags.__name__,
    ],
  )


if __name__ == "__main__":
  sys.exit(run())
