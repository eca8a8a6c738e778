"""The target patch: back from what was learned to the plain file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert

import tflm_fg
from apps.export import kept_weights, patch
from apps.export.signatures_target import marked_for
from apps.flags import export_flags
from tflm_fg import files
from tflm_fg.runtimes import require_runs
from tflm_fg.signatures import folded, with_prompt
from tflm_fg.tflite import ModelFile
from tflm_fg.types import Array, TflmFgError

ASKED = 16
"""Samples at random on which the plain file must say what `infer` says."""


def export(path: str, out: str) -> list[str]:
  """Writes what changed between the base and an adapted file.

  Args:
    path: of a file that was adapted; or, with --learned, of one that trains
      itself.
    out: of the patch.

  Returns:
    Lines for the user.

  Raises:
    TflmFgError: if a flag is missing or a file is not what it must be.
  """
  base_path, weights = export_flags.BASE.value, export_flags.LEARNED.value
  if base_path is None:
    raise TflmFgError(
      "--target=patch: say with --base which file the patch is for: the one "
      "that was adapted or exported"
    )
  inputs = {"model": path, "base": base_path, "learned": weights}
  for name, read in inputs.items():
    files.require_outputs({"out": out}, {name: read})
  base, data = files.read_bytes(base_path), files.read_bytes(path)
  file = ModelFile.open(data, path)
  trains = "get_weights" in _signatures(file)
  if trains and weights is None:
    raise TflmFgError(
      f"{path}: a file that trains itself, and holds none of what it learned; "
      "say with --learned what its get_weights gave"
    )
  if weights is not None and not trains:
    raise TflmFgError(
      f"{path}: has no signature get_weights, so that --learned says nothing "
      "of it; leave it out, or name the file of --target=signatures"
    )
  if weights is not None:
    data = _learned(file, base_path, weights)
  made = patch.make(base, data)
  files.write_atomically(out, made)
  return _told(base, data, made, out)


def _signatures(file: ModelFile) -> set[str]:
  found = file.unpack().signatureDefs or []
  return {signature.signatureKey.decode() for signature in found}


def _learned(file: ModelFile, base_path: str, weights_path: str) -> bytes:
  """The plain file with what a file that trains itself has learned.

  Raises:
    TflmFgError: if its outputs are not those of `infer` with these weights.
  """
  require_runs(file, "litert-reference")
  model = _interpreter(file.data)
  call = {k: model.get_signature_runner(k) for k in model.get_signature_list()}
  details = call["set_weights"].get_input_details()
  weights = kept_weights.read(weights_path, details)
  if not call["set_weights"](**weights)["accepted"].all():
    raise TflmFgError(
      f"{weights_path}: {file.name} refuses these weights; were they learned "
      "with another model?"
    )
  made = _folded(base_path, with_prompt(weights))
  plain = ModelFile.open(made, base_path)
  require_runs(plain, "litert-reference")
  _require_equal(call["infer"], plain, file.name)
  return made


def _folded(base_path: str, weights: Mapping[str, Array]) -> bytes:
  """The base with weights, which fit its head or a wide one."""

  def made(trainable: str) -> bytes:
    return tflm_fg.strip(folded(marked_for(base_path, trainable), **weights))

  prompt = "offset" in weights
  try:
    return made("auto" if prompt else "head")
  except TflmFgError as fault:
    with contextlib.suppress(TflmFgError):
      return made("prompt,wide-head" if prompt else "wide-head")
    raise fault from None


def _interpreter(data: bytes) -> Any:
  """An interpreter with reference kernels, which round alike everywhere."""
  return litert.Interpreter(
    model_content=data,
    experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
    num_threads=1,
  )


def _require_equal(infer: Any, plain: ModelFile, name: str) -> None:
  """Refuses a plain file that does not say what `infer` says."""
  model = _interpreter(plain.data)
  model.allocate_tensors()
  (x,), (scores, *_) = model.get_input_details(), model.get_output_details()
  random = np.random.default_rng(0)
  for _ in range(ASKED):
    limits = np.iinfo(x["dtype"])
    asked = random.integers(limits.min, limits.max + 1, x["shape"], x["dtype"])
    model.set_tensor(x["index"], asked)
    model.invoke()
    own = model.get_tensor(scores["index"])
    (details,) = infer.get_input_details().values()
    if details["dtype"] == np.float32:  # exported with --io=float32
      scale, zero = x["quantization"]
      asked = ((asked.astype(np.float64) - zero) * scale).astype(np.float32)
    told = infer(x=asked)["probabilities"]
    if told.dtype != own.dtype:
      scale, zero = scores["quantization"]
      own = ((own.astype(np.float64) - zero) * scale).astype(np.float32)
    if not np.array_equal(told, own):
      raise TflmFgError(
        f"{name}: with these weights it says other things than --base with "
        "them; name the file that it was exported from, and the same "
        "--trainable"
      )


def _told(base: bytes, result: bytes, made: bytes, out: str) -> list[str]:
  fresh = sum(len(new) for _, _, new in patch.parts(base, result))
  size = f"{len(base):,} bytes"
  if len(result) != len(base):
    size += f", which become {len(result):,}"
  return [f"{out}: {len(made):,} bytes, {fresh:,} of them new, for {size}"]
