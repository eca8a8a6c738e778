"""What a model keeps from step to step, and its cut at the last layer."""
