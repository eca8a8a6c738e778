"""Read and write whole files: either all of the new file or all of the old."""

from tflm_fg.files.outputs import (
  make_folder,
  require_new_folder,
  require_outputs,
  require_writable,
)
from tflm_fg.files.primitives import umask
from tflm_fg.files.reading import (
  TEXT_TIMES,
  open_regular,
  read_bytes,
  read_model,
)
from tflm_fg.files.sets import unfinished
from tflm_fg.files.writing import (
  write_atomically,
  write_folder,
  write_set,
)

__all__ = [
  "TEXT_TIMES",
  "make_folder",
  "open_regular",
  "read_bytes",
  "read_model",
  "require_new_folder",
  "require_outputs",
  "require_writable",
  "umask",
  "unfinished",
  "write_atomically",
  "write_folder",
  "write_set",
]
