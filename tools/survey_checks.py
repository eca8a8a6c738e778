"""What the survey does with one file and one placement, in a child process.

A small learnable task is made up for the file: a few random inputs, each with
noise around it, belong to a class each. The model is marked, adapted, scored
and replayed. Then an independent loop over LiteRT says whether the report and
the bytes are as they are told to be.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert
from numpy.typing import NDArray

import tflm_fg
from tflm_fg.runtimes import is_installed, require_runs
from tflm_fg.tflite import (
  ModelFile,
  Patchable,
  input_spec,
  read_mark,
  tensor_spec,
  unmarked,
)
from tflm_fg.tflite.inputs import meant_input
from tflm_fg.types import TflmFgError

PLACEMENTS = (
  "head",
  "wide-head",
  "prompt",
  "first-bias",
  "bias",
  "gain",
  "auto",
)

TRAIN, TEST, MOST_CLASSES = 40, 24, 4

_FORWARD = {
  "first-bias": tflm_fg.methods.SignSPSA(steps=20),
  "bias": tflm_fg.methods.SignSPSA(steps=20),
  "gain": tflm_fg.methods.PerSample(steps=20),
}
"""Placements that forward gradients train; a few steps show that they do. Gains
are in scales, which an engine reads once, and have one method alone."""


@dataclasses.dataclass(frozen=True)
class Task:
  """Samples that the file's input takes, and targets that suit its output.

  Attributes:
    x: [N, ...] of the input's dtype.
    y: targets [N, ...].
    loss: for `adapt` and `evaluate`.
  """

  x: NDArray[Any]
  y: NDArray[Any]
  loss: str

  def part(self, start: int, end: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Some of the samples."""
    return self.x[start:end], self.y[start:end]


def describe(path: str) -> dict[str, Any]:
  """What a file is, in a few words, where it can be inspected.

  Raises:
    TflmFgError: where it cannot.
  """
  file = ModelFile.open(pathlib.Path(path).read_bytes(), "model")
  graph = file.subgraph

  def told(indices: tuple[int, ...]) -> str:
    return ", ".join(
      f"{graph.tensors[i].dtype} {list(graph.tensors[i].shape)}"
      for i in indices
    )

  ends = f"{told(graph.inputs)} to {told(graph.outputs)}"
  state = "; state in variables" * graph.keeps_state
  kind = f"{ends}; {len(graph.operators)} operators{state}"
  tflm_fg.inspect(file)
  return {"kind": kind}


def kind_of(path: str) -> str:
  """The same without trying anything; for files that are refused."""
  try:
    data = pathlib.Path(path).read_bytes()
    graph = ModelFile.open(data, "model").subgraph
  except TflmFgError:
    return "no sound .tflite"
  ends = [graph.tensors[i] for i in (*graph.inputs, *graph.outputs)]
  return ", ".join(f"{t.dtype} {list(t.shape)}" for t in ends)


def made_up(model: ModelFile) -> Task:
  """A small task for a file, the same at every call."""
  random = np.random.default_rng(0)
  spec, count = input_spec(model), TRAIN + TEST
  logits = tensor_spec(model, unmarked(model).logits)
  shape = logits.shape[1:] if len(logits.shape) > 1 else logits.shape
  classes = int(shape[-1]) if shape else 1
  kinds = max(2, min(classes, MOST_CLASSES))
  which = np.arange(count) % kinds
  size = spec.shape[1:]
  if spec.rows:
    tokens = random.integers(0, spec.rows, (kinds, *size))
    x = tokens[which]
    noise = random.random(x.shape) < 0.2
    x = np.where(noise, random.integers(0, spec.rows, x.shape), x)
    x = x.astype(spec.dtype)
  elif spec.dtype == "float32":
    centres = random.normal(0, 1, (kinds, *size))
    x = (centres[which] + random.normal(0, 0.4, (count, *size))).astype("f4")
  else:
    limits = np.iinfo(spec.dtype)
    reach = (limits.max - limits.min) / 2
    centre = (limits.max + limits.min) / 2
    centres = random.uniform(-0.7, 0.7, (kinds, *size))
    noise = random.normal(0, 0.2, (count, *size))
    x = centre + reach * (centres[which] + noise)
    x = np.clip(x, limits.min, limits.max).astype(spec.dtype)
  return Task(x, *_targets(model, logits, which, shape, classes))


def _targets(
  model: ModelFile, logits: Any, which: Any, shape: Any, classes: int
) -> tuple[NDArray[Any], str]:
  """Classes, one for each position where there are several; or real numbers."""
  bends = "LOGISTIC" in model.operator_names[-3:]
  if classes > 1 or bends:
    y = which
    if math.prod(shape) > classes > 1:
      y = np.broadcast_to(which.reshape(-1, *[1] * (len(shape) - 1)), (
        len(which), *shape[:-1]))  # fmt: skip
    return np.ascontiguousarray(y), "cross-entropy"
  ends = np.array([-40, 40]) * logits.scale
  return ends[which % 2].astype(np.float64), "mse"


