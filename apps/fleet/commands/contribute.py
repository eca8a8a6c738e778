"""tflm-fg-fleet contribute: what a device has to send, as a file.

  tflm-fg-fleet contribute --model=model.tflite --data=mine.npz --out=sums.bin
  tflm-fg-fleet contribute --model=model.tflite --data=mine.npz --plan=plan.json
    --client=phone-7 --out=phone-7.bin
  tflm-fg-fleet contribute --model=model.tflite --data=mine.npz --plan=plan.json
    --steps_taken=step0.bin,step1.bin --out=phone-7.bin

The file holds sums over the samples and no sample. Any transport will do: a
serial line, mail, a memory card. Without --plan it is a plan of one round, the
same for every device that has the model. In a plan of several rounds,
--steps_taken names what the server made of the rounds before, in their order.
"""

from __future__ import annotations

import platform
import sys

from absl import flags

from apps import cli
from apps.flags import fleet_flags, sample_flags
from apps.fleet import received
from tflm_fg import federated, files
from tflm_fg.runtimes import NAMES

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "the .tflite that all devices have", required=True
)
_DATA = flags.DEFINE_string(
  "data", None, f"this device's samples: {sample_flags.FORMS}", required=True
)
_OUT = flags.DEFINE_string("out", None, "the file to send", required=True)
cli.section(cli.OFTEN)
_CLIENT = flags.DEFINE_string(
  "client", None, "a name of its own in the fleet; by default this machine's"
)
_TAKEN = flags.DEFINE_list(
  "steps_taken", [], "the steps of the rounds before, in their order"
)
_PLAN_OUT = flags.DEFINE_string("plan_out", None, "where to write the plan")
cli.section(cli.SOMETIMES)
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(NAMES), "the engine to run"
)


def main() -> None:
  """Opens, sums up, writes."""
  files.require_outputs(
    cli.values(_OUT, _PLAN_OUT),
    cli.values(_MODEL, fleet_flags.PLAN)
    | sample_flags.sources(_DATA)
    | received.numbered("steps_taken", _TAKEN.value),
  )
  plan = fleet_flags.plan_of(_MODEL.value, "one-round")
  samples = sample_flags.load(_DATA.value, _MODEL.value)
  assert samples.y is not None  # or it would have been refused
  client = _CLIENT.value or platform.node() or "device"
  sums = federated.contribute(
    _MODEL.value,
    plan,
    samples.x,
    samples.y,
    client=client,
    steps=tuple(files.read_bytes(path) for path in _TAKEN.value),
    runtime=_RUNTIME.value,
  )
  contents = {_OUT.value: sums}
  if _PLAN_OUT.value:
    contents[_PLAN_OUT.value] = plan.to_bytes()
  files.write_set(contents)
  print(
    f"{_OUT.value}: {len(sums)} bytes, sums over {len(samples.y)} samples of "
    f"{client} for round {len(_TAKEN.value)} of {plan.rounds} ({plan.scheme})"
  )


def run() -> int:
  """The subcommand."""
  return cli.launch(
    main, __name__, also=[fleet_flags.__name__, sample_flags.__name__]
  )


if __name__ == "__main__":
  sys.exit(run())
