"""Losses in fixed point, one integer a sample."""
