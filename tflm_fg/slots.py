"""Keep two models on a device, so that a whole one boots whatever happens.

Two slots take turns, as in MCUboot. `commit` writes a new model to the slot
that is not in use and puts it on trial; `boot` gives it, and counts; a
self-test then calls `confirm` or `revert`. A model that was not confirmed after
a few boots, since the device hung or lost power, is given no more, and the one
before it is back. A slot counts only if its checksums fit, so that a loss of
power at any moment leaves a whole model, old or new.

    device = Slots("/data/models", factory="shipped.tflite")
    device.commit(adapted)
    booted = device.boot()
    device.confirm() if self_test(booted.model) else device.revert()

This is for devices with files (Linux, Android). `tflm_fg/micro/fg_slots.c` is
the same idea for bare flash: two slots, a sequence number and CRC32 checksums;
what it keeps is what was learned, and it knows no trial.

The record of a slot is a file of seven 32-bit words in little-endian bytes:
magic, sequence, size and checksum of the content, state, count of boots on
trial, and the checksum of these six. The newer sequence counts; it may wrap
around.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import zlib

from tflm_fg import files
from tflm_fg.types import TflmFgError

MAGIC = 0x32534746
"""FGS2 in little-endian bytes."""

TRIAL, CONFIRMED, REVERTED = 0, 1, 2
"""States of a slot."""

_WORDS = struct.Struct("<6I")
_CHECK = struct.Struct("<I")


@dataclasses.dataclass(frozen=True)
class Booted:
  """The model to use until the next boot.

  Attributes:
    model: the bytes of the file, which are whole.
    path: where the file is; None for a factory model that was given as bytes.
    slot: 0 or 1; None for the factory model.
    trial: whether it waits for `confirm` or `revert`.
    boots_left: how many more times it is given without being confirmed.
  """

  model: bytes
  path: str | None
  slot: int | None
  trial: bool
  boots_left: int


@dataclasses.dataclass(frozen=True)
class _Record:
  """What is known of a slot's content, which is sound."""

  sequence: int
  size: int
  content: int
  state: int
  boots: int

  def to_bytes(self) -> bytes:
    words = _WORDS.pack(MAGIC, *dataclasses.astuple(self))
    return words + _CHECK.pack(zlib.crc32(words))

  def newer_than(self, other: _Record) -> bool:
    return 0 < (self.sequence - other.sequence) % 2**32 < 2**31


