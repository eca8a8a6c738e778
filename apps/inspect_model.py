"""tflm-fg-inspect: what is in a .tflite, and what can train in it.

  tflm-fg-inspect --model=kws.tflite
  tflm-fg-inspect --model=marked.tflite --runtime=tflm
  tflm-fg-inspect --model=marked.tflite --report=layers.json

Lists operators, trainable tensors and memory, and writes to each trainable
tensor in the chosen runtime to see whether its output reacts. A file without
a mark is shown as if all that can train were marked.
"""

from __future__ import annotations

import sys
from typing import Any

from absl import flags

import tflm_fg
from apps import cli, outputs
from apps.flags import output_flags
from tflm_fg import files, runtimes
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string("model", None, "a .tflite", required=True)
cli.section(cli.OFTEN)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(runtimes.NAMES), "where to try the writes"
)
cli.section(cli.SOMETIMES)
_STRATEGY = flags.DEFINE_enum(
  "strategy", "auto", list(runtimes.STRATEGIES), "how weights are set"
)
_REPORT = flags.DEFINE_string("report", None, "also write it all as JSON")


def main() -> None:
  """Reads, describes, tries, prints."""
  files.require_outputs(cli.values(_REPORT), cli.values(_MODEL))
  report = tflm_fg.inspect(
    _MODEL.value,
    runtime=_RUNTIME.value,
    strategy=_STRATEGY.value,
    output=output_flags.OUTPUT.value,
    input=output_flags.INPUT.value,
  )
  outputs.note_unfinished(_MODEL.value)
  print_file(report)
  if "runtime" in report:
    print_trials(report)
  else:  # a stream's state is not a sample's, so no write was tried
    for row in report["last_layer"]:
      print(
        f"last layer, {row['operator']}: {row['role']} "
        f"{'x'.join(map(str, row['shape']))} {row['dtype']}, {row['bytes']} "
        f"bytes, {row['name']}"
      )
    for note in report["notes"]:
      print(f"note: {note}")
  if _REPORT.value:
    files.write_atomically(_REPORT.value, cli.to_json(report))
  causes = [row["cause"] for row in report["tensors"] if row["cause"]]
  if causes and len(causes) == len(report["tensors"]):
    raise TflmFgError(
      f"{_MODEL.value}: {report['runtime']!r} sees no write: {causes[0]}"
    )


def print_trials(report: dict[str, Any]) -> None:
  """The mark, what it needs, and what was tried of it."""
  marked = (
    f"{len(report['tensors'])} tensors" if report["is_marked"] else "none"
  )
  print("\nmark:", marked)
  for note in report["notes"]:
    print(f"to be mended: {note}")
  print_training(report)
  print_agreement(report["engine_agreement"])


def print_file(report: dict[str, Any]) -> None:
  """The file's part of the report, for people."""
  print(f"{_MODEL.value}: {report['model_bytes']} bytes")
  print("operators:")
  for name, count in report["operators"].items():
    print(f"  {count:3d} {name}")
  print("outputs:")
  for row in report["outputs"]:
    named = row["signature_name"]
    print(
      f"  {row['index']} {row['name']}"
      + (f" ({named} in the signature)" if named else "")
      + f" {'x'.join(map(str, row['shape']))} {row['dtype']}"
      + ", trained and scored" * row["is_meant"]
    )
  if report["output_note"]:
    print(f"note: {report['output_note']}")
  print_state(report["state"])
  print(
    f"activations alive at once: {report['activation_bytes']} bytes; constants "
    f"on 16 bytes: {'yes' if report['aligned_to_16'] else 'no'}"
  )


def print_state(rows: list[dict[str, Any]]) -> None:
  """What the model keeps from one step of a stream to the next."""
  if not rows:
    return
  total = sum(row["bytes"] for row in rows)
  print(f"state, kept from step to step, {total} bytes:")
  for row in rows:
    start = "zero points" if row["starts_at_zero_point"] else "other numbers"
    print(
      f"  {row['bytes']:7d} {row['dtype']:6} "
      f"{'x'.join(map(str, row['shape'])):16} {row['name']} ({row['kind']}, "
      f"starts from {start})"
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


def print_agreement(rows: list[dict[str, Any]]) -> None:
  """How far engines are apart on the file."""
  if not rows:
    return
  print(
    "largest difference from LiteRT's reference kernels, in steps of the "
    f"logits, on {rows[0]['samples']} random inputs:"
  )
  for row in rows:
    told = row["refused"] and f"does not run it: {row['refused']}"
    print(
      f"  {told or format(row['largest_difference'], '9g')}  {row['engine']}"
    )


def run() -> int:
  """The console script."""
  return cli.launch(main, __name__, also=[output_flags.__name__])


if __name__ == "__main__":
  sys.exit(run())
