"""Seed and slopes of every step: enough to make the adapted file again.

One JSON object a line. The first says which file was trained and how, phase by
phase and with the step that each kept; then come the steps, and the last line
says how many there were. A step of sign-SPSA is two bits a direction, of other
methods its slopes; the directions come from the seed. An exact head is known by
its masters where these are fewer (`fixed_point.packed_steps`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflm_fg.fixed_point.packed_steps import (
  by_form,
  bytes_of,
  masters_row,
  packed,
)
from tflm_fg.gradients.method import Method
from tflm_fg.placement.phase_record import (
  Phase,
  Record,
)
from tflm_fg.placement.run_plan import RunPlan, RunResult
from tflm_fg.tflite.graph_options import GraphOptions, Pooled
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.training.auto import Auto
from tflm_fg.training.objective import Objective
from tflm_fg.training.settings_record import from_record, to_record
from tflm_fg.types import TflmFgError

VERSION = 3

READ = (2, VERSION)
"""Versions that are read. The second had one line of slopes a step."""


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
    plan, output = run_result.plan, run_result.marked.mark.output
    return cls(
      sha256(run_result.marked.data),
      plan and plan._replace(output=output),
      run_result.records,
      sha256(adapted.data),
    )

  @property
  def steps(self) -> int:
    """Count of steps of all phases."""
    return sum(record.steps for record in self.records)

  def to_bytes(self, every_step: bool = False) -> bytes:
    """The journal as JSON lines.

    Args:
      every_step: whether an exact head's steps are told too, and not its end
        alone, which is shorter.
    """
    head = {
      "tflm_fg_journal": VERSION,
      "model_sha256": self.model_sha256,
      "grown": None if self.plan is None else _plan_record(self.plan),
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
    lines = [_dumped([head])]
    for number, record in enumerate(self.records):
      lines.append(_steps(record, number, every_step))
    tail = {"steps": self.steps, "adapted_sha256": self.adapted_sha256}
    return "".join([*lines, _dumped([tail])]).encode()


def is_one(content: bytes) -> bool:
  """Whether a file's content begins as a journal does; it may be damaged."""
  return content[:200].lstrip().startswith(b'{"tflm_fg_journal"')


def _steps(record: Record, number: int, every_step: bool) -> str:
  """The lines of a phase's steps, in the shorter of the forms that it has."""
  steps = _dumped(packed(record.slopes, number))
  if not record.masters or (steps and every_step):
    return steps
  masters = _dumped([masters_row(number, record.steps, record.masters)])
  return min(steps or masters, masters, key=len)


def _dumped(lines: Sequence[dict[str, Any]]) -> str:
  dump = json.JSONEncoder(separators=(",", ":")).encode
  return "".join(dump(line) + "\n" for line in lines)


def parse(content: bytes, name: str = "journal") -> Journal:
  """Reads a journal.

  Raises:
    TflmFgError: if it is not one, or was cut off.
  """
  try:
    head, rows, tail = _lines(content)
    if (version := _take(head, "tflm_fg_journal", int, "line 1")) not in READ:
      raise ValueError(f"version {version}, need {READ[0]} or {VERSION}")
    model = _take(head, "model_sha256", str, "line 1")
    adapted = _take(tail, "adapted_sha256", str, "the last line")
    rows, masters = by_form(rows)
    known = len(rows) + sum(row["steps"] for row in masters)
    if _take(tail, "steps", int, "the last line") != known:
      raise ValueError("a step is missing")
    phases = _take(head, "phases", list, "line 1")
    records = tuple(
      _record(entry, n, rows, masters) for n, entry in enumerate(phases)
    )
    if sum(r.steps for r in records) != known:
      raise ValueError("a step of no phase")
    grown = _take(head, "grown", object, "line 1")
    plan = None if grown is None else _plan(grown)
    return Journal(model, plan, records, adapted)
  except (ValueError, TflmFgError) as fault:
    cause = str(fault)
  except (TypeError, OverflowError):
    cause = "a value that cannot stand where it does"
  raise TflmFgError(f"{name}: not a whole journal ({cause})")