class Slots:
  """Two slots in a folder.

  One process at a time may change them.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    factory: bytes | str | os.PathLike[str] | None = None,
    tries: int = 3,
  ) -> None:
    """Opens the slots; the folder is made with the first commit.

    Args:
      folder: of nothing else.
      factory: the file's path or the bytes of the model that is given where
        neither slot holds a sound one; None for none.
      tries: boots of a model on trial.

    Raises:
      TflmFgError: if tries is no number from 1 on.
    """
    if type(tries) is not int or not 1 <= tries < 2**31:
      raise TflmFgError(f"tries={tries!r}: need a whole number from 1 on")
    self._folder = os.fspath(folder)
    self._factory = factory
    self._tries = tries

  def commit(self, model: bytes) -> None:
    """Writes a model to the slot that is not in use, and puts it on trial.

    The model that was confirmed last is left alone. Where there is none yet,
    the newer one is.

    Args:
      model: the bytes of a .tflite.

    Raises:
      TflmFgError: if the model is empty, or cannot be written; what was there
        boots as before.
    """
    if not model:
      raise TflmFgError("the model is empty; give the bytes of a .tflite")
    found = self._sound()
    used = self._kept(found)
    slot = 0 if used is None else 1 - used
    last = self._newest(found)
    sequence = 0 if last is None else found[last].sequence
    files.write_set({self.path(slot): bytes(model)}, [self._folder])
    record = _Record(
      (sequence + 1) % 2**32, len(model), zlib.crc32(model), TRIAL, 0
    )
    self._write(slot, record)

  def boot(self) -> Booted:
    """The model to use: the newest sound one that has not failed.

    A boot of a model on trial is counted before it is given. Where that cannot
    be written down, or the count has reached `tries`, the other slot's model is
    given, then the factory model. A device with no other model gets that one.

    Returns:
      A whole model, always.

    Raises:
      TflmFgError: if neither slot holds a sound model and there is no factory
        model.
    """
    sound = self._sound()
    left = dict(sound)
    while (slot := self._newest(left, failed=False)) is not None:
      record = left.pop(slot)
      if record.state == CONFIRMED:
        return self._booted(slot, record)
      counted = dataclasses.replace(record, boots=record.boots + 1)
      with contextlib.suppress(TflmFgError):  # a full or read-only disk
        self._write(slot, counted)
        return self._booted(slot, counted)
    slot = self._newest(sound)
    if slot is None or self._factory is not None:
      return self._factory_model()
    return self._booted(slot, sound[slot])

  def confirm(self) -> None:
    """Keeps the model on trial for good. Does nothing where none is.

    Raises:
      TflmFgError: if that cannot be written down.
    """
    found = self._sound()
    slot = self._newest(found, failed=False)
    if slot is not None and found[slot].state == TRIAL:
      self._set(slot, found[slot], CONFIRMED)

  def revert(self) -> None:
    """Gives up the model on trial: the one before it boots again.

    Raises:
      TflmFgError: if no model is on trial, if there is no other, or if that
        cannot be written down.
    """
    found = self._sound()
    slot = self._newest(found, failed=False)
    if slot is None or found[slot].state != TRIAL:
      raise TflmFgError(
        f"{self._folder}: no model is on trial, so there is none to give up; "
        "commit one first"
      )
    if 1 - slot not in found and self._factory is None:
      raise TflmFgError(
        f"{self._folder}: there is no model but the one on trial; commit "
        "another one, or give a factory model"
      )
    self._set(slot, found[slot], REVERTED)

  def path(self, slot: int) -> str:
    """Where the model of slot 0 or 1 is."""
    return os.path.join(self._folder, f"slot{slot}.tflite")

  def _record_path(self, slot: int) -> str:
    return os.path.join(self._folder, f"slot{slot}.record")

  def _sound(self) -> dict[int, _Record]:
    """The slots whose record and content are sound."""
    records = {slot: self._record(slot) for slot in (0, 1)}
    return {
      slot: record
      for slot, record in records.items()
      if record and self._content(slot, record) is not None
    }

  def _record(self, slot: int) -> _Record | None:
    raw = _read(self._record_path(slot))
    if raw is None or len(raw) != _WORDS.size + _CHECK.size:
      return None
    words, check = raw[: _WORDS.size], raw[_WORDS.size :]
    magic, *rest = _WORDS.unpack(words)
    if magic != MAGIC or _CHECK.unpack(check)[0] != zlib.crc32(words):
      return None
    return _Record(*rest)

  def _content(self, slot: int, record: _Record) -> bytes | None:
    content = _read(self.path(slot))
    if content is None or len(content) != record.size:
      return None
    return content if zlib.crc32(content) == record.content else None

  def _failed(self, record: _Record) -> bool:
    tried = record.state == TRIAL and record.boots >= self._tries
    return tried or record.state == REVERTED

  def _newest(
    self, found: dict[int, _Record], failed: bool = True
  ) -> int | None:
    """The slot with the newer model, perhaps of those alone that may boot."""
    left = [s for s, r in found.items() if failed or not self._failed(r)]
    if len(left) == 2:
      return 1 if found[1].newer_than(found[0]) else 0
    return left[0] if left else None

  def _kept(self, found: dict[int, _Record]) -> int | None:
    """The slot that a commit leaves alone."""
    good = {s: r for s, r in found.items() if r.state == CONFIRMED}
    slot = self._newest(good)
    if slot is None:
      slot = self._newest(found, failed=False)
    return self._newest(found) if slot is None else slot

  def _booted(self, slot: int, record: _Record) -> Booted:
    content = self._content(slot, record)
    if content is None:  # it was sound a moment ago
      raise TflmFgError(f"{self.path(slot)}: changed while it was read")
    trial = record.state == TRIAL
    left = self._tries - record.boots if trial else 0
    return Booted(content, self.path(slot), slot, trial, left)

  def _set(self, slot: int, record: _Record, state: int) -> None:
    self._write(slot, dataclasses.replace(record, state=state))

  def _write(self, slot: int, record: _Record) -> None:
    files.write_atomically(self._record_path(slot), record.to_bytes())

  def _factory_model(self) -> Booted:
    if self._factory is None:
      raise TflmFgError(
        f"{self._folder}: neither slot holds a whole model; commit one, or "
        "give a factory model"
      )
    model, _ = files.read_model(self._factory)
    path = None
    if not isinstance(self._factory, bytes | bytearray | memoryview):
      path = os.fspath(self._factory)
    return Booted(model, path, None, False, 0)


def _read(path: str) -> bytes | None:
  """A file's bytes; None where there is none that can be read."""
  with contextlib.suppress(TflmFgError):
    return files.read_bytes(path)
  return None
