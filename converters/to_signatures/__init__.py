"""A .tflite that trains itself: signatures of builtin operators alone."""

from converters.to_signatures.choosing import CHOICES, chosen
from converters.to_signatures.exporting import Exported, to_signatures

__all__ = ["CHOICES", "Exported", "chosen", "to_signatures"]
