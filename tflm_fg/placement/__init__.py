"""Choose what trains, and run the phases that train it."""

from tflm_fg.placement.measure import measured, with_source_means
from tflm_fg.placement.phase import PhaseResult, open_for, run_phase
from tflm_fg.placement.phase_record import Phase, masters_of
from tflm_fg.placement.request import ABSENT_CLASSES, Request, TrainingData
from tflm_fg.placement.run_plan import QUICK, RunResult, phases_of
from tflm_fg.placement.split_model import SplitModel

__all__ = [
  "ABSENT_CLASSES",
  "QUICK",
  "Phase",
  "PhaseResult",
  "Request",
  "RunResult",
  "SplitModel",
  "TrainingData",
  "masters_of",
  "measured",
  "open_for",
  "phases_of",
  "run_phase",
  "with_source_means",
]
