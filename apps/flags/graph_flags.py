"""Flags of how a file's graph may grow, for programs that mark a model."""

from __future__ import annotations

from absl import flags

from apps import cli
from tflm_fg.tflite import OPERATORS, UINT8, WEIGHTS, GraphOptions

cli.section(cli.SOMETIMES)
_OPERATORS = flags.DEFINE_enum(
  "operators",
  "any",
  list(OPERATORS),
  "which operators the file may come to need: any; or same, no operator and no "
  "version of one that it does not need as it is, for firmware that knows a "
  "fixed set. What would need others is dropped or refused by name",
)

cli.section(cli.SELDOM)
_PROMPT_GAIN = flags.DEFINE_boolean(
  "prompt_gain", False, "a prompt with a gain before its offset"
)
_COMMON_GAIN = flags.DEFINE_boolean(
  "common_gain", False, "that gain is one number for all channels"
)
_WIDE_LAYERS = flags.DEFINE_string(
  "wide_layers",
  "",
  "a regular expression on layers' output tensors: what a wide head joins; by "
  "default every layer",
)
_WEIGHTS = flags.DEFINE_enum(
  "weights",
  "int8",
  list(WEIGHTS),
  "what trained kernels are in the engine, where dense or pointwise: int8 (a "
  "16-bit master outside), int16 (BATCH_MATMUL), or int8x2 (high and low byte)",
)

_UINT8 = flags.DEFINE_enum(
  "uint8",
  "rewrite",
  list(UINT8),
  "what becomes of a legacy uint8 model's layers: rewrite to int8, so that all "
  "can train; or keep, so that biases and an input prompt can",
)

_HEAD_ROOM = flags.DEFINE_integer(
  "head_room",
  None,
  "bits, 0 to 4: the scale of the head's kernel becomes 2**bits as large, so "
  "that its weights can grow by as much; by default auto, head and wide-head "
  "choose them where weights end at -127 or 127; 0 never changes the scale",
)

HOLDERS = (
  _WEIGHTS,
  _PROMPT_GAIN,
  _COMMON_GAIN,
  _WIDE_LAYERS,
  _UINT8,
  _HEAD_ROOM,
  _OPERATORS,
)
"""All of them that say how a graph may grow."""


def graph_options() -> GraphOptions:
  """The options that the command line says.

  Raises:
    TflmFgError: in one line, if they do not fit.
  """
  return GraphOptions(
    gain=_PROMPT_GAIN.value,
    common_gain=_COMMON_GAIN.value,
    layers=_WIDE_LAYERS.value,
    weights=_WEIGHTS.value,
    uint8=_UINT8.value,
    head_room=_HEAD_ROOM.value,
    operators=_OPERATORS.value,
  )
