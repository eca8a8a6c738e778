"""tflm-fg-adapt: adapt a quantized .tflite with forward passes alone.

  tflm-fg-adapt --model=kws.tflite --train=mine.npz --out=adapted.tflite

The .npz holds x [N, ...] (floats in the units the model was trained on, or
integers of its input dtype) and y [N] (classes); without y, or with
--labels=none, it learns without labels. For a model that ends in sigmoids y is
0 and 1, [N] or [N, outputs]. With --loss=mse or huber y may be real numbers [N]
or [N, outputs], for models that give numbers. By default it tries
where to put the trainable numbers (the head, a wide head, an input prompt, the
first layer's biases), keeps part of the samples aside to compare by, and
finishes the best. --test samples are scored before and after and never trained
on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

import tflm_fg
from apps import cli, graph_flags, output_flags, setting_flags
from apps.setting_flags import given
from tflm_fg import files, journal, plots
from tflm_fg.callbacks import Callback, CSVLogger, ProgbarLogger
from tflm_fg.placement import in_words
from tflm_fg.runtimes import NAMES, STRATEGIES
from tflm_fg.training import NATURAL, load_npz
from tflm_fg.types import TflmFgError

_MODEL = flags.DEFINE_string(
  "model",
  None,
  "an int8, int16x8 or legacy uint8 .tflite, marked or not",
  required=True,
)
_TRAIN = flags.DEFINE_string("train", None, "an .npz with x and y to train on")
_TEST = flags.DEFINE_string("test", None, "an .npz with x and y to score on")
_OUT = flags.DEFINE_string("out", None, "the adapted .tflite", required=True)
_TRAINABLE = flags.DEFINE_string(
  "trainable",
  None,
  "auto, head, wide-head, prompt, first-bias, bias, all, a regular expression "
  "on tensor names, or several with commas; by default what the file's mark "
  "says, or auto",
)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(NAMES), "the engine that runs the passes"
)
_STRATEGY = flags.DEFINE_enum(
  "strategy",
  "auto",
  list(STRATEGIES),
  "write weights in place; rebuild the interpreter for every pass, which on "
  "litert runs XNNPACK's kernels; or auto, which rebuilds there where a batch "
  "is much work",
)
_EXACT_PREFIX = flags.DEFINE_boolean(
  "exact_prefix",
  False,
  "run frozen layers on --runtime too, and not on XNNPACK, which differs from "
  "other kernels by a few steps",
)
_WORKERS = flags.DEFINE_integer(
  "workers",
  None,
  "passes to run side by side; by default as many as there are cores, or 1 "
  "where threads do not pay; it changes no number",
)
_KEEP_MARK = flags.DEFINE_boolean(
  "keep_mark", False, "leave the training mark in the adapted file"
)
_PLOT = flags.DEFINE_string("plot", None, "PNG with the curves")
_REPORT = flags.DEFINE_string("report", None, "JSON with all numbers")
_LOG = flags.DEFINE_string("log", None, "CSV with every validation")
_JOURNAL = flags.DEFINE_string(
  "journal", None, "where to record seed and slopes of every step"
)
_FROM_JOURNAL = flags.DEFINE_string(
  "from_journal",
  None,
  "a journal: make its adapted file again from the --model of that run, "
  "without --train and without an engine",
)


def main() -> None:
  """Loads, adapts, saves."""
  files.require_outputs(
    cli.values(_OUT, _PLOT, _REPORT, _LOG, _JOURNAL),
    cli.values(_MODEL, _TRAIN, _TEST, _FROM_JOURNAL),
  )
  if _PLOT.value:
    plots.require_matplotlib()
  model = files.read_bytes(_MODEL.value)
  if _FROM_JOURNAL.value:
    _refuse_all_but_files()
    _save(_replayed(model))
    print(f"{_OUT.value}: made again from {_FROM_JOURNAL.value}")
    return
  if not _TRAIN.value:
    raise TflmFgError("--train=T.npz is missing: the samples to adapt to")
  result = _adapted(model)
  _save(result.marked_model)
  if _JOURNAL.value:
    files.write_atomically(_JOURNAL.value, result.journal.to_bytes())
  if _PLOT.value:
    png = plots.training_curves(result.history, result.report)
    files.write_atomically(_PLOT.value, png)
  if _REPORT.value:
    files.write_atomically(_REPORT.value, cli.to_json(result.report))
  print_report(result.report)


def _adapted(model: bytes) -> tflm_fg.AdaptResult:
  method, objective = setting_flags.method(), setting_flags.objective()
  train = load_npz(_TRAIN.value, labels=objective["labels"] == "given")
  test = load_npz(_TEST.value) if _TEST.value else None
  watchers: list[Callback] = [ProgbarLogger()]
  if _LOG.value:
    watchers.append(CSVLogger(_LOG.value))
  return tflm_fg.adapt(
    model,
    train.x,
    train.y,
    test=None if test is None else (test.x, test.y),
    trainable=_TRAINABLE.value,
    graph_options=graph_flags.graph_options(),
    runtime=_RUNTIME.value,
    strategy=_STRATEGY.value,
    exact_prefix=_EXACT_PREFIX.value,
    workers=_WORKERS.value,
    method=method,
    **objective,
    callbacks=watchers,
    output=output_flags.OUTPUT.value,
    input=output_flags.INPUT.value,
    name=_MODEL.value,
  )


def _refuse_all_but_files() -> None:
  """A replay does what was done: what else is given would do nothing."""
  others = (
    (_TRAIN, _TEST, _PLOT, _REPORT, _LOG, _JOURNAL)
    + (_TRAINABLE, output_flags.OUTPUT, output_flags.INPUT)
    + tuple(graph_flags.HOLDERS)
    + (_RUNTIME, _STRATEGY, _EXACT_PREFIX, _WORKERS)
  )
  names = [flag.name for flag in others if flag.present]
  for name in names + given():
    raise TflmFgError(f"--{name}: --from_journal takes --model and --out alone")


def _replayed(model: bytes) -> bytes:
  recorded = journal.parse(
    files.read_bytes(_FROM_JOURNAL.value), _FROM_JOURNAL.value
  )
  return tflm_fg.replay(recorded, model, _MODEL.value)


def _save(adapted: bytes) -> None:
  content = adapted if _KEEP_MARK.value else tflm_fg.strip(adapted)
  files.write_atomically(_OUT.value, content)


def print_report(report: Mapping[str, Any]) -> None:
  """The main numbers, for people."""
  for note in report["notes"]:
    print(f"note: {note}")
  for dropped in report["dropped"]:
    print(f"note: {dropped['candidate']} was dropped: {dropped['reason']}")
  # Squares of any unit may be tiny or huge; nats never are.
  digits = ".3f" if report["loss"] in NATURAL else ".4g"
  for candidate in report["candidates"]:
    print(
      f"tried {candidate['trainable']}: loss {candidate['loss']:{digits}}"
      + " (chosen)" * candidate["chosen"]
    )
  accuracy = ""
  if report["accuracy_after"] is not None:
    accuracy = (
      f"accuracy {report['accuracy_before']:.3f} -> "
      f"{report['accuracy_after']:.3f}, "
    )
  elif report["mae_after"] is not None:
    accuracy = (
      f"mean absolute error {report['mae_before']:.4g} -> "
      f"{report['mae_after']:.4g}, "
    )
  print(
    f"{report['scored_on']} samples ({report['scored_clips']}): {accuracy}loss "
    f"{report['loss_before']:{digits}} -> {report['loss_after']:{digits}}"
  )
  for row in report["other_outputs"]:
    print(in_words(row))
  for phase in report["phases"]:
    for name, why in phase["chosen"].items():
      print(f"{name} {why}")
  _print_agreement(report["engine_agreement"])
  print(
    f"{report['trainable_parameters']} numbers, {report['steps']} steps, "
    f"{report['forward_passes']} forward passes, {report['seconds']:.2f} s "
    f"({report['invoke_seconds']:.2f} s in {report['runtime']}, "
    f"{report['strategy']}, {report['workers']} at once); training adds "
    f"{report['trainer_bytes']} bytes to inference"
  )


def _print_agreement(rows: Sequence[Mapping[str, Any]]) -> None:
  """How far engines are apart on the adapted file."""
  apart = [
    f"{row['engine']} {row['largest_difference']:g}"
    for row in rows
    if row["largest_difference"] is not None
  ]
  if apart:
    print(
      "engines differ from LiteRT's reference kernels by at most so many "
      f"steps at the logits: {', '.join(apart)}"
    )
  for row in rows:
    if row["refused"]:
      print(f"note: {row['engine']} does not run it: {row['refused']}")


def run() -> int:
  """The console script."""
  return cli.launch(
    main,
    __name__,
    also=[
      graph_flags.__name__,
      output_flags.__name__,
      setting_flags.__name__,
    ],
  )


if __name__ == "__main__":
  sys.exit(run())
