"""Pack frames of many streams into one small file, and read it.

The file is one LZMA stream of a line of JSON, which says what the streams are,
and the frames: first the first column of all streams, then the second. Frames
are whole steps of a coarseness that the file names.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import TflmFgError

VERSION = 1
CHANNELS = 40

Entry = tuple[dict[str, Any], NDArray[np.int8]]

_PRESET = 9 | lzma.PRESET_EXTREME
_FILTERS = [
  {"id": lzma.FILTER_LZMA2, "preset": _PRESET, "lc": 4, "lp": 0, "pb": 0}
]


def pack(entries: Sequence[Entry], coarseness: int = 1) -> bytes:
  """Writes streams.

  Args:
    entries: what is known of each, as JSON has it, and its frames, int8
      [frames, 40].
    coarseness: values are rounded down to multiples of it, and are read as the
      middle; 1 keeps them as they are.
  """
  head = {
    "version": VERSION,
    "coarseness": coarseness,
    "streams": [{**about, "frames": len(frames)} for about, frames in entries],
  }
  whole = np.concatenate([frames for _, frames in entries])
  levels = (whole.astype(np.int16) + 128) // coarseness
  columns = np.ascontiguousarray(levels.astype(np.uint8).T)
  line = json.dumps(head, sort_keys=True).encode() + b"\n"
  return lzma.compress(
    line + columns.tobytes(), check=lzma.CHECK_CRC64, filters=_FILTERS
  )


def read(data: bytes, name: str) -> list[Entry]:
  """Reads what `pack` wrote.

  Args:
    data: the file.
    name: of the file, for errors.

  Raises:
    TflmFgError: if it is damaged, or of another version.
  """
  try:
    line, _, body = lzma.decompress(data).partition(b"\n")
    head = json.loads(line)
    if head["version"] != VERSION:
      raise ValueError
    step, streams = head["coarseness"], head["streams"]
    counts = [about.pop("frames") for about in streams]
    levels = np.frombuffer(body, np.uint8).reshape(CHANNELS, sum(counts))
  except (lzma.LZMAError, ValueError, KeyError, TypeError, AttributeError):
    raise TflmFgError(
      f"{name}: the stock of negatives and keepers is damaged; install the "
      "package again"
    ) from None
  middle = np.minimum(levels.T.astype(np.int16) * step + step // 2, 255) - 128
  ends = np.cumsum(counts)
  parts = np.split(middle.astype(np.int8), ends[:-1])
  return [
    ({**about, "texts": tuple(about["texts"])}, part)
    for about, part in zip(streams, parts)
  ]
