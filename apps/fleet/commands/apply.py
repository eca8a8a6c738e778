"""tflm-fg-fleet apply: what a fleet's sums come to, put into the model.

  tflm-fg-fleet apply --model=model.tflite --sums=all.bin --out=adapted.tflite
  tflm-fg-fleet apply --model=model.tflite --sums=received --plan=plan.json
    --out=adapted.tflite --journal=adapted.journal
  tflm-fg-fleet apply --model=model.tflite --sums=all.bin --plan=plan.json
    --steps_taken=step0.bin --step=step1.bin

Sums that cannot be of the samples that they state are refused by the device's
name, and nothing is written. In a plan of several rounds --step is what all
devices need for the next one; with --steps_taken alone a device makes the model
of the steps that it was sent. --skip goes on without the files that are
refused, and says which.
"""

from __future__ import annotations

import sys

from absl import flags

import tflm_fg
from apps import cli
from apps.flags import fleet_flags, sample_flags
from apps.fleet import received
from tflm_fg import federated, files
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "the .tflite that all devices have", required=True
)
_SUMS = flags.DEFINE_list(
  "sums",
  [],
  "files of devices or combined ones, or folders; without them the model is "
  "made of --steps_taken",
)
_OUT = flags.DEFINE_string("out", None, "the model to write")
_STEP = flags.DEFINE_string(
  "step", None, "the round's step to write, for all devices"
)
cli.section(cli.OFTEN)
_JOURNAL = flags.DEFINE_string("journal", None, "the journal to write")
_TAKEN = flags.DEFINE_list(
  "steps_taken", [], "the steps of the rounds before, in their order"
)
_TEST = flags.DEFINE_string(
  "test", None, f"samples to score on, before and after: {sample_flags.FORMS}"
)
cli.section(cli.SOMETIMES)
_SKIP = flags.DEFINE_boolean(
  "skip", False, "go on without files that are refused"
)


def main() -> None:
  """Reads, checks, makes a step, writes."""
  if not (_SUMS.value or _TAKEN.value):
    raise TflmFgError("--sums=FILES is missing, or --steps_taken=FILES")
  paths = received.files_in(_SUMS.value) if _SUMS.value else []
  inputs = received.numbered("sums", paths)
  inputs |= received.numbered("steps_taken", _TAKEN.value)
  files.require_outputs(
    cli.values(_OUT, _STEP, _JOURNAL),
    cli.values(_MODEL, fleet_flags.PLAN) | inputs | sample_flags.sources(_TEST),
  )
  if not (_OUT.value or _STEP.value):
    raise TflmFgError("--out=MODEL is missing, or --step=FILE")
  plan = fleet_flags.plan_of(_MODEL.value, "one-round")
  test = None
  if _TEST.value:
    test = sample_flags.load(_TEST.value, _MODEL.value, part="test")
  federation = federated.Federation(_MODEL.value, plan)
  for number, path in enumerate(_TAKEN.value):
    federation.take(files.read_bytes(path), f"step {number} ({path})")
  for path in paths:
    verdict = federation.accept(files.read_bytes(path))
    if verdict.taken:
      continue
    said = f"{path}: client {verdict.client}: {verdict.reason}"
    if not _SKIP.value:
      raise TflmFgError(f"{said}; or go on without it with --skip")
    print(f"refused: {said}")
  contents = {}
  if paths:
    clients = len(federation.clients)
    step = federation.close()
    told = federation.rounds[-1]
    said = f"{clients} devices, {told.samples} samples; "
    if _STEP.value:
      contents[_STEP.value] = step
  elif _STEP.value:
    raise TflmFgError("--step: without --sums there is no new step to write")
  else:
    said = ""
  adapted = federation.file().data
  if _JOURNAL.value:
    contents[_JOURNAL.value] = federated.journal_of(federation).to_bytes()
  if _OUT.value:
    contents[_OUT.value] = tflm_fg.strip(adapted)
  files.write_set(contents)
  print(
    f"round {federation.number} of {plan.rounds}: {said}masters "
    f"{federation.masters_sha256[:16]}"
  )
  if test is not None:
    before, after = (
      tflm_fg.evaluate(model, test.x, test.y)["accuracy"]
      for model in (_MODEL.value, adapted)
    )
    print(f"accuracy {before:.4f} -> {after:.4f} on {len(test.x)} samples")


def run() -> int:
  """The subcommand."""
  return cli.launch(
    main, __name__, also=[fleet_flags.__name__, sample_flags.__name__]
  )


if __name__ == "__main__":
  sys.exit(run())
