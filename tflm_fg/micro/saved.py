"""What a device has saved, brought back to the host as an adapted file."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tflm_fg.marking import Model, opened
from tflm_fg.micro.blob import HEADER, MAGIC, VERSION
from tflm_fg.placement.phase_record import Masters, masters_of, write_masters
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.types import Mark, TflmFgError

SAVED_MAGIC = b"FGJ1"

_WORDS = 7
"""Of the header: magic, version, bytes, blob, method, steps, kept step."""


def read_saved(
  saved: bytes, blob: bytes, marked: Model, name: str = "saved"
) -> bytes:
  """The adapted file of a phase that a device has run.

  Args:
    saved: what `fg_save` wrote; what stands behind it is passed over, as in a
      slot of flash that was read whole.
    blob: of the phase, as the device has it.
    marked: the marked file that the blob was made of.
    name: what to call the saved bytes in errors.

  Returns:
    The adapted file, marked, byte for byte as Python makes it.

  Raises:
    TflmFgError: if the three do not belong together, or bytes were changed.
  """
  file = opened(marked)
  mark = read_mark(file)
  if mark is None:
    raise TflmFgError(
      f"{file.name}: has no mark; give the marked.tflite that was exported"
    )
  head = _blob_head(blob)
  start = masters_of(file, mark)
  _require_same(head, blob, mark, start, file.name)
  return write_masters(file, mark, _masters(saved, head, mark, name)).data


def _blob_head(blob: bytes) -> dict[str, int]:
  size = 4 * len(HEADER)
  head = dict.fromkeys(HEADER, 0)
  if len(blob) >= size:
    head = dict(zip(HEADER, struct.unpack_from(f"<{len(HEADER)}I", blob)))
  if (
    blob[:4] != MAGIC
    or head["version"] != VERSION
    or not size <= head["bytes"] <= len(blob)
    or head["crc"] != zlib.crc32(blob[16 : head["bytes"]])
  ):
    raise TflmFgError(
      "--blob: not a blob of this release, cut off, or changed; give the "
      "blob.bin that was exported with the model"
    )
  return head


def _require_same(
  head: dict[str, int], blob: bytes, mark: Mark, start: Masters, name: str
) -> None:
  """Refuses a blob that was made of another file: its start says so."""
  table = np.frombuffer(
    blob, "<u4", 8 * head["tensors"], 4 * head["tensor_table"]
  ).reshape(-1, 8)
  same = len(table) == len(mark.trainable)
  for row, tensor in zip(table, mark.trainable):
    own = start[tensor.index]
    held = own.astype("<i4")
    if tensor.has_master:
      held = (own.astype(np.int64) >> 8).astype("<i1")
    place = 4 * int(row[7])
    same = same and (int(row[1]), int(row[2])) == (tensor.index, tensor.size)
    same = same and blob[place : place + held.nbytes] == held.tobytes()
  if not same:
    raise TflmFgError(
      f"{name}: not the file that the blob was made of; give the marked.tflite "
      "that was exported with it"
    )


def _masters(
  saved: bytes, head: dict[str, int], mark: Mark, name: str
) -> Masters:
  """The masters of all tensors, checked."""
  size = 4 * _WORDS + 2 * head["kernels"] + 4 * head["biases"] + 4
  whole = saved[:size]
  words = struct.unpack_from(f"<{_WORDS}I", whole.ljust(4 * _WORDS, b"\0"))
  if (
    len(whole) < size
    or whole[:4] != SAVED_MAGIC
    or words[1:3] != (VERSION, size)
    or struct.unpack_from("<I", whole, size - 4)[0] != zlib.crc32(whole[:-4])
  ):
    raise TflmFgError(
      f"{name}: not what a device has saved of this phase, cut off, or changed"
    )
  if words[3] != head["crc"]:
    raise TflmFgError(
      f"{name}: saved for another blob; give the blob.bin that is on the device"
    )
  found, at = {}, 4 * _WORDS
  for tensor in mark.trainable:
    kind = np.dtype("<i2" if tensor.has_master else "<i4")
    held = np.frombuffer(whole, kind, tensor.size, at)
    found[tensor.index] = held.astype(kind.newbyteorder("="))
    at += held.nbytes
  return found
