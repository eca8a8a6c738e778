"""Damage models in every place that an engine reads, and see how that ends."""
