"""Rows to tables and curves."""
