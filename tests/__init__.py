"""Tests; each name is a claim."""
