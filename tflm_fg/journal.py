"""Seed and slopes of every step: enough to make the adapted file again.

One JSON object a line. The first says which file was trained and how, phase by
phase and with the step that each kept; then comes one line a step with its
slopes, and the last line says how many there were. A step of sign-SPSA is one
bit a direction; the directions come from the seed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflm_fg import files
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.marking import Model, opened
from tflm_fg.placement.phase_record import (
  Masters,
  Phase,
  Record,
  masters_of,
  write_masters,
)
from tflm_fg.placement.run_plan import RunPlan, RunResult
from tflm_fg.tflite import select_trainable
from tflm_fg.tflite.graph_options import GraphOptions, Pooled
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.training.auto import Auto
from tflm_fg.training.build import step_rule
from tflm_fg.training.settings_record import from_record, to_record
from tflm_fg.types import Mark, TflmFgError

VERSION = 2


def sha256(data: bytes) -> str:
  """The fingerprint by which a journal knows its model."""
  return hashlib.sha256(data).hexdigest()


@dataclasses.dataclass(frozen=True)
class Journal:
  """What was done to a marked file.

  Attributes:
    model_sha256: fingerprint of the marked file.
    plan: how that came from the plain file; None where it was given marked.
    records: the phases, in order.
    adapted_sha256: fingerprint of the marked file that they made of it.
  """

  model_sha256: str
  plan: RunPlan | None
  records: tuple[Record, ...]
  adapted_sha256: str

  @classmethod
  def of(cls, run_result: RunResult, adapted: ModelFile) -> Journal:
    """The journal of an adaptation, and of the marked file that it made."""
    return cls(
      sha256(run_result.marked.data),
      run_result.plan,
      run_result.records,
      sha256(adapted.data),
    )

  @property
  def steps(self) -> int:
    """Count of steps of all phases."""
    return sum(len(record.slopes) for record in self.records)

  def to_bytes(self) -> bytes:
    """The journal as JSON lines."""
    head = {
      "tflm_fg_journal": VERSION,
      "model_sha256": self.model_sha256,
      "grown": None if self.plan is None else _told(self.plan),
      "phases": [
        {
          "tensors": record.phase.tensors,
          "batch_size": record.batch_size,
          "kept_step": record.kept_step,
          "centre": record.centre,
          "settings": to_record(record.phase.method, record.phase.objective),
          **({"drawn_as": record.drawn_as} if record.drawn_as else {}),
        }
        for record in self.records
      ],
    }
    lines: list[Any] = [head]
    lines += [
      {"phase": number, "step": step, "slopes": slopes}
      for number, record in enumerate(self.records)
      for step, slopes in enumerate(record.slopes)
    ]
    tail = {"steps": self.steps, "adapted_sha256": self.adapted_sha256}
    lines.append(tail)
    dump = json.JSONEncoder(separators=(",", ":")).encode
    return "".join(dump(line) + "\n" for line in lines).encode()


def parse(content: bytes, name: str = "journal") -> Journal:
  """Reads a journal.

  Raises:
    TflmFgError: if it is not one, or was cut off.
  """
  try:
    head, *rows, tail = [json.loads(line) for line in content.splitlines()]
    if head["tflm_fg_journal"] != VERSION:
      raise ValueError(f"version {head['tflm_fg_journal']}, need {VERSION}")
    if tail["steps"] != len(rows):
      raise ValueError("a step is missing")
    phases = list(enumerate(head["phases"]))
    records = tuple(_record(entry, n, rows) for n, entry in phases)
    if sum(len(r.slopes) for r in records) != len(rows):
      raise ValueError("a step of no phase")
    plan = None if head["grown"] is None else _plan(head["grown"])
    adapted = str(tail["adapted_sha256"])
    return Journal(str(head["model_sha256"]), plan, records, adapted)
  except (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    TflmFgError,
  ) as fault:
    raise TflmFgError(f"{name}: not a whole journal ({fault})") from None


def _told(plan: RunPlan) -> dict[str, Any]:
  graph_options = plan.graph_options
  layers = [
    {"reach": p.reach, "centre": p.centre.tolist(), "spread": p.spread.tolist()}
    for p in graph_options.pooled
  ]
  return {
    "trainable": plan.trainable,
    "gain": graph_options.gain,
    "layers": graph_options.layers,
    "pooled": layers,
    "weights": graph_options.weights,
  }


def _plan(entry: dict[str, Any]) -> RunPlan:
  pooled = tuple(
    Pooled(
      float(layer["reach"]),
      np.array(layer["centre"], np.int64),
      np.array(layer["spread"], np.float64),
    )
    for layer in entry["pooled"]
  )
  if not all(np.isfinite([p.reach, *p.spread]).all() for p in pooled):
    raise ValueError("a layer without its measure")
  graph_options = GraphOptions(
    gain=bool(entry["gain"]),
    layers=str(entry["layers"]),
    pooled=pooled,
    weights=str(entry.get("weights", "int8")),  # as journals without it mean
  )
  return RunPlan(str(entry["trainable"]), graph_options)


def _record(entry: dict[str, Any], number: int, rows: list[Any]) -> Record:
  own = [row for row in rows if row["phase"] == number]
  slopes = [row["slopes"] for row in own]
  if [row["step"] for row in own] != list(range(len(own))):
    raise ValueError("a step is missing")
  if any(not _is_slope(s) for row in slopes for s in row):
    raise ValueError("a slope is not an integer of 32 bits")
  if None in entry["settings"].values():
    raise ValueError("a setting without a value")
  method, objective = from_record(entry["settings"])
  if method.name == Auto.name:
    raise ValueError("a phase without a method")
  kept, batch_size = entry["kept_step"], entry["batch_size"]
  if type(kept) is not int or not 0 <= kept <= len(slopes):
    raise ValueError(f"it kept step {kept} of {len(slopes)}")
  if len(slopes) > method.steps:
    raise ValueError(f"{len(slopes)} steps, its settings say {method.steps}")
  if type(batch_size) is not int or batch_size < 1:
    raise ValueError(f"batch_size {batch_size}")
  tensors = tuple(entry["tensors"])
  if any(type(t) is not int for t in tensors):
    raise ValueError("a phase without a tensor")
  centre = tuple(entry["centre"])
  if any(type(c) is not int or abs(c) > 1 << 16 for c in centre):
    raise ValueError("a centre that is none")
  drawn_as = tuple(entry.get("drawn_as", ()))
  if any(type(t) is not int or not 0 <= t < 1 << 31 for t in drawn_as):
    raise ValueError("a random number drawn for no tensor")
  if drawn_as and not len({*drawn_as}) == len(drawn_as) == len(tensors):
    raise ValueError("a tensor without the index it was drawn for")
  phase = Phase(tensors, method, objective)
  return Record(phase, batch_size, centre, slopes, kept, drawn_as)


def _is_slope(value: object) -> bool:
  return type(value) is int and abs(value) <= 1 << 31


def replay(
  journal: Journal | bytes | str | os.PathLike[str],
  model: Model,
  name: str | None = None,
) -> bytes:
  """Applies the recorded steps to a file, without any engine.

  Args:
    journal: as recorded; or its file, as a path or bytes.
    model: the path or the bytes of the file that was adapted, marked or plain,
      before training.
    name: what to call the file in errors; by default its path.

  Returns:
    The adapted file, byte for byte, marked.

  Raises:
    TflmFgError: if the file is not the one that was trained.
  """
  if not isinstance(journal, Journal):
    journal = parse(*files.read_model(journal, None))
  marked = opened(model, name)
  name = marked.name
  if sha256(marked.data) != journal.model_sha256 and journal.plan is not None:
    marked = _marked_again(journal.plan, marked, name)
  mark = read_mark(marked)
  if mark is None or sha256(marked.data) != journal.model_sha256:
    raise TflmFgError(
      f"{name}: not the file this journal was recorded on; give the --model "
      "of then"
    )
  for record in journal.records:
    _require_slopes(record, mark, name)
  masters = _replay_phases(journal.records, marked, mark)
  adapted = write_masters(marked, mark, masters).data
  if sha256(adapted) != journal.adapted_sha256:
    raise TflmFgError(
      f"{name}: the journal makes another file of it than it made then; it was "
      "changed, or another release wrote it"
    )
  return adapted


def _replay_phases(
  records: Sequence[Record], marked: ModelFile, mark: Mark
) -> Masters:
  """Takes the recorded steps again, without an engine."""
  masters = masters_of(marked, mark)
  for record in records:
    addresses = record.addresses
    layout = Layout(
      tuple(
        dataclasses.replace(t, index=addresses[t.index])
        for t in mark.trainable
        if t.index in addresses
      )
    )
    rule = step_rule(
      record.phase.method, layout, record.batch_size, centre=record.centre
    )
    # A low byte has no master of its own.
    own = {i: there for i, there in addresses.items() if i in masters}
    held = {there: masters[i] for i, there in own.items()}
    state = rule.start(layout.gather(held))
    for slopes in record.slopes[: record.kept_step]:
      state = rule.replayed(state, slopes)
    trained = layout.scatter(state.params)
    masters |= {i: trained[there] for i, there in own.items()}
  return masters


def _marked_again(plan: RunPlan, model: ModelFile, name: str) -> ModelFile:
  try:
    return select_trainable.mark_trainable(
      model, plan.trainable, name, plan.graph_options
    ).file
  except ValueError as fault:
    raise TflmFgError(
      f"{name}: does not take what the journal says of its layers ({fault})"
    ) from None


def _require_slopes(record: Record, mark: Mark, name: str) -> None:
  known = {t.index: t for t in mark.trainable}
  if not record.phase.tensors or not set(record.phase.tensors) <= set(known):
    raise TflmFgError(f"{name}: the journal trains a tensor that is not marked")
  layout = Layout(tuple(known[i] for i in known if i in record.phase.tensors))
  slopes_a_step = record.phase.method.slopes_a_step
  if any(
    len(row) not in slopes_a_step(layout, step)
    for step, row in enumerate(record.slopes)
  ):
    raise TflmFgError(f"{name}: a step of the journal without its slopes")
  wide = len(record.centre) * layout.num_biases
  if record.centre and not (
    record.phase.method.is_exact and wide == layout.num_kernels
  ):
    raise TflmFgError(f"{name}: a centre in the journal that is not the head's")
