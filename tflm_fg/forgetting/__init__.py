"""Keep what a model knows of classes that the samples say nothing of."""

from tflm_fg.forgetting.coverage import PULL, Coverage
from tflm_fg.forgetting.imagined import LinearHead, imagine
from tflm_fg.forgetting.mixture import with_imagined
from tflm_fg.forgetting.other_outputs import in_words

__all__ = [
  "PULL",
  "Coverage",
  "LinearHead",
  "imagine",
  "in_words",
  "with_imagined",
]
