"""The training loop and what it is set by."""

from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.build import step_rule
from tflm_fg.training.data import Batches, hold_out
from tflm_fg.training.metrics import Score, logits_of, run_all
from tflm_fg.training.objective import (
  CLASSIFY,
  LABELS,
  LOSSES,
  NATURAL,
  Objective,
  Task,
  checked,
  logits_spec,
)
from tflm_fg.training.settings_record import from_record
from tflm_fg.training.trainer import StepRule, fit, score_weights
from tflm_fg.training.tuning import (
  FACTORS,
  MOST_RATE,
  MOST_STEPS,
  SHARE,
  SHORT_RUN,
  tuned,
)

__all__ = [
  "CLASSIFY",
  "FACTORS",
  "LABELS",
  "LOSSES",
  "MOST_RATE",
  "MOST_STEPS",
  "NATURAL",
  "SHARE",
  "SHORT_RUN",
  "BatchPasses",
  "Batches",
  "Objective",
  "Score",
  "StepRule",
  "Task",
  "checked",
  "fit",
  "from_record",
  "hold_out",
  "logits_of",
  "logits_spec",
  "run_all",
  "score_weights",
  "step_rule",
  "tuned",
]
