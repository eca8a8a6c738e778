"""tflm-fg-benchmark: forward passes against float backpropagation of the head.

  tflm-fg-benchmark --data=whisper,child,hungarian --out=head.csv
  tflm-fg-benchmark --model=kws.tflite --data=a.npz,b.npz --train_clips=300

For every data set and seed: adapts the last layer in the interpreter, trains
the same layer by float backpropagation until it has converged, and scores
both on clips that neither has seen. A data set is an .npz with x and y, cut
into training and test clips in its own order, or the name of one of the
demo's voices, made anew for every seed. Then runs each adapted file on LiteRT's
reference kernels and on TFLM (where installed) and counts equal answers.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

import tflm_fg
from apps import cli
from apps.kws import shipped
from tflm_fg import data, files, quant, runtimes
from tflm_fg.base import Array, TflmFgError
from tflm_fg.callbacks import ProgbarLogger
from tflm_fg.flatbuffer_cut import whole
from tflm_fg.flatbuffer_mark import mark, unmarked
from tflm_fg.flatbuffer_patch import weights_of
from tflm_fg.flatbuffer_tensors import TensorSpec, tensor_spec
from tflm_fg.graph import Graph
from tflm_fg.metrics import logits_of
from tflm_fg.settings import METHODS

_MODEL = flags.DEFINE_string(
  "model", None, "an int8 or int16x8 .tflite; by default the demo's"
)
_DATA = flags.DEFINE_list(
  "data",
  list(shipped.TARGETS),
  "voices of the demo, or .npz files with x and y",
)
_TRAIN_CLIPS = flags.DEFINE_integer(
  "train_clips", 300, "clips of an .npz to train on, from its beginning"
)
_TEST_CLIPS = flags.DEFINE_integer(
  "test_clips", 200, "clips of an .npz to score on, behind those"
)
_CLIPS_PER_WORD = flags.DEFINE_integer(
  "clips_per_word", 20, "clips a word of a demo voice to train on"
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds to run")
_METHOD = flags.DEFINE_enum(
  "method", "sign-m-spsa", list(METHODS), "how the forward passes are used"
)
_STEPS = flags.DEFINE_integer(
  "steps", None, "steps; by default the method's own"
)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(runtimes.NAMES), "the engine that runs the passes"
)
_OUT = flags.DEFINE_string("out", None, "CSV with a row a run")

CONVERGED = 1e-3
"""Backpropagation ends when 100 steps lower its loss by less than this."""

Split = tuple[tuple[Array, Array], tuple[Array, Array]]


@dataclasses.dataclass(frozen=True)
class Row:
  """One data set and seed; accuracies are shares of the test clips."""

  data: str
  seed: int
  before: float
  forward: float
  backpropagation: float
  forward_passes: int
  seconds: float
  trainer_bytes: int
  tflm_agreement: float  # nan where TFLM is not installed


def main() -> None:
  """Runs the grid, prints a table, writes a CSV."""
  read = {f"data={name}": name for name in _DATA.value}
  files.require_outputs(cli.values(_OUT), {**cli.values(_MODEL), **read})
  model = shipped.shipped_model()
  if _MODEL.value:
    model = files.read_bytes(_MODEL.value)
  rows = list(run_all(model))
  print_table(rows)
  if _OUT.value:
    files.write_atomically(_OUT.value, to_csv(rows))


def run_all(model: bytes) -> Iterator[Row]:
  """Runs every data set with every seed."""
  for name in _DATA.value:
    for seed in _SEEDS.value:
      if not seed.isdigit():
        raise TflmFgError(f"--seeds: {seed!r} is no whole number from 0")
      yield run_one(model, name, int(seed), split_of(name, int(seed)))


def split_of(name: str, seed: int) -> Split:
  """Training and test clips of a data set."""
  if name in shipped.TARGETS:
    return shipped.clips_of(name, _CLIPS_PER_WORD.value, 40, seed)
  clips = data.load_npz(name)
  cut, end = _TRAIN_CLIPS.value, _TRAIN_CLIPS.value + _TEST_CLIPS.value
  if clips.y is None or len(clips.x) < end:
    raise TflmFgError(
      f"{name}: {len(clips.x)} clips, --train_clips and --test_clips need {end}"
    )
  return (
    (clips.x[:cut], clips.y[:cut]),
    (clips.x[cut:end], clips.y[cut:end]),
  )


def run_one(model: bytes, name: str, seed: int, split: Split) -> Row:
  """Adapts, backpropagates, and compares the engines."""
  train, test = split
  label = os.path.splitext(os.path.basename(name))[0]
  result = tflm_fg.adapt(
    model,
    *train,
    test=test,
    trainable="head",
    runtime=_RUNTIME.value,
    settings=tflm_fg.Settings(
      method=_METHOD.value, seed=seed, steps=_STEPS.value
    ),
    callbacks=[ProgbarLogger(f"{label} {seed}")],
  )
  report = result.report
  return Row(
    data=label,
    seed=seed,
    before=report["accuracy_before"],
    forward=report["accuracy_after"],
    backpropagation=backpropagated(model, train, test),
    forward_passes=report["forward_passes"],
    seconds=report["seconds"],
    trainer_bytes=report["trainer_bytes"],
    tflm_agreement=agreement(result.model, test[0]),
  )


def backpropagated(
  model: bytes, train: tuple[Array, Array], test: tuple[Array, Array]
) -> float:
  """Test accuracy of the head after float backpropagation to convergence.

  The layers before the head stay int8; its input is dequantized.
  """
  marked = mark(model, "head")
  graph = Graph(marked.data, marked.mark, "litert")
  spec = tensor_spec(marked.data, marked.mark.head_input)
  (x, y), (test_x, test_y) = (
    (_floats(graph, part, spec), np.asarray(part[1])) for part in (train, test)
  )
  kernel, bias = (
    array * np.reshape(t.scales, [-1] + [1] * (array.ndim - 1))
    for array, t in zip(
      weights_of(marked.data, marked.mark.trainable), marked.mark.trainable
    )
  )
  start = np.vstack([kernel.reshape(len(kernel), -1).T, bias.reshape(1, -1)])
  weights = descend(x, y, start)
  return float(((test_x @ weights).argmax(axis=1) == test_y).mean())


def _floats(
  graph: Graph, part: tuple[Array, Array], spec: TensorSpec
) -> NDArray[np.float64]:
  """The head's input [N, D + 1], dequantized, with a column of ones."""
  (features,) = graph.clips(data.Dataset(*part), "clips").inputs
  flat = features.reshape(len(features), -1)
  x = quant.dequantize(flat, spec.scale, spec.zero_point)
  return np.hstack([x, np.ones((len(x), 1))])


