"""Send what changed in a model, in place of the whole file.

`make` compares two files and gives a delta: what of the base is kept and where,
which bytes of it change and by how much, and what is new. `apply` makes the
result again from the base. Both files are known by their SHA-256: a delta that
was damaged, or that is applied to another file than its base, is refused, and
so is a result that is not byte for byte the one that was meant. A delta can be
signed. `changes` tells of two files of one length where they differ, and
`pieces` of any two files what they have in common.
"""

from tflm_fg.delta.delta_file import FORMAT, SPARE_BYTES, is_signed
from tflm_fg.delta.making import apply, make
from tflm_fg.delta.matching import Piece, changes, pieces

__all__ = [
  "FORMAT",
  "SPARE_BYTES",
  "Piece",
  "apply",
  "changes",
  "is_signed",
  "make",
  "pieces",
]
