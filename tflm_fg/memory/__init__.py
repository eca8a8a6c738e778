"""Count the bytes of inference and of training."""
