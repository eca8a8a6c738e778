"""Read and write whole files: either all of the new file or all of the old."""

from tflm_fg.files.outputs import (
  make_folder,
  require_new_folder,
  require_outputs,
  require_writable,
)
from tflm_fg.files.reading import (
  TEXT_TIMES,
  open_regular,
  read_bytes,
  read_model,
)
from tflm_fg.files.writing import umask, write_atomically, write_folder

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
  "write_atomically",
  "write_folder",
]
