"""Gradients from forward passes."""
