"""The target tflm: a folder for TensorFlow Lite Micro."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from apps.export import tflm_texts
from tflm_fg import MarkedModel, micro
from tflm_fg.methods import Method
from tflm_fg.runtimes import is_installed, require_runs
from tflm_fg.types import TflmFgError


def folder(
  marked: MarkedModel,
  method: Method,
  objective: Mapping[str, Any],
  samples: int,
  path: str,
) -> tuple[dict[str, bytes], list[str]]:
  """Makes the files of the folder.

  Args:
    marked: what the device runs and trains.
    method: how it trains; `methods.Auto()` for what suits the tensors.
    objective: the loss, and whether there are labels, as `setting_flags` has
      them.
    samples: how many samples it holds at most.
    path: of the model, for names.

  Returns:
    The files by their paths in the folder, and lines for the user.

  Raises:
    TflmFgError: naming what a device cannot hold or TFLM does not run.
  """
  pieces = micro.device_pieces(marked)
  _require_known(pieces, path)
  if is_installed("tflm"):
    require_runs(marked.file, "tflm")
  blob = micro.phase_blob(
    marked,
    method,
    loss=objective["loss"],
    labelled=objective["labels"] != "none",
  )
  name = _identifier(path)
  sizes = micro.device_sizes(blob, samples)
  made = {
    "src/fg_model.h": _header(pieces, blob, sizes, samples),
    "src/fg_model.c": _constants(pieces, blob),
    "src/fg_operators.h": _operators(pieces),
    "CMakeLists.txt": tflm_texts.CMAKE.replace("@NAME@", name),
    "library.properties": tflm_texts.ARDUINO.replace("@NAME@", name),
    "idf_component.yml": tflm_texts.ESP_IDF,
    "README.md": tflm_texts.readme(name, pieces, sizes, samples),
  }
  return (
    {
      **{n: t.encode() for n, t in made.items()},
      **micro.c_files(),
      "host/marked.tflite": marked.file.data,
      "host/blob.bin": blob,
    },
    tflm_texts.summary(pieces, sizes, samples),
  )


def _require_known(pieces: micro.DevicePieces, path: str) -> None:
  """Refuses operators that TFLM's own resolver cannot be told by name."""
  for piece in (pieces.prefix, pieces.trained):
    for kernel in piece.kernels if piece else ():
      if "..." in kernel.resolver_call or " " in kernel.name:
        raise TflmFgError(
          f"{path}: {kernel.name} is no operator that TensorFlow Lite Micro "
          "brings; choose a model without it"
        )


def _identifier(path: str) -> str:
  """A name of letters, digits and underscores that tells of the model."""
  stem = os.path.splitext(os.path.basename(path))[0]
  return "tflm_fg_" + (re.sub(r"\W+", "_", stem, flags=re.ASCII) or "model")


def _header(
  pieces: micro.DevicePieces,
  blob: bytes,
  sizes: micro.DeviceSizes,
  samples: int,
) -> str:
  prefix, trained = pieces.prefix, pieces.trained
  numbers = {
    "FG_OUTPUTS": trained.output_bytes,
    "FG_CLASSES": len(_names(pieces)),
    "FG_ZERO_POINT": pieces.zero_point,
    "FG_INPUT_BYTES": pieces.input_bytes,
    "FG_SAMPLE_BYTES": trained.sample_bytes,
    "FG_HAS_PREFIX": int(prefix is not None),
    "FG_PREFIX_ARENA_BYTES": prefix.arena_bytes if prefix else 0,
    "FG_PREFIX_OPERATORS": len(prefix.kernels) if prefix else 0,
    "FG_TRAINED_ARENA_BYTES": trained.arena_bytes,
    "FG_TRAINED_OPERATORS": len(trained.kernels),
    "FG_TENSORS": len(pieces.tensors),
    "FG_FLOWS": len(pieces.tensors) if pieces.flows else 0,
    "FG_MAX_SAMPLES": samples,
    "FG_KEPT_SHARE": 5,
    "FG_HAS_FEATURES": int(sizes.features),
    "FG_LABELS": sizes.labels,
    "FG_BUFFER_BYTES": sizes.buffer_bytes,
    "FG_SAVED_BYTES": sizes.saved_bytes,
  }
  defined = "\n".join(f"#define {n} {v}" for n, v in numbers.items())
  return tflm_texts.HEADER.replace("@DEFINED@", defined)


def _constants(pieces: micro.DevicePieces, blob: bytes) -> str:
  """The models, the blob, and where the trainable tensors lie."""
  parts = [tflm_texts.CONSTANTS]

  def array(name: str, data: bytes, writable: bool = False) -> str:
    text = micro.c_array(
      name, np.frombuffer(data, np.uint8), writable=writable, align=16
    )
    return text.removeprefix("static ")

  if pieces.prefix is not None:
    parts.append(array("fg_prefix_model", pieces.prefix.data))
  parts += [
    array("fg_trained_model", pieces.trained.data, not pieces.flows),
    array("fg_blob", blob),
    f"const uint32_t fg_blob_bytes = {len(blob)};\n",
  ]
  places = [f"fg_trained_model + {p}" for p in pieces.places]
  if pieces.flows:
    places = [f"flow{i}" for i in range(len(pieces.values))]
    parts += [
      micro.c_array(f, v, writable=True) for f, v in zip(places, pieces.values)
    ]
  parts.append(
    f"void *const fg_tensors[{len(places)}] = {{{', '.join(places)}}};\n"
  )
  names = ",\n".join(f"  {_quoted(c)}" for c in _names(pieces))
  count = len(_names(pieces))
  parts.append(
    f"const char *const fg_class_names[{count}] = {{\n{names}\n}};\n"
  )
  return "\n".join(parts)


def _names(pieces: micro.DevicePieces) -> tuple[str, ...]:
  """What a user can call a sample; one output says no or yes."""
  if pieces.trained.output_bytes > 1:
    return pieces.classes
  return f"not {pieces.classes[0]}", pieces.classes[0]


def _quoted(text: str) -> str:
  """A C string; all but plain letters in octal."""
  return (
    '"'
    + "".join(
      chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}"
      for b in text.encode()
    )
    + '"'
  )


def _operators(pieces: micro.DevicePieces) -> str:
  """Functions that add a piece's operators to a resolver."""
  found = []
  for name, piece in (("Prefix", pieces.prefix), ("Trained", pieces.trained)):
    if piece is not None:
      calls = " &&\n         ".join(
        f"resolver->{kernel.resolver_call} == 0" for kernel in piece.kernels
      )
      found.append(
        "template <class Resolver>\n"
        f"bool FgAdd{name}Operators(Resolver *resolver) {{\n"
        f"  return {calls};\n}}\n"
      )
  return tflm_texts.OPERATORS.replace("@ADDED@", "\n".join(found))
