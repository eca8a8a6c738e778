"""Seed and slopes of every step: enough to make the adapted file again.

One JSON object a line. The first says which file was trained and how, then
one line a step with its slopes, and the last says which step was kept. A step
of sign-SPSA is one bit a direction; the directions come from the seed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from tflm_fg.base import Estimate, TflmFgError
from tflm_fg.callbacks import Callback, Logs, State
from tflm_fg.flatbuffer import read_mark
from tflm_fg.flatbuffer_patch import Patchable
from tflm_fg.quant import Layout
from tflm_fg.settings import Settings

VERSION = 1


def sha256(data: bytes) -> str:
  """The fingerprint by which a journal knows its model."""
  return hashlib.sha256(data).hexdigest()


@dataclasses.dataclass
class Journal(Callback):
  """Records slopes while training; replays them onto the marked file.

  Attributes:
    model_sha256: fingerprint of the marked file.
    settings: how it was trained.
    batch_size: clips that a pass really took.
    slopes: one list of m integers (Q16) a step.
    kept_step: the step whose weights were kept.
  """

  model_sha256: str
  settings: Settings
  batch_size: int
  slopes: list[list[int]] = dataclasses.field(default_factory=list)
  kept_step: int = 0

  def on_train_batch_end(self, state: State, logs: Logs) -> None:
    """Records a step's slopes; the latest step counts as kept."""
    self.slopes.append([int(s) for s in logs["slopes"]])
    self.kept_step = state.step

  def to_bytes(self) -> bytes:
    """The journal as JSON lines."""
    head = {
      "tflm_fg_journal": VERSION,
      "model_sha256": self.model_sha256,
      "batch_size": self.batch_size,
      "settings": dataclasses.asdict(self.settings),
    }
    lines: list[Any] = [head]
    lines += [{"step": i, "slopes": s} for i, s in enumerate(self.slopes)]
    lines.append({"kept_step": self.kept_step})
    dump = json.JSONEncoder(separators=(",", ":")).encode
    return "".join(dump(line) + "\n" for line in lines).encode()


def parse(content: bytes, name: str = "journal") -> Journal:
  """Reads a journal.

  Raises:
    TflmFgError: if it is not one, or was cut off.
  """
  try:
    head, *steps, tail = [json.loads(line) for line in content.splitlines()]
    if head["tflm_fg_journal"] != VERSION:
      raise ValueError(f"version {head['tflm_fg_journal']}, need {VERSION}")
    slopes = [row["slopes"] for row in steps]
    if [row["step"] for row in steps] != list(range(len(steps))):
      raise ValueError("a step is missing")
    if any(not _is_slope(s) for row in slopes for s in row):
      raise ValueError("a slope is not an integer of 32 bits")
    kept, batch_size = tail["kept_step"], head["batch_size"]
    if type(kept) is not int or not 0 <= kept <= len(slopes):
      raise ValueError(f"it kept step {kept} of {len(slopes)}")
    if None in head["settings"].values():
      raise ValueError("a setting without a value")
    settings = Settings(**head["settings"])
    if len(slopes) > settings.steps:
      raise ValueError(
        f"{len(slopes)} steps, its settings say {settings.steps}"
      )
    if type(batch_size) is not int or batch_size < 1:
      raise ValueError(f"batch_size {batch_size}")
    model = str(head["model_sha256"])
    return Journal(model, settings, batch_size, slopes, kept)
  except (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    TflmFgError,
  ) as fault:
    raise TflmFgError(f"{name}: not a whole journal ({fault})") from None


def _is_slope(value: object) -> bool:
  return type(value) is int and abs(value) <= 1 << 31


def replay(journal: Journal, marked: bytes, name: str = "model") -> bytes:
  """Applies the recorded steps to the marked file, without any engine.

  Args:
    journal: as recorded.
    marked: the file that was trained, before training.
    name: what to call the file in errors.

  Returns:
    The adapted file, byte for byte.

  Raises:
    TflmFgError: if the file is not the one that was trained.
  """
  mark = read_mark(marked, name)
  if mark is None or sha256(marked) != journal.model_sha256:
    raise TflmFgError(
      f"{name}: not the file this journal was recorded on; give the --model "
      "and the --trainable of then"
    )
  layout = Layout(mark.trainable)
  wanted = journal.settings.slopes_a_step(layout)
  if any(len(row) != wanted for row in journal.slopes):
    raise TflmFgError(f"{name}: a step of the journal without {wanted} slopes")
  patchable = Patchable(marked, [t.index for t in mark.trainable])
  rule = journal.settings.rule(layout, journal.batch_size)
  state = rule.start(layout.params(patchable.read()))
  nothing = np.zeros(0, np.int64)
  for step, slopes in enumerate(journal.slopes[: journal.kept_step]):
    estimate = Estimate(step, np.array(slopes, np.int64), nothing)
    state = rule.advance(state, estimate)
  return patchable.write(layout.weights(state.params))
