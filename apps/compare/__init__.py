"""Forward gradients against backpropagation, over a grid of settings."""
