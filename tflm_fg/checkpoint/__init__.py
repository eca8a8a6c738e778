"""Finished pieces of work, kept on disk, so that a killed run can go on.

`memo` says what a result is and how it is found, `taken_steps` what the steps
of a phase are; `folder` keeps them on disk, in a `record_file`.
"""

from tflm_fg.checkpoint.folder import Checkpoint, described
from tflm_fg.checkpoint.memo import NOTHING_KEPT, Kept, Memo, address

__all__ = [
  "NOTHING_KEPT",
  "Checkpoint",
  "Kept",
  "Memo",
  "address",
  "described",
]
