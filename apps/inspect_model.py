"""tflm-fg-inspect: what is in a .tflite, and what can train in it.

  tflm-fg-inspect --model=marked.tflite --runtime=litert

Lists operators, trainable tensors and memory, and writes to each trainable
tensor in the chosen runtime to see whether its output reacts. A file without
a mark is shown as if all that can train were marked.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from typing import Any

from absl import flags
from tflm_fg.training.settings import Settings

from apps import cli
from tflm_fg import files
from tflm_fg.memory.footprint import (
  backpropagation,
  forward_gradients,
  inference,
  trainer_bytes,
)
from tflm_fg.placement.run_plan import phases_of
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.registry import NAMES, STRATEGIES, open_session
from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel, mark_trainable
from tflm_fg.tflite.split_graph import cut
from tflm_fg.tflite.tensors import activation_bytes
from tflm_fg.training.objective import output_spec, width
from tflm_fg.types import TflmFgError, TrainableTensor

_MODEL = flags.DEFINE_string("model", None, "a .tflite", required=True)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(NAMES), "where to try the writes"
)
_STRATEGY = flags.DEFINE_enum(
  "strategy", "auto", list(STRATEGIES), "how weights are set"
)
_REPORT = flags.DEFINE_string("report", None, "also write it all as JSON")


def main() -> None:
  """Reads, describes, tries, prints."""
  files.require_outputs(cli.values(_REPORT), cli.values(_MODEL))
  file = ModelFile.open(files.read_bytes(_MODEL.value), _MODEL.value)
  report = describe_file(file)
  print_file(report)
  found = training_metadata.read_mark(file)
  print(
    "\nmark:", "none" if found is None else f"{len(found.trainable)} tensors"
  )
  marked = (
    mark_trainable(file, "all")
    if found is None
    else MarkedModel(file, found, ())
  )
  report.update(describe_training(marked, _RUNTIME.value, _STRATEGY.value))
  print_training(report)
  if _REPORT.value:
    files.write_atomically(_REPORT.value, cli.to_json(report))
  causes = [row["cause"] for row in report["tensors"] if row["cause"]]
  if causes and len(causes) == len(report["tensors"]):
    raise TflmFgError(
      f"{_MODEL.value}: {report['runtime']!r} sees no write: {causes[0]}"
    )


def describe_file(file: ModelFile) -> dict[str, Any]:
  """Operators and inference memory of a file."""
  return {
    "model_bytes": len(file.data),
    "operators": dict(Counter(op.name for op in file.subgraph.operators)),
    "activation_bytes": activation_bytes(file),
    "aligned_to_16": file.is_aligned,
  }


def describe_training(
  marked: MarkedModel, runtime: str, strategy: str
) -> dict[str, Any]:
  """Trainable tensors, the trainer's memory and the guard's verdicts."""
  tensors = marked.mark.trainable
  pieces = cut(marked.file, marked.mark)
  session = open_session(runtime, pieces.suffix, strategy)
  verdicts = write_check.check_visibility(session, tensors)
  outputs = width(output_spec(marked.file, marked.mark))
  phases = phases_of(marked, Settings())
  trainer = trainer_bytes(tensors, phases, outputs)
  candidates = {
    "inference": inference(marked.file),
    "forward gradients": forward_gradients(
      marked.file, marked.mark, phases, outputs
    ),
    "backpropagation at 16 bits": backpropagation(marked.file, marked.mark),
  }
  return {
    "runtime": runtime,
    "strategy": "in-place" if session.traits.in_place else "rebuild",
    "suffix_bytes": len(pieces.suffix.data),
    "suffix_activation_bytes": activation_bytes(pieces.suffix.file),
    "trainer_bytes": trainer.total,
    "memory": {
      candidate: {**dataclasses.asdict(footprint), "total": footprint.total}
      for candidate, footprint in candidates.items()
    },
    "tensors": [
      {**_row(v.tensor), "write_seen": v.seen, "cause": v.cause}
      for v in verdicts
    ],
  }


def _row(tensor: TrainableTensor) -> dict[str, Any]:
  return {
    "index": tensor.index,
    "name": tensor.name,
    "operator": f"{tensor.operator} {tensor.op_name}",
    "role": tensor.role,
    "shape": list(tensor.shape),
    "dtype": tensor.dtype,
    "scales": list(tensor.scales),
    "bytes": tensor.num_bytes,
  }


def print_file(report: dict[str, Any]) -> None:
  """The file's part of the report, for people."""
  print(f"{_MODEL.value}: {report['model_bytes']} bytes")
  print("operators:")
  for name, count in report["operators"].items():
    print(f"  {count:3d} {name}")
  print(
    f"activations alive at once: {report['activation_bytes']} bytes; constants "
    f"on 16 bytes: {'yes' if report['aligned_to_16'] else 'no'}"
  )


def print_training(report: dict[str, Any]) -> None:
  """What can train, and whether the runtime sees it."""
  print(f"trainable, written {report['strategy']} in {report['runtime']}:")
  print(
    f"  {'bytes':>7} {'dtype':6} {'role':6} {'shape':16} scales  seen  name"
  )
  for row in report["tensors"]:
    scales = row["scales"]
    size = f"{scales[0]:.2g}" if len(scales) == 1 else f"{len(scales)} x"
    seen = "yes" if row["write_seen"] else "NO"
    print(
      f"  {row['bytes']:7d} {row['dtype']:6} {row['role']:6} "
      f"{'x'.join(map(str, row['shape'])):16} {size:7} {seen:4}  "
      f"{row['name']} ({row['operator']})"
    )
  for cause in dict.fromkeys(row["cause"] for row in report["tensors"]):
    if cause:
      print(f"  not seen: {cause}")
  print(
    f"a step runs {report['suffix_bytes']} bytes of model with "
    f"{report['suffix_activation_bytes']} bytes of activations; training adds "
    f"{report['trainer_bytes']} bytes"
  )
  print("memory on a microcontroller, activations of a pass / all, in bytes:")
  for candidate, parts in report["memory"].items():
    print(f"  {parts['scratch']:9d} / {parts['total']:9d}  {candidate}")


def run() -> int:
  """The console script."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
