"""Methods that train a network from scratch by forward passes alone, in floats.

PEPITA, Forward-Forward and TinyFoA as their papers have them, in NumPy, beside
backpropagation of the same network. Each is a plug-in: a file with `@register`.
The rest of `apps.compare` imports this package's names and no method.
"""

from apps.compare.forward_only import (
  backprop,
  forward_forward,
  pepita,
  tinyfoa,
)
from apps.compare.forward_only.axes import Scratch
from apps.compare.forward_only.job import FromScratch, run
from apps.compare.forward_only.registry import METHODS, named
from apps.compare.forward_only.rows import Result, read_csv, to_csv
from apps.compare.forward_only.tables import markdown

__all__ = [
  "METHODS",
  "FromScratch",
  "Result",
  "Scratch",
  "backprop",
  "forward_forward",
  "markdown",
  "named",
  "pepita",
  "read_csv",
  "run",
  "tinyfoa",
  "to_csv",
]
