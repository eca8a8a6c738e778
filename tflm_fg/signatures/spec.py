"""What a file that trains itself knows of its head, from a marked file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tflm_fg.signatures.head import MOST_SAMPLES, HeadSpec
from tflm_fg.signatures.input_state import GAIN_ONE, PromptSpec
from tflm_fg.tflite import MarkedModel, tensor_spec, weights_of
from tflm_fg.tflite.tensors import Patchable
from tflm_fg.types import Array, NotApplicable, TflmFgError, TrainableTensor

LEAST_SAMPLES = 8

MOST_BATCH, MOST_NUMBERS = 256, 1024
"""Samples of a call of `adapt_input`, and numbers of an offset, at most."""


def head_spec(marked: MarkedModel, capacity: int = 512) -> HeadSpec:
  """What is known of the head of a file.

  Args:
    marked: a file whose head is marked: kernel and bias.
    capacity: how many samples are remembered, 8 to 2048.

  Raises:
    TflmFgError: naming what of the head no file can train by itself.
  """
  name = marked.file.name
  if not LEAST_SAMPLES <= capacity <= MOST_SAMPLES:
    raise TflmFgError(
      f"a capacity of {capacity} samples; {LEAST_SAMPLES} to {MOST_SAMPLES} "
      "are possible"
    )
  kernel, bias = _tensors(marked)
  source = tensor_spec(marked.file, marked.mark.head_input)
  out = tensor_spec(marked.file, marked.mark.logits)
  for what, dtype in (
    ("reads", source.dtype),
    ("has weights of", kernel.dtype),
    ("gives", out.dtype),
  ):
    if dtype != "int8":
      raise TflmFgError(
        f"{name}: the last layer {what} {dtype}; a file that trains itself "
        "needs int8 there"
      )
  if kernel.shape[0] < 2 or _ends_in_sigmoids(marked):
    raise TflmFgError(
      f"{name}: its outputs are {_told(kernel.shape[0])}; a file that trains "
      "itself must be a classifier of two classes or more, with one class for "
      "each sample; tflm-fg-adapt trains such a model"
    )
  weights, biases = weights_of(marked.file, [kernel, bias])
  rows = kernel.shape[0]
  return HeadSpec(
    kernel=weights.reshape(rows, -1).astype(np.int8),
    bias=biases.reshape(rows).astype(np.int32),
    kernel_scales=np.resize(np.array(kernel.scales, np.float64), rows),
    input_scale=source.scale,
    input_zero_point=source.zero_point,
    output_scale=out.scale,
    output_zero_point=out.zero_point,
    capacity=capacity,
  )


def prompt_spec(marked: MarkedModel, batch: int) -> PromptSpec | None:
  """What is known of a file's input prompt; None where it has none.

  Args:
    marked: a file whose head is marked, and maybe an offset and one gain of
      its input.
    batch: samples of a call of `adapt_input`, 1 to 256.

  Raises:
    TflmFgError: if the batch has another size, or the prompt another form.
  """
  tensors = _by_role(marked)
  if "offset" not in tensors:
    return None
  name = marked.file.name
  if not 1 <= batch <= MOST_BATCH:
    raise TflmFgError(
      f"a batch of {batch} samples; 1 to {MOST_BATCH} are possible"
    )
  if "gain" not in tensors or tensors["gain"].size != 1:
    raise TflmFgError(
      f"{name}: a file that trains itself has a prompt with one gain for all "
      "channels; mark it with --prompt_gain --common_gain"
    )
  offset = tuple(int(n) for n in tensors["offset"].shape)
  if math.prod(offset) > MOST_NUMBERS:
    raise NotApplicable(
      f"{name}: a prompt of {math.prod(offset)} numbers; batches of {batch} "
      f"samples say too little of more than {MOST_NUMBERS}; use "
      "--trainable=head"
    )
  return PromptSpec(offset, batch)


def folded(
  marked: MarkedModel,
  kernel: Array,
  bias: Array,
  offset: Array | None = None,
  gain: Array | None = None,
) -> bytes:
  """The plain file with what `get_weights` gave in place of its head.

  Args:
    marked: the file that was exported, marked in the same way.
    kernel: int32 [C, D], as `get_weights` gives it: 256 units an int8 step.
    bias: int32 [C].
    offset: int32, as `get_weights` gives it; for a file with a prompt alone.
    gain: int32, the same.

  Returns:
    The file without a mark: its outputs are those of `infer`.

  Raises:
    TflmFgError: if the arrays do not fit the head.
  """
  own, other = _tensors(marked)
  steps = np.clip((np.asarray(kernel, np.int64) + 128) >> 8, -127, 127)
  wanted = {"kernel": steps, "bias": np.asarray(bias)}
  tensors = {"kernel": own, "bias": other}
  for role, given in (("offset", offset), ("gain", gain)):
    if (role in _by_role(marked)) != (given is not None):
      there, own_has = ("no", "a") if given is None else ("a", "no")
      raise TflmFgError(
        f"{marked.file.name}: weights with {there} {role} of the input for a "
        f"file with {own_has} prompt; were they made with another file?"
      )
    if given is not None:
      wanted[role], tensors[role] = np.asarray(given), _by_role(marked)[role]
  for role, tensor in tensors.items():
    if np.size(wanted[role]) != tensor.size:
      raise TflmFgError(
        f"{marked.file.name}: {np.size(wanted[role])} numbers of the {role}, "
        f"the file has {tensor.size}; were they made with another model?"
      )
  place = Patchable.of(marked.file, list(tensors.values()))
  return place.write(
    [
      np.asarray(wanted[role]).astype(tensor.dtype).reshape(tensor.shape)
      for role, tensor in tensors.items()
    ]
  )


def with_prompt(weights: Mapping[str, Array]) -> dict[str, Array]:
  """What `folded` needs of weights: no prompt where it changes nothing.

  Args:
    weights: what `get_weights` gave, by name.
  """
  kept = dict(weights)
  offset, gain = kept.get("offset"), kept.get("gain")
  if offset is None or gain is None:
    return kept
  if not offset.any() and (gain == GAIN_ONE).all():
    del kept["offset"], kept["gain"]
  return kept


def _by_role(marked: MarkedModel) -> dict[str, TrainableTensor]:
  return {tensor.role: tensor for tensor in marked.mark.trainable}


def _tensors(marked: MarkedModel) -> tuple[TrainableTensor, TrainableTensor]:
  tensors = _by_role(marked)
  others = {*tensors} - {"offset", "gain"}
  if others != {"kernel", "bias"} or len(marked.mark.trainable) != len(tensors):
    raise TflmFgError(
      f"{marked.file.name}: {', '.join(sorted(tensors))} of it may train; a "
      "file that trains itself needs the kernel and the bias of the last layer"
    )
  return tensors["kernel"], tensors["bias"]


def _ends_in_sigmoids(marked: MarkedModel) -> bool:
  graph = marked.file.subgraph
  return any(
    op.name == "LOGISTIC" and marked.mark.logits in op.inputs
    for op in graph.operators
  )


def _told(rows: int) -> str:
  return "one number" if rows < 2 else f"{rows} sigmoids"