def _lines(
  content: bytes,
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
  """The first line, the steps' lines and the last one, each a JSON object."""
  parsed = []
  for number, line in enumerate(content.splitlines(), 1):
    try:
      value = json.loads(line)
    except (ValueError, RecursionError):
      raise ValueError(f"line {number} is not JSON") from None
    parsed.append(_object(value, f"line {number}"))
  if len(parsed) < 2:
    raise ValueError("it is empty" if not parsed else "all but line 1 is gone")
  head, *rows, tail = parsed
  for number, row in enumerate(rows, 2):
    where = f"line {number}"
    _take(row, "phase", int, where)
    _take(row, "steps" if "masters" in row else "step", int, where)
    if "signs" not in row and "masters" not in row:
      _take(row, "slopes", list, where)
  return head, rows, tail


def _object(value: object, where: str) -> dict[str, Any]:
  if not isinstance(value, dict):
    raise ValueError(f"{where} is not a JSON object")
  return value


_KINDS = {
  int: "a whole number",
  str: "a text",
  list: "a list",
  dict: "an object",
}


def _take(entry: dict[str, Any], key: str, kind: type, where: str) -> Any:
  """A value that must be there, and of this kind; `object` is any."""
  if key not in entry:
    raise ValueError(f"{where} has no {key!r}")
  value = entry[key]
  if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
    raise ValueError(f"{where}: {key!r} is not {_KINDS[kind]}")
  return value


def _plan_record(plan: RunPlan) -> dict[str, Any]:
  graph_options = plan.graph_options
  layers = [
    {"reach": p.reach, "centre": p.centre.tolist(), "spread": p.spread.tolist()}
    for p in graph_options.pooled
  ]
  return {
    "trainable": plan.trainable,
    "gain": graph_options.gain,
    **({"common_gain": True} if graph_options.common_gain else {}),
    "layers": graph_options.layers,
    "pooled": layers,
    "weights": graph_options.weights,
    **({"uint8": "keep"} if graph_options.uint8 == "keep" else {}),
    **({"pooled_head": "keep"} if graph_options.pooled_head == "keep" else {}),
    **(
      {} if (room := graph_options.head_room) is None else {"head_room": room}
    ),
    **({} if plan.output is None else {"output": plan.output}),
  }


def _plan(grown: object) -> RunPlan:
  where = "'grown'"
  entry = _object(grown, where)
  layers = [
    _object(layer, "a layer of 'grown'")
    for layer in _take(entry, "pooled", list, where)
  ]
  pooled = tuple(
    Pooled(
      _number(_take(layer, "reach", object, "a layer of 'grown'")),
      np.array(_numbers(layer, "centre", int), np.int64),
      np.array(_numbers(layer, "spread", (int, float)), np.float64),
    )
    for layer in layers
  )
  if not all(np.isfinite([p.reach, *p.spread]).all() for p in pooled):
    raise ValueError("a layer without its measure")
  graph_options = GraphOptions(
    gain=bool(_take(entry, "gain", object, where)),
    common_gain=bool(entry.get("common_gain", False)),
    layers=_take(entry, "layers", str, where),
    pooled=pooled,
    weights=str(entry.get("weights", "int8")),  # as journals without it mean
    uint8=str(entry.get("uint8", "rewrite")),
    pooled_head=str(entry.get("pooled_head", "rewrite")),
    head_room=_take(entry, "head_room", int, where)
    if "head_room" in entry
    else None,
  )
  output = _take(entry, "output", int, where) if "output" in entry else None
  trainable = _take(entry, "trainable", str, where)
  return RunPlan(trainable, graph_options, output)


def _number(value: object) -> float:
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise ValueError("a layer without its measure")
  return float(value)


def _numbers(
  layer: dict[str, Any], key: str, kind: type | tuple[type, ...]
) -> list[Any]:
  values: list[Any] = _take(layer, key, list, "a layer of 'grown'")
  if not all(isinstance(v, kind) and not isinstance(v, bool) for v in values):
    raise ValueError("a layer without its measure")
  return values


def _record(
  phase: object,
  number: int,
  rows: list[dict[str, Any]],
  masters: list[dict[str, Any]],
) -> Record:
  where = f"phase {number}"
  entry = _object(phase, where)
  own = [row for row in rows if row["phase"] == number]
  slopes = [row["slopes"] for row in own]
  if [row["step"] for row in own] != list(range(len(own))):
    raise ValueError("a step is missing")
  if any(not _is_slope(s) for row in slopes for s in row):
    raise ValueError("a slope is not an integer of 32 bits")
  method, objective = _settings(_take(entry, "settings", dict, where), where)
  kept = _take(entry, "kept_step", int, where)
  batch_size = _take(entry, "batch_size", int, where)
  ended, ran = _masters(masters, number, len(slopes))
  if not 0 <= kept <= ran:
    raise ValueError(f"it kept step {kept} of {ran}")
  if ran > method.steps:
    raise ValueError(f"{ran} steps, its settings say {method.steps}")
  if batch_size < 1:
    raise ValueError(f"batch_size {batch_size}")
  tensors = tuple(_take(entry, "tensors", list, where))
  if any(type(t) is not int for t in tensors) or isinstance(method, Auto):
    raise ValueError("a phase without a method or a tensor")
  centre = tuple(_take(entry, "centre", list, where))
  if any(type(c) is not int or abs(c) > 1 << 16 for c in centre):
    raise ValueError("a centre that is none")
  drawn_as: tuple[int, ...] = ()
  if "drawn_as" in entry:
    drawn_as = tuple(_take(entry, "drawn_as", list, where))
  if any(type(t) is not int or not 0 <= t < 1 << 31 for t in drawn_as):
    raise ValueError("a random number drawn for no tensor")
  if drawn_as and not len({*drawn_as}) == len(drawn_as) == len(tensors):
    raise ValueError("a tensor without the index it was drawn for")
  phase = Phase(tensors, method, objective)
  if ended and not (method.is_exact and len(ended) == len(tensors)):
    raise ValueError("masters of a phase that is known by its slopes")
  ran = ran if ended else 0
  return Record(phase, batch_size, centre, slopes, kept, drawn_as, ended, ran)


def _masters(
  masters: list[dict[str, Any]], number: int, steps: int
) -> tuple[tuple[bytes, ...], int]:
  """What a phase ended with, where that is how it is known, and its steps."""
  own = [row for row in masters if row["phase"] == number]
  if not own:
    return (), steps
  if steps or len(own) > 1:
    raise ValueError(f"phase {number} is there twice")
  where = f"the masters of phase {number}"
  texts = _take(own[0], "masters", list, where)
  return tuple(map(bytes_of, texts)), own[0]["steps"]


def _settings(entry: dict[str, Any], where: str) -> tuple[Method, Objective]:
  if None in entry.values():
    raise ValueError("a setting without a value")
  _take(entry, "method", str, where)
  try:
    return from_record(entry)
  except ValueError as fault:
    raise ValueError(f"{where}: {fault}") from None


def _is_slope(value: object) -> bool:
  return type(value) is int and abs(value) <= 1 << 31
