"""tflm-fg-adapt: adapt a quantized .tflite with forward passes alone.

  tflm-fg-adapt --model=kws.tflite --train=mine.npz --out=adapted.tflite
  tflm-fg-adapt --model=kws.tflite --train=mine.npz --test=others.npz
    --out=adapted.tflite --journal=steps.jsonl --report=report.json
  tflm-fg-adapt --model=kws.tflite --train=mine.npz --labels=none
    --out=adapted.tflite --dry_run

Samples are an .npz with x and y, a pair x.npy,y.npy, a .csv, or a folder with
CLASS/*.png: docs/data.md tells of each, of units and of labels. Without y, or
with --labels=none, it learns without labels. With --loss=mse or huber y may be
real numbers, for models that give numbers. By default it tries where to put the
trainable numbers (the head, a wide head, an input prompt, the first layer's
biases), keeps part of the samples aside to compare by, and finishes the best.
--test samples are scored before and after and never trained on. Ctrl-C, or
SIGTERM, keeps what is best by then; twice, it ends at once. With --checkpoint
the same command goes on where it was killed, to the same bytes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tflm_fg
from apps import cli, deltas, outputs
from apps.checkpoints import CheckpointNote
from apps.flags import (
  adapt_flags,
  checkpoint_flags,
  delta_flags,
  engine_flags,
  graph_flags,
  output_flags,
  sample_flags,
  setting_flags,
  target_flags,
)
from apps.flags.setting_flags import given
from apps.printed_report import print_estimate, print_report
from apps.report_page.adaptation_page import adaptation_page
from tflm_fg import dry_run, files, journal, micro, plots
from tflm_fg.callbacks import CSVLogger, ProgbarLogger, StopOnInterrupt
from tflm_fg.types import Array, TflmFgError

FLAGS = (
  adapt_flags,
  checkpoint_flags,
  delta_flags,
  sample_flags,
  setting_flags,
  engine_flags,
  graph_flags,
  output_flags,
  target_flags,
)
"""The modules whose flags it takes."""


def main() -> None:
  """Loads, adapts, saves."""
  own = adapt_flags
  files.require_outputs(
    cli.values(own.OUT, own.PLOT, own.REPORT, own.LOG, own.JOURNAL)
    | cli.values(delta_flags.DELTA)
    | outputs.in_folder(own.REPORT_DIR, "index.html", "report.json"),
    cli.values(own.MODEL, own.FROM_JOURNAL, own.BLOB)
    | cli.values(*delta_flags.INPUTS)
    | sample_flags.sources(own.TRAIN, own.TEST, own.OLD_DATA, own.REPLAY),
    [own.REPORT_DIR.value],
  )
  _refuse_a_journal_as_samples(own.REPLAY.value)
  if own.PLOT.value:
    plots.require_matplotlib()
  deltas.require()
  model = files.read_bytes(own.MODEL.value)
  if own.FROM_JOURNAL.value or delta_flags.APPLY.value:
    _make_again(model)
    return
  if own.BLOB.value:
    raise TflmFgError("--blob: is for --from_journal, which is missing")
  if not own.TRAIN.value:
    raise TflmFgError(
      "--train=T.npz is missing: the samples to adapt to, in a file or a folder"
    )
  if adapt_flags.EVERY_STEP.value and not own.JOURNAL.value:
    raise TflmFgError("--every_step: is for --journal, which is missing")
  if own.DRY_RUN.value:
    if checkpoint_flags.CHECKPOINT.value:
      raise TflmFgError("--checkpoint: --dry_run keeps nothing; leave one out")
    print_estimate(dry_run.estimate(model, **_asked()))
    return
  log = CSVLogger(None)
  with StopOnInterrupt() as stop:
    result = tflm_fg.adapt(
      model,
      **_asked(),
      checkpoint=checkpoint_flags.CHECKPOINT.value,
      callbacks=[stop, log, CheckpointNote(), ProgbarLogger()],
    )
    with stop.deferred():
      contents = _contents(model, result, log)
    outputs.save(stop, contents, [own.REPORT_DIR.value])
    with stop.deferred():
      print_report(result.report)
      deltas.print_size(contents)
      if own.REPORT_DIR.value:
        page = os.path.join(own.REPORT_DIR.value, "index.html")
        print(f"report: {page}")
    cli.end(stop, own.OUT.value, checkpoint_flags.CHECKPOINT.value)


def _contents(
  model: bytes, result: tflm_fg.AdaptResult, log: CSVLogger
) -> dict[str | None, bytes]:
  """What is written: path -> bytes, the adapted file last."""
  own = adapt_flags
  adapted = _unmarked(result.marked_model)
  report = outputs.telling_of(result.report, adapted)
  contents = deltas.written(model, adapted)
  if own.JOURNAL.value:
    every = adapt_flags.EVERY_STEP.value
    contents[own.JOURNAL.value] = result.journal.to_bytes(every)
  if own.PLOT.value:
    png = plots.training_curves(result.history, result.report)
    contents[own.PLOT.value] = png
  if own.REPORT.value:
    contents[own.REPORT.value] = cli.to_json(report)
  if own.LOG.value:
    contents[own.LOG.value] = log.content()
  if own.REPORT_DIR.value:
    contents |= _page(own.REPORT_DIR.value, result, report)
  return {**contents, own.OUT.value: adapted}


def _page(
  folder: str, result: tflm_fg.AdaptResult, report: Mapping[str, Any]
) -> dict[str | None, bytes]:
  """The page of the report, and its numbers beside it."""
  own = adapt_flags
  commands = [("The command:", cli.command_line())]
  if own.JOURNAL.value:
    made = {
      "model": own.MODEL.value,
      "from_journal": own.JOURNAL.value,
      "out": own.OUT.value,
    }
    told = "The same bytes again from the journal, without samples or engine:"
    commands.append((told, cli.command_line("tflm-fg-adapt", made)))
  content = adaptation_page(
    result,
    model=own.MODEL.value,
    samples=own.TRAIN.value,
    when=time.strftime("%Y-%m-%d %H:%M"),
    commands=commands,
    report=report,
  )
  return {
    os.path.join(folder, "index.html"): content.encode(
      errors="surrogateescape"
    ),
    os.path.join(folder, "report.json"): cli.to_json(report),
  }


def _asked() -> dict[str, Any]:
  """The samples and all settings, as `tflm_fg.adapt` takes them."""
  own = adapt_flags
  method, objective = setting_flags.method(), setting_flags.objective()
  train = _loaded(own.TRAIN.value, labels=objective["labels"] == "given")
  if train.y is None and objective["labels"] == "auto":
    print(f"note: {own.TRAIN.value}: no labels, so it learns without")
  known = train.classes
  return {
    "x": train.x,
    "y": train.y,
    "test": _samples(own.TEST.value, "test", known),
    "old_data": _samples(own.OLD_DATA.value, "test", known),
    "replay": _samples(own.REPLAY.value, "train", known),
    "trainable": own.TRAINABLE.value,
    "absent_classes": own.ABSENT_CLASSES.value,
    "graph_options": graph_flags.graph_options(),
    "method": method,
    **engine_flags.engine(),
    "target": target_flags.TARGET.value,
    **objective,
    "output": output_flags.OUTPUT.value,
    "input": output_flags.INPUT.value,
    "name": own.MODEL.value,
  }


def _samples(
  source: str | None, part: str, classes: Sequence[str] | None
) -> tuple[Array, Array] | None:
  """The samples of a file or folder, with their targets."""
  if not source:
    return None
  held = _loaded(source, part=part, classes=classes)
  assert held.y is not None  # or it would have been refused
  return held.x, held.y


def _loaded(source: str, **options: Any) -> tflm_fg.LoadedSamples:
  return sample_flags.load(
    source,
    adapt_flags.MODEL.value,
    output=output_flags.OUTPUT.value,
    input=output_flags.INPUT.value,
    **options,
  )


def _refuse_a_journal_as_samples(path: str | None) -> None:
  """Before --from_journal had its name, --replay took journals."""
  if path and os.path.isfile(path) and journal.is_one(files.read_bytes(path)):
    raise TflmFgError(
      f"--replay={path}: a journal, and --replay takes samples of before; to "
      f"make the adapted file again, use --from_journal={path}"
    )


def _make_again(model: bytes) -> None:
  """Writes what a journal or a delta makes of a file."""
  out, path, after = adapt_flags.OUT.value, delta_flags.APPLY.value, ""
  if path:
    _refuse_all_but_files(delta_flags.APPLY, "--model, --out and --verify_key")
    files.write_atomically(out, deltas.applied(model))
  else:
    asked, steps = adapt_flags.FROM_JOURNAL, setting_flags.STEPS
    needs = "--model, --out and --steps"
    _refuse_all_but_files(asked, needs, [steps.name])
    files.write_atomically(out, _unmarked(_replayed(model)))
    path = asked.value
    if steps.value is not None:
      after = f" as it was after {steps.value} step{'s' * (steps.value != 1)}"
  print(f"{out}: made again from {path}{after}")


def _refuse_all_but_files(
  asked: Any, needs: str, taken: Sequence[str] = ()
) -> None:
  """A replay does what was done: what else is given would do nothing."""
  own = adapt_flags
  others = (
    (
      own.DRY_RUN,
      own.TRAIN,
      own.TEST,
      own.PLOT,
      own.REPORT,
      own.LOG,
      own.JOURNAL,
    )
    + (own.REPORT_DIR, checkpoint_flags.CHECKPOINT, delta_flags.DELTA)
    + (own.EVERY_STEP,)
    + (own.OLD_DATA, own.REPLAY)
    + (own.TRAINABLE, own.ABSENT_CLASSES)
    + (output_flags.OUTPUT, output_flags.INPUT)
    + sample_flags.HOLDERS
    + (*graph_flags.HOLDERS, target_flags.TARGET, *engine_flags.HOLDERS)
  )
  if asked is delta_flags.APPLY:
    others += (own.FROM_JOURNAL, own.BLOB, own.KEEP_MARK)
  names = [flag.name for flag in others if flag.present]
  for name in names + given():
    if name not in taken:
      raise TflmFgError(f"--{name}: --{asked.name} takes {needs} alone")


def _replayed(model: bytes) -> bytes:
  path, steps = adapt_flags.FROM_JOURNAL.value, setting_flags.STEPS.value
  if adapt_flags.BLOB.value and steps is not None:
    raise TflmFgError(
      "--steps: what a device has saved holds the end alone; leave it out"
    )
  if adapt_flags.BLOB.value:
    blob = files.read_bytes(adapt_flags.BLOB.value)
    marked = adapt_flags.MODEL.value
    return micro.read_saved(files.read_bytes(path), blob, marked, path)
  recorded = journal.parse(files.read_bytes(path, files.TEXT_TIMES), path)
  return tflm_fg.replay(recorded, model, adapt_flags.MODEL.value, steps)


def _unmarked(adapted: bytes) -> bytes:
  """The file as it is written, with its mark where a user wants that."""
  return adapted if adapt_flags.KEEP_MARK.value else tflm_fg.strip(adapted)


def run() -> int:
  """The console script."""
  return cli.launch(main, __name__, also=[group.__name__ for group in FLAGS])


if __name__ == "__main__":
  sys.exit(run())
