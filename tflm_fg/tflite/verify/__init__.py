"""Refuse a .tflite that is not sound before any engine reads it.

`structure` walks tables and offsets, `indices` looks at every index and size.
"""
