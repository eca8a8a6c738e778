"""From a gradient to a step, in whole numbers."""

from tflm_fg.optimizers.frank_wolfe import BOX, frank_wolfe
from tflm_fg.optimizers.kinds import OPTIMIZERS, PRECISIONS, ROUNDINGS
from tflm_fg.optimizers.rms import rms
from tflm_fg.optimizers.rounding import Rounding
from tflm_fg.optimizers.schedules import DECAYS, Schedule, schedule
from tflm_fg.optimizers.transforms import anchored, centred, sgd, sign

__all__ = [
  "BOX",
  "DECAYS",
  "OPTIMIZERS",
  "PRECISIONS",
  "ROUNDINGS",
  "Rounding",
  "Schedule",
  "anchored",
  "centred",
  "frank_wolfe",
  "rms",
  "schedule",
  "sgd",
  "sign",
]
