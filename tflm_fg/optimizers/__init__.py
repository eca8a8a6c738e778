"""From a gradient to a step, in whole numbers."""

from tflm_fg.optimizers.frank_wolfe import frank_wolfe
from tflm_fg.optimizers.kinds import OPTIMIZERS, PRECISIONS, ROUNDINGS
from tflm_fg.optimizers.rounding import Rounding
from tflm_fg.optimizers.schedules import DECAYS, schedule
from tflm_fg.optimizers.transforms import anchored, centred, sgd, sign

__all__ = [
  "DECAYS",
  "OPTIMIZERS",
  "PRECISIONS",
  "ROUNDINGS",
  "Rounding",
  "anchored",
  "centred",
  "frank_wolfe",
  "schedule",
  "sgd",
  "sign",
]
