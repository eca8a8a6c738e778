"""From a gradient to a step, in whole numbers."""
