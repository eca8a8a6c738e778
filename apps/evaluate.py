"""tflm-fg-evaluate: loss and accuracy of a quantized .tflite on samples.

  tflm-fg-evaluate --model=adapted.tflite --data=test.npz
  tflm-fg-evaluate --model=adapted.tflite --data=test.npz --runtime=tflm
  tflm-fg-evaluate --model=sizes.tflite --data=test.npz --loss=mse
    --report=scores.json

For a model that gives numbers, --loss=mse or huber: loss and mean absolute
error. For one that ends in sigmoids, y of 0 and 1: precision, recall and AUC.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from absl import flags

import tflm_fg
from apps import cli, outputs
from apps.flags import output_flags, sample_flags
from tflm_fg import files
from tflm_fg.runtimes import NAMES
from tflm_fg.training import LOSSES

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "an int8, int16x8 or legacy uint8 .tflite", required=True
)
_DATA = flags.DEFINE_string(
  "data", None, f"samples to score on: {sample_flags.FORMS}", required=True
)
cli.section(cli.OFTEN)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(NAMES), "the engine to run"
)
cli.section(cli.SOMETIMES)
_LOSS = flags.DEFINE_enum(
  "loss",
  "cross-entropy",
  list(LOSSES),
  "cross-entropy of classes, which is binary-cross-entropy where the model "
  "ends in sigmoids and y is 0 and 1; mse and huber take real y too",
)
_HUBER_DELTA = flags.DEFINE_float(
  "huber_delta",
  1.0,
  "error up to which huber is a square, in the outputs' units",
)
_THRESHOLD = flags.DEFINE_float(
  "threshold",
  0.0,
  "for a model that ends in sigmoids: logits above it answer 1; 0 is a "
  "probability of one half",
)
_REPORT = flags.DEFINE_string("report", None, "JSON with all numbers")


def main() -> None:
  """Loads, scores, prints."""
  files.require_outputs(
    cli.values(_REPORT), cli.values(_MODEL) | sample_flags.sources(_DATA)
  )
  samples = sample_flags.load(
    _DATA.value,
    _MODEL.value,
    part="test",
    output=output_flags.OUTPUT.value,
    input=output_flags.INPUT.value,
  )
  assert samples.y is not None  # or it would have been refused
  report = tflm_fg.evaluate(
    _MODEL.value,
    samples.x,
    samples.y,
    runtime=_RUNTIME.value,
    loss=_LOSS.value,
    huber_delta=_HUBER_DELTA.value,
    threshold=_THRESHOLD.value,
    output=output_flags.OUTPUT.value,
    input=output_flags.INPUT.value,
  )
  outputs.note_unfinished(_MODEL.value)
  if report["output_note"]:
    print(f"note: {report['output_note']}")
  if report["accuracy"] is not None:
    summary = f"accuracy {report['accuracy']:.4f}, loss {report['loss']:.4f}"
  else:
    summary = (
      f"mean absolute error {report['mae']:.4g}, loss {report['loss']:.4g}"
    )
  print(
    f"{summary} on "
    f"{report['samples']} samples ({report['runtime']}, "
    f"{report['invoke_seconds']:.2f} s)"
  )
  if "auc" in report:
    _print_binary(report)
  if _REPORT.value:
    files.write_atomically(_REPORT.value, cli.to_json(report))


def _print_binary(report: Mapping[str, Any]) -> None:
  """Precision, recall and AUC, for each output where there are several."""
  rows = report.get("per_label", [])
  titles = ["mean"] * bool(rows) + [f"output {n}" for n in range(len(rows))]
  for title, row in zip(titles or [""], [report, *rows]):
    known = [
      f"{name} {'undefined' if row[name] is None else format(row[name], '.4f')}"
      for name in ("precision", "recall", "auc")
    ]
    print(f"{title}: {', '.join(known)}" if title else ", ".join(known))
  for line in report["undefined"]:
    print(f"undefined: {line}")


def run() -> int:
  """The console script."""
  return cli.launch(
    main, __name__, also=[output_flags.__name__, sample_flags.__name__]
  )


if __name__ == "__main__":
  sys.exit(run())
