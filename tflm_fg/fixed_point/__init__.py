"""Integers, where they lie, and random bits by address."""
