"""The bench of wake words: voices that a model misses, and other sounds."""
