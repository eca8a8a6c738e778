"""tflm-fg-evaluate: loss and accuracy of a quantized .tflite on samples.

For a model that gives numbers, --loss=mse or huber: loss and mean absolute
error.

tflm-fg-evaluate --model=adapted.tflite --data=test.npz --runtime=tflm
"""

from __future__ import annotations

import sys

from absl import flags

import tflm_fg
from apps import cli
from tflm_fg import files
from tflm_fg.runtimes import NAMES
from tflm_fg.training import LOSSES, load_npz

_MODEL = flags.DEFINE_string(
  "model", None, "an int8 or int16x8 .tflite", required=True
)
_DATA = flags.DEFINE_string("data", None, "an .npz with x and y", required=True)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(NAMES), "the engine to run"
)
_LOSS = flags.DEFINE_enum(
  "loss",
  "cross-entropy",
  list(LOSSES),
  "cross-entropy of classes; mse and huber take real y too",
)
_HUBER_DELTA = flags.DEFINE_float(
  "huber_delta",
  1.0,
  "error up to which huber is a square, in the outputs' units",
)
_REPORT = flags.DEFINE_string("report", None, "JSON with all numbers")


def main() -> None:
  """Loads, scores, prints."""
  files.require_outputs(cli.values(_REPORT), cli.values(_MODEL, _DATA))
  samples = load_npz(_DATA.value)
  report = tflm_fg.evaluate(
    _MODEL.value,
    samples.x,
    samples.y,
    runtime=_RUNTIME.value,
    loss=_LOSS.value,
    huber_delta=_HUBER_DELTA.value,
  )
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
  if _REPORT.value:
    files.write_atomically(_REPORT.value, cli.to_json(report))


def run() -> int:
  """The console script."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
