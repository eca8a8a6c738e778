"""Count the bytes of inference and of training."""

from tflm_fg.memory.footprint import (
  PRECISIONS,
  Footprint,
  backpropagation,
  forward_gradients,
  inference,
  trainer_bytes,
)
from tflm_fg.memory.working import adapting, require_room

__all__ = [
  "PRECISIONS",
  "Footprint",
  "adapting",
  "backpropagation",
  "forward_gradients",
  "inference",
  "require_room",
  "trainer_bytes",
]
