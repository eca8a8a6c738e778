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
from tflm_fg.signatures.input_state import (
  PromptNumbers,
  PromptSpec,
  PromptState,
  forget_prompt,
  prompt_now,
  prompt_state,
  set_prompt,
)
from tflm_fg.signatures.prompt import Adapted, adapt_input
from tflm_fg.signatures.simulation import (
  SimulatedSignatures,
  simulate_signatures,
)
from tflm_fg.signatures.spec import (
  LEAST_SAMPLES,
  folded,
  head_spec,
  prompt_spec,
  with_prompt,
)

__all__ = [
  "LEAST_SAMPLES",
  "MOST_SAMPLES",
  "Adapted",
  "Engine",
  "HeadSpec",
  "HeadWeights",
  "NumpyEngine",
  "PromptNumbers",
  "PromptSpec",
  "PromptState",
  "Scores",
  "SimulatedSignatures",
  "State",
  "Value",
  "Variable",
  "adapt_input",
  "evaluate_head",
  "folded",
  "forget",
  "forget_prompt",
  "head_spec",
  "prompt_now",
  "prompt_spec",
  "prompt_state",
  "remember",
  "restore_weights",
  "rounded",
  "set_prompt",
  "set_weights",
  "simulate_signatures",
  "state_of",
  "train_head",
  "weights_now",
  "with_prompt",
]
