"""Engines that run a model and let its weights be set."""
