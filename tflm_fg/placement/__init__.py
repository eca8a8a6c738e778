"""Choose what trains, and run the phases that train it."""

from tflm_fg.placement.measure import measured, with_source_means
from tflm_fg.placement.other_outputs import in_words
from tflm_fg.placement.phase import (
  PhaseResult,
  TrainingData,
  open_for,
  run_phase,
)
from tflm_fg.placement.phase_record import Phase, masters_of
from tflm_fg.placement.request import Request
from tflm_fg.placement.run_plan import QUICK, RunResult, phases_of
from tflm_fg.placement.split_model import SplitModel

__all__ = [
  "QUICK",
  "Phase",
  "PhaseResult",
  "Request",
  "RunResult",
  "SplitModel",
  "TrainingData",
  "in_words",
  "masters_of",
  "measured",
  "open_for",
  "phases_of",
  "run_phase",
  "with_source_means",
]