def descend(
  x: NDArray[np.float64], y: Array, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
  """Full-batch gradient descent on softmax cross-entropy, with momentum.

  Args:
    x: inputs [N, D].
    y: classes [N].
    weights: [D, C], where to start.

  Returns:
    Weights [D, C], once 100 steps lower the loss by less than `CONVERGED`.
  """
  wanted = np.eye(weights.shape[1])[y]
  rate = 2 * len(x) / np.linalg.norm(x, 2) ** 2  # the inverse of its smoothness
  velocity, last = np.zeros_like(weights), np.inf
  for step in range(100_000):
    logits = x @ weights
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if step % 100 == 0:
      loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-300)).mean()
      if last - loss < CONVERGED:
        break
      last = loss
    velocity = 0.9 * velocity - 0.1 * rate * (x.T @ (p - wanted)) / len(x)
    weights = weights + velocity
  return weights


def agreement(model: bytes, x: Array) -> float:
  """Share of clips that TFLM and LiteRT's reference kernels answer alike."""
  if not runtimes.is_installed("tflm"):
    return float("nan")
  part = whole(model, unmarked(model, "adapted"))
  spec = tensor_spec(model, part.inputs[0])
  clips = data.model_input(x, spec)
  answers = [
    logits_of(runtimes.open_session(name, part), (clips,)).argmax(axis=1)
    for name in ("litert-reference", "tflm")
  ]
  return float((answers[0] == answers[1]).mean())


def print_table(rows: list[Row]) -> None:
  """A Markdown table: means over seeds, with the spread in brackets."""
  print(
    "| data | before | forward passes | float backpropagation | gap, points | "
    "passes | seconds | trainer bytes | TFLM agrees |"
  )
  print("|---|---|---|---|---|---|---|---|---|")
  names = list(dict.fromkeys(row.data for row in rows))
  for name in [*names, "mean"]:
    chosen = [row for row in rows if name in (row.data, "mean")]
    print(_table_row(name, chosen))


def _table_row(name: str, rows: list[Row]) -> str:
  def percent(key: str) -> str:
    values = 100 * np.array([getattr(row, key) for row in rows])
    return f"{values.mean():.1f} % ({values.min():.1f} to {values.max():.1f})"

  gap = 100 * np.mean([row.backpropagation - row.forward for row in rows])
  worst: dict[str, Any] = {
    key: max(getattr(row, key) for row in rows)
    for key in ("forward_passes", "seconds", "trainer_bytes")
  }
  agree = 100 * min(row.tflm_agreement for row in rows)
  agrees = "not installed" if np.isnan(agree) else f"{agree:.1f} %"
  return (
    f"| {name} | {percent('before')} | {percent('forward')} | "
    f"{percent('backpropagation')} | {gap:+.1f} | {worst['forward_passes']} | "
    f"{worst['seconds']:.1f} | {worst['trainer_bytes']} | {agrees} |"
  )


def to_csv(rows: list[Row]) -> bytes:
  """A row a run."""
  text = io.StringIO()
  writer = csv.writer(text)
  writer.writerow([field.name for field in dataclasses.fields(Row)])
  writer.writerows(dataclasses.astuple(row) for row in rows)
  return text.getvalue().encode()


def run() -> int:
  """The console script."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
