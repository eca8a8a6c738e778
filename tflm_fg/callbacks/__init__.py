"""What is called after every step and validation, as Keras's callbacks are."""

from tflm_fg.callbacks.csv_log import CSVLogger
from tflm_fg.callbacks.progress import ProgbarLogger, in_words
from tflm_fg.training.callbacks import (
  Callback,
  EarlyStopping,
  History,
  Logs,
  ModelCheckpoint,
  State,
)
from tflm_fg.training.interruption import (
  SIGNALS,
  Interrupted,
  StopOnInterrupt,
  on_signals,
)

__all__ = [
  "SIGNALS",
  "CSVLogger",
  "Callback",
  "EarlyStopping",
  "History",
  "Interrupted",
  "Logs",
  "ModelCheckpoint",
  "ProgbarLogger",
  "State",
  "StopOnInterrupt",
  "in_words",
  "on_signals",
]
