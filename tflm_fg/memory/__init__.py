"""Count the bytes of inference and of training."""

from tflm_fg.memory.footprint import (
  PRECISIONS,
  Footprint,
  backpropagation,
  forward_gradients,
  inference,
  trainer_bytes,
)

__all__ = [
  "PRECISIONS",
  "Footprint",
  "backpropagation",
  "forward_gradients",
  "inference",
  "trainer_bytes",
]
