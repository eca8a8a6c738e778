"""How many bytes a phase takes on a device, from its blob."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable

from tflm_fg.micro.blob import HEADER
from tflm_fg.types import TflmFgError

MOST_SAMPLES = 65535
"""`fg_samples` counts no further."""

_TRAINER_BYTES = 448
"""Of `struct fg_trainer` where pointers have 64 bits; others need less."""

_CLOSED_FORM, _PER_SAMPLE = 0, 2
_CROSS_ENTROPY, _BINARY = 0, 1
_KEEP_BEST = 2
_SAVED_BYTES = 32
_SLOT_HEADER, _WRITE_UNIT = 32, 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceSizes:
  """What a phase takes, in bytes.

  Attributes:
    blob_bytes: of the blob.
    buffer_bytes: of the trainer's buffer; a few hundred more than
      `fg_required_bytes` says on the device.
    saved_bytes: of what `fg_save` writes.
    slot_bytes: of a slot that `fg_slots_save` fills with it.
    features: whether the trainer itself looks at the samples, as features.
    labels: labels of a sample: 1, or as many as outputs, or 0 for none.
    steps: of the phase.
  """

  blob_bytes: int
  buffer_bytes: int
  saved_bytes: int
  slot_bytes: int
  features: bool
  labels: int
  steps: int


def device_sizes(blob: bytes, samples: int) -> DeviceSizes:
  """What a phase takes on a device.

  Args:
    blob: as `make_blob` gives it.
    samples: how many the device holds at most.

  Raises:
    TflmFgError: if a device cannot hold so many.
  """
  head = _header(blob)
  saved = _SAVED_BYTES + 2 * head["kernels"] + 4 * head["biases"]
  labels = {_CROSS_ENTROPY: 1, _BINARY: head["outputs"]}.get(head["loss"], 0)
  return DeviceSizes(
    blob_bytes=len(blob),
    buffer_bytes=required_bytes(blob, samples),
    saved_bytes=saved,
    slot_bytes=_SLOT_HEADER + -(-saved // _WRITE_UNIT) * _WRITE_UNIT,
    features=head["dim"] > 0,
    labels=labels,
    steps=head["steps"],
  )


def required_bytes(blob: bytes, samples: int) -> int:
  """A bound of `fg_required_bytes` for any device.

  Args:
    blob: as `make_blob` gives it.
    samples: how many the device holds at most.

  Raises:
    TflmFgError: if a device cannot hold so many.
  """
  if not 1 <= samples <= MOST_SAMPLES:
    raise TflmFgError(
      f"--samples={samples}: a device counts from 1 to {MOST_SAMPLES}"
    )
  used = _TRAINER_BYTES
  for count, size in _arrays(_header(blob), samples):
    used = -(-used // size) * size + count * size
  return used


def _arrays(head: dict[str, int], samples: int) -> Iterable[tuple[int, int]]:
  """Counts and sizes of what `lay_out` in fg_trainer.c takes, in its order."""
  kernels, biases, dim = head["kernels"], head["biases"], head["dim"]
  outputs, batch = head["outputs"], min(head["batch"], samples)
  shared = head["method"] == _CLOSED_FORM
  shuffles, moves = head["batch"] < samples, head["momentum"] > 0
  best = head["keeper"] == _KEEP_BEST
  means = head["loss"] not in (_CROSS_ENTROPY, _BINARY)
  rows = samples if means else 2
  if shared:
    rows = max(rows, batch)
  if head["method"] == _PER_SAMPLE and means:
    rows = max(rows, 2 * batch)
  return (
    (dim if dim > 64 or shared else 64, 8),
    (0 if shared else biases, 4),
    (biases * moves, 4),
    (biases * best, 4),
    (4 * outputs * means, 4),
    (batch if head["method"] == _PER_SAMPLE else 0, 4),
    (samples * shuffles, 4),
    (kernels * moves, 2),
    (dim, 2),
    (samples * shuffles, 2),
    (batch * shuffles, 2),
    (0 if shared else kernels, 1),
    (kernels, 1),
    (2 * kernels * best, 1),
    (dim, 1),
    (max(rows, 2) * outputs, 1),
  )


def _header(blob: bytes) -> dict[str, int]:
  words = struct.unpack_from(f"<{len(HEADER)}I", blob)
  return dict(zip(HEADER, words))
