"""A .tflite that trains itself: signatures of builtin operators alone."""

from converters.to_signatures.exporting import Exported, to_signatures

__all__ = ["Exported", "to_signatures"]
