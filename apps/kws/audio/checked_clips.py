"""Cut recordings into clips, and tell those apart that nobody can learn from.

A recording that cannot be read is passed over, a clip of a muted microphone is
left out, and of exact duplicates one is kept; what was found is said once.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from apps.kws.audio import decoding, files
from apps.kws.audio.decoding import UnreadSound
from apps.kws.audio.folders import Take
from tflm_fg.samples import counted
from tflm_fg.types import TflmFgError

FEW_COPIES = 0.02
"""Share of duplicates that public sets have too."""


@dataclasses.dataclass
class Findings:
  """What was found in a folder's recordings.

  Attributes:
    root: the folder.
    silence: the class whose clips may be silent; None for none.
    strict: whether a recording that cannot be read stops it all.
    unread: the recordings that cannot be read.
    silent: the files of silent clips that were left out.
    copies: the files of clips that were left out as duplicates.
    torn: numbers of clips whose duplicates have other classes, and for each a
      file that it is in.
    digests: of each clip; empty for a window of noise.
  """

  root: str
  silence: int | None = None
  strict: bool = False
  unread: list[UnreadSound] = dataclasses.field(default_factory=list)
  silent: list[str] = dataclasses.field(default_factory=list)
  copies: list[str] = dataclasses.field(default_factory=list)
  torn: dict[int, str] = dataclasses.field(default_factory=dict)
  digests: list[bytes] = dataclasses.field(default_factory=list)

  def doubts(self) -> tuple[str, ...]:
    """What a user should know, a line each."""
    found = []
    damaged = [fault for fault in self.unread if not fault.needs_extra]
    if damaged:
      found.append(
        f"{self.root}: {counted(len(damaged), 'recording')} cannot be read, "
        f"and {_is(len(damaged))} passed over: "
        + _some([_why(fault) for fault in damaged])
      )
    foreign = [fault.path for fault in self.unread if fault.needs_extra]
    if foreign:
      found.append(
        f"{self.root}: {counted(len(foreign), 'recording')} "
        f"{_is(len(foreign))} passed over ({_some(foreign)}), for want of "
        "PyAV: pip install 'tflm-fg[audio]', or convert them with: "
        + decoding.ffmpeg(foreign[0])
      )
    if self.silent:
      found.append(
        f"{self.root}: {counted(len(self.silent), 'clip')} "
        f"{_is(len(self.silent))} silent, as of a muted microphone, and left "
        f"out: {_some(self.silent)}"
      )
    if self.torn:
      found.append(
        f"{self.root}: {counted(len(self.torn), 'clip')} "
        f"{_is(len(self.torn))} left out, whose exact duplicates lie in "
        f"folders of other classes: {_some(list(self.torn.values()))}"
      )
    return (*found, *[self._copied()] * (not self._few and bool(self.copies)))

  def remarks(self) -> tuple[str, ...]:
    """What is worth a note."""
    return (self._copied(),) if self.copies and self._few else ()

  def require_some(self) -> None:
    """Refuses a folder of which nothing is left.

    Raises:
      TflmFgError: if no clip is.
    """
    if len(self.digests) > len(self.torn):
      return
    if self.unread and not self.silent:
      raise TflmFgError(
        f"{self.root}: none of {counted(len(self.unread), 'recording')} can be "
        f"read, first {self.unread[0]}"
      )
    raise TflmFgError(
      f"{self.root}: no clip is left to learn from: {'; '.join(self.doubts())}"
    )

  @property
  def _few(self) -> bool:
    return len(self.copies) <= FEW_COPIES * len(self.digests)

  def _copied(self) -> str:
    count = len(self.copies)
    what = "an exact duplicate" if count == 1 else "exact duplicates"
    return (
      f"{self.root}: {counted(count, 'clip')} {_is(count)} {what} of others, "
      f"and each sound counts once: {_some(self.copies)}"
    )


def clips(
  takes: Iterable[Take], length: int, findings: Findings
) -> Iterator[tuple[Take, NDArray[np.int16]]]:
  """Cuts the takes' files into clips of `length` samples.

  Args:
    takes: files, and windows of noise.
    length: samples of a clip.
    findings: gets what was found; its `digests` count the clips.

  Raises:
    TflmFgError: in strict mode, for a recording that cannot be read.
  """
  noises: dict[str, NDArray[np.int16] | None] = {}  # noise is cut many times
  seen: dict[bytes, tuple[int, int]] = {}
  for take in takes:
    if take.start is not None:
      if take.path not in noises:
        noises[take.path] = read(take.path, findings)
      noise = noises[take.path]
      if noise is None:
        continue
      start = take.start % max(1, len(noise) - length + 1)
      findings.digests.append(b"")
      yield take, np.resize(noise[start : start + length], length)
      continue
    sound = read(take.path, findings)
    for clip in [] if sound is None else files.clips_of(sound, length):
      if take.label != findings.silence and files.is_silent(clip):
        findings.silent.append(take.path)
        continue
      digest = hashlib.blake2b(clip.tobytes(), digest_size=16).digest()
      number, label = seen.setdefault(
        digest, (len(findings.digests), take.label)
      )
      if number < len(findings.digests):
        if label == take.label:
          findings.copies.append(take.path)
        else:
          findings.torn[number] = take.path
        continue
      findings.digests.append(digest)
      yield take, clip


def read(path: str, findings: Findings) -> NDArray[np.int16] | None:
  """Reads a recording; None where it cannot be read, which is kept in mind."""
  try:
    return files.read(path)
  except UnreadSound as fault:
    if findings.strict:
      raise TflmFgError(f"{fault}; or leave out --strict") from None
    findings.unread.append(fault)
    return None


def _why(fault: UnreadSound) -> str:
  return f"{fault.path} ({fault.reason})"


def _is(count: int) -> str:
  return "is" if count == 1 else "are"


def _some(paths: Sequence[str], most: int = 3) -> str:
  shown = ", ".join(paths[:most])
  more = len(paths) - most
  return f"{shown} and {more} more" if more > 0 else shown
