"""What a file that trains itself computes: one definition, NumPy and graph."""

from tflm_fg.signatures.engine import Engine, NumpyEngine, Value, Variable
from tflm_fg.signatures.head import (
  MOST_SAMPLES,
  HeadSpec,
  State,
  forget,
  remember,
  restore_weights,
  rounded,
  state_of,
)
from tflm_fg.signatures.head_calls import (
  HeadWeights,
  Scores,
  evaluate_head,
  set_weights,
  train_head,
  weights_now,
)
from tflm_fg.signatures.spec import folded, head_spec

__all__ = [
  "MOST_SAMPLES",
  "Engine",
  "HeadSpec",
  "HeadWeights",
  "NumpyEngine",
  "Scores",
  "State",
  "Value",
  "Variable",
  "evaluate_head",
  "folded",
  "forget",
  "head_spec",
  "remember",
  "restore_weights",
  "rounded",
  "set_weights",
  "state_of",
  "train_head",
  "weights_now",
]