def one(path: str, placement: str) -> dict[str, Any]:
  """Marks, adapts, scores and replays a file, and checks what comes of it.

  Args:
    path: of the file.
    placement: one of `PLACEMENTS`.

  Returns:
    Scores, notes, and a line for each check that failed; JSON-ready.

  Raises:
    TflmFgError: what the file is refused for.
  """
  data = pathlib.Path(path).read_bytes()
  model = ModelFile.open(data, "model")
  if placement != "auto":
    tflm_fg.mark_trainable(model, placement)
  task = made_up(model)
  given: dict[str, Any] = {"loss": task.loss}
  if placement in _FORWARD:
    given["method"] = _FORWARD[placement]
  x, y = task.part(0, TRAIN)
  test = task.part(TRAIN, TRAIN + TEST)
  result = tflm_fg.adapt(
    model, x, y, test=test, trainable=placement, name="model", **given
  )
  report = result.report
  failed = [
    *_bytes_fault(data, result),
    *_start_fault(data, result, task.x[:8]),
    *_report_fault(result, test, task.loss),
  ]
  if tflm_fg.replay(result.journal, result.start, "m") != result.marked_model:
    failed.append("the replay gives other bytes")
  if is_installed("tflm"):
    try:
      require_runs(ModelFile.open(result.model, "model"), "tflm")
    except TflmFgError as fault:
      failed.append(f"TFLM: {fault}")
  name = "mae" if report.accuracy_after is None else "accuracy"
  return {
    "score": name,
    "before": report[f"{name}_before"],
    "after": report[f"{name}_after"],
    "passes": report.forward_passes,
    "notes": list(report.notes),
    "agreement": report.engine_agreement,
    "failed": failed,
  }


def outputs_of(data: bytes, x: NDArray[Any]) -> list[NDArray[np.float64]]:
  """All outputs of all samples in real numbers, by a loop over LiteRT."""
  resolver = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
  engine = litert.Interpreter(
    model_content=bytes(bytearray(data)),
    experimental_op_resolver_type=resolver,
  )
  engine.allocate_tensors()
  inputs, outputs = engine.get_input_details(), engine.get_output_details()
  graph = ModelFile.open(data).subgraph
  meant = graph.inputs.index(meant_input(graph))
  rows: list[list[NDArray[np.float64]]] = []
  for sample in x:
    engine.reset_all_variables()
    for number, detail in enumerate(inputs):
      zeros = np.full(detail["shape"], detail["quantization"][1])
      value = sample if number == meant else zeros
      shaped = np.reshape(value, detail["shape"]).astype(detail["dtype"])
      engine.set_tensor(detail["index"], shaped)
    engine.invoke()
    rows.append([_real(engine.get_tensor(d["index"]), d) for d in outputs])
  return [np.stack(column) for column in zip(*rows)]


def _real(values: NDArray[Any], detail: dict[str, Any]) -> Any:
  scale, point = detail["quantization"]
  real = values.astype(np.float64)
  return (real - point) * scale if scale else real


def _steps(data: bytes) -> list[float]:
  """One step of each output; 1 for floats."""
  file = ModelFile.open(data)
  tensors = [file.subgraph.tensors[i] for i in file.subgraph.outputs]
  return [t.scales[0] if t.has_scale else 1.0 for t in tensors]


def _bytes_fault(data: bytes, result: Any) -> list[str]:
  """Bytes that changed and belong to no trained tensor."""
  start, adapted = tflm_fg.strip(result.start), result.model
  mark = read_mark(result.start)
  if len(start) != len(adapted) or mark is None:
    return ["training changed the file's size"]
  trained = Patchable.of(start, mark.trainable)
  meant = trained.write(trained.read(adapted))
  changed = np.frombuffer(meant, "u1") != np.frombuffer(adapted, "u1")
  failed = []
  if changed.any():
    failed.append(f"{int(changed.sum())} bytes of no trained tensor changed")
  if start != data and not result.report.notes:
    failed.append("the file was changed before training, and no note says so")
  return failed


def _start_fault(data: bytes, result: Any, x: NDArray[Any]) -> list[str]:
  """Outputs that differ before training, beyond what notes announce."""
  if any("uint8" in note for note in result.report.notes):
    return []  # rewritten; its note says by how much the outputs move
  told = " ".join(result.report.notes)
  allowed = re.findall(r"outputs may move by (\d+) steps", told)
  plain = tflm_fg.strip(result.start)
  try:
    before = outputs_of(data, x)
  except (RuntimeError, ValueError):  # LiteRT runs it only once it is mended
    return []
  pairs = zip(before, outputs_of(plain, x), _steps(data))
  apart = max(float(np.abs(a - b).max()) / step for a, b, step in pairs)
  if apart > 0.5 + max(map(int, allowed), default=0):
    return [f"before training outputs differ by {apart:.0f} steps"]
  return []


def _report_fault(result: Any, test: Any, loss: str) -> list[str]:
  """Scores of the report that a loop over LiteRT does not give."""
  x, y = test
  output = getattr(unmarked(result.model), "output", None) or 0
  made = outputs_of(result.model, x)[output]
  made = made.reshape(*y.shape, -1)
  report = result.report
  if loss == "mse":
    mae = float(np.abs(made[..., 0] - y).mean())
    told = report.mae_after
    wrong = told is None or abs(told - mae) > 1e-3 * abs(mae) + 1e-9
    return [f"the report says {told}, a loop {mae}"] * wrong
  if made.shape[-1] == 1:
    at = np.sign(made[..., 0] - 0.5) * np.where(y > 0, 1, -1)
    low, high = float((at > 0).mean()), float((at >= 0).mean())
  else:  # a softmax may round several outputs to the same number
    own = np.take_along_axis(made, y[..., None], -1)
    low = float(((made >= own).sum(-1) == 1).mean())
    high = float((own[..., 0] >= made.max(-1)).mean())
  told = report.accuracy_after
  wrong = told is None or not low - 1e-9 <= told <= high + 1e-9
  return [f"the report says {told}, a loop {low} to {high}"] * wrong
