"""Write rows of adaptations and timings to a CSV, and read them back."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable

from tflm_fg import files
from tflm_fg.types import TflmFgError

ADAPTATIONS = {
  "before": "the model as it is",
  "descent": "float backpropagation of the head to convergence",
  "logistic": "float logistic regression of the head from zero",
  "head": "the head, by its exact gradient",
  "plain": "the head, by --plain_method alone",
  "self-set": "the same, its learning rate and epsilon chosen by itself",
  "auto": "the default: places and settings chosen by measuring",
  "unlabelled": "the same without labels",
  "fit-head": "Keras backpropagation of the head, the best of three rates",
  "fit-all": "Keras backpropagation of all weights, the best of three rates",
}

QUICK_ADAPTATIONS = tuple(
  m for m in ADAPTATIONS if not m.startswith("fit-") and m != "logistic"
)
"""Those of preset accuracy by default."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptation:
  """One data set, seed and method; nan where a number means nothing.

  Attributes:
    data: the data set.
    seed: of samples and training.
    method: a key of `ADAPTATIONS`.
    accuracy: share of the test samples.
    source: the same on the source's samples, after adapting.
    passes: forward passes of a batch, all of them.
    seconds: of adapting, or of `fit` alone.
    cpu_seconds: of this process meanwhile, scoring before and after included;
      a busy machine lengthens them less.
    reach_passes: passes until a point under the method "descent".
    reach_seconds: seconds until then.
    added_bytes: by which the file grew.
    trainer_bytes: beyond what inference needs.
    arena_before: bytes of TFLM's arena for the file before adapting.
    arena_after: the same for the adapted file.
    tflm_equal: share of test samples that TFLM and LiteRT's reference kernels
      answer alike.
    tflm_lsb: largest difference of their logits, in steps.
    chosen: what was trained, where that was a choice.
  """

  data: str
  seed: int
  method: str
  accuracy: float
  source: float = math.nan
  passes: float = math.nan
  seconds: float = math.nan
  cpu_seconds: float = math.nan
  reach_passes: float = math.nan
  reach_seconds: float = math.nan
  added_bytes: float = math.nan
  trainer_bytes: float = math.nan
  arena_before: float = math.nan
  arena_after: float = math.nan
  tflm_equal: float = math.nan
  tflm_lsb: float = math.nan
  chosen: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
  """One case.

  Attributes:
    what: "speed" or "growth".
    case: its name.
    strategy: "in-place" or "rebuild".
    workers: passes side by side.
    directions: pairs of passes a step.
    batch: samples a pass.
    weights: trainable numbers.
    layers: trained layers.
    pair: 1 where other strategies and workers run the same, else 0.
    step_us: microseconds a step in the quietest round.
    invoke_us: of them, inside the engine.
    ratio: the former over the latter.
    ratio_median: the median of that ratio over all rounds.
  """

  what: str
  case: str
  strategy: str
  workers: int
  directions: int
  batch: int
  weights: int
  layers: int
  pair: int
  step_us: float
  invoke_us: float
  ratio: float
  ratio_median: float


AnalysisRow = Adaptation | Timing


MADE_WITH = "made_with"
"""The column that says what rows depend on."""


def to_csv(rows: Iterable[AnalysisRow], made_with: str = "") -> bytes:
  """A row each, empty where a number means nothing.

  Args:
    rows: adaptations and timings.
    made_with: all that the rows depend on; of a row of other things another
      command must not make use.
  """
  names = ["what"]
  for kind in (Adaptation, Timing):
    names += [f.name for f in dataclasses.fields(kind) if f.name not in names]
  text = io.StringIO()
  writer = csv.DictWriter(text, [*names, MADE_WITH])
  writer.writeheader()
  for row in rows:
    known = {k: v for k, v in dataclasses.asdict(row).items() if v == v}
    known = {"what": "accuracy", **known, MADE_WITH: made_with}
    writer.writerow(known)
  return text.getvalue().encode()


def read_csv(path: str) -> list[AnalysisRow]:
  """Takes the rows of a CSV.

  Raises:
    TflmFgError: if this program did not write it.
  """
  text = files.read_bytes(path, files.TEXT_TIMES).decode("utf-8", "replace")
  rows: list[AnalysisRow] = []
  for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
    kind = Adaptation if row.get("what") == "accuracy" else Timing
    try:
      values = {f.name: _value(f, row) for f in dataclasses.fields(kind)}
    except (KeyError, TypeError, ValueError):
      raise TflmFgError(
        f"{path}: line {number} is no row of this benchmark; choose another "
        "--out_dir"
      ) from None
    rows.append(kind(**values))
  return rows


def require_same(path: str, made_with: str) -> None:
  """Refuses a CSV whose rows depend on other things.

  Raises:
    TflmFgError: naming both.
  """
  text = files.read_bytes(path, files.TEXT_TIMES).decode("utf-8", "replace")
  for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
    if row.get(MADE_WITH) != made_with:
      raise TflmFgError(
        f"{path}: line {number} was made with other "
        f"{_differences(row.get(MADE_WITH) or '', made_with)}; choose another "
        "--out_dir"
      )


def _differences(old: str, new: str) -> str:
  """The names of what differs in two texts of JSON."""
  try:
    before, now = json.loads(old), json.loads(new)
    names = [name for name in now if before.get(name) != now[name]]
  except (AttributeError, RecursionError, ValueError):
    names = []
  return " and ".join(names) or "data or settings"


def _value(field: dataclasses.Field[object], row: dict[str, str]) -> object:
  text = row[field.name]
  if field.type == "str":
    return text
  return int(text) if field.type == "int" else float(text or "nan")
