"""Fleets: many devices train one model, and send integers alone."""
