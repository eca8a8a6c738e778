"""tflm-fg-fleet run: a fleet over Flower, simulated, on this machine or far.

  tflm-fg-fleet run --model=model.tflite --clients=samples --out=adapted.tflite
  tflm-fg-fleet run --model=model.tflite --clients=samples --over=loopback
    --scheme=one-round --out=adapted.tflite --journal=adapted.journal
  tflm-fg-fleet run --model=model.tflite --over=192.168.1.9:8000 --nodes=40
    --out=/srv/adapted.tflite

--clients is a folder with one file of samples a client, in any form that
tflm-fg-adapt reads. --over=simulation runs a node for each in Flower's
simulation, with Ray; --over=loopback starts a SuperLink and a SuperNode for
each on 127.0.0.1, as they would run on devices; an address is a SuperLink of
yours, whose nodes were started with --node-config, and on whose machine all
paths are then. Nothing that was started here stays. Flower is told to send no
telemetry and to install nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

import tflm_fg
from apps import cli
from apps.flags import fleet_flags, sample_flags
from apps.fleet import processes, telling
from tflm_fg import federated, files
from tflm_fg.types import TflmFgError

SIMULATION, LOOPBACK = "simulation", "loopback"

PLAN, OUT, JOURNAL, REPORT = (
  "plan.json",
  "adapted.tflite",
  "adapted.journal",
  "report.json",
)
"""What the app reads and writes in the folder of a run."""

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "the .tflite that all devices have", required=True
)
_CLIENTS = flags.DEFINE_string(
  "clients", None, "a folder with a file of samples a client"
)
cli.section(cli.OFTEN)
_OVER = flags.DEFINE_string(
  "over",
  SIMULATION,
  f"{SIMULATION}, {LOOPBACK}, or HOST:PORT of a SuperLink that runs",
)
_OUT = flags.DEFINE_string("out", None, "the model that the fleet makes")
_JOURNAL = flags.DEFINE_string("journal", None, "its journal")
_TEST = flags.DEFINE_string(
  "test", None, f"samples to score on, before and after: {sample_flags.FORMS}"
)
_REPORT = flags.DEFINE_string("report", None, "JSON of what happened")
cli.section(cli.SOMETIMES)
_NODES = flags.DEFINE_integer(
  "nodes",
  None,
  "nodes that must be there before it begins; by default one a file of "
  "--clients",
  1,
)
_SECURE = flags.DEFINE_boolean(
  "secure", False, "mask sums, so that the server sees their total alone"
)
_DROPOUT = flags.DEFINE_float(
  "dropout", 0.0, "share of the clients that drop a round on purpose", 0, 0.99
)
_TIMEOUT = flags.DEFINE_float(
  "timeout", 600.0, "seconds that the nodes may take to answer a round", 1
)
_INSECURE = flags.DEFINE_boolean(
  "insecure", False, "--over=HOST:PORT: speak to the SuperLink without TLS"
)


def main() -> None:
  """Starts what is not there, runs the app, ends what was started."""
  processes.require_flower()
  files.require_outputs(
    cli.values(_OUT, _JOURNAL, _REPORT),
    cli.values(_MODEL, fleet_flags.PLAN) | sample_flags.sources(_TEST),
  )
  far = _OVER.value not in (SIMULATION, LOOPBACK)
  clients = client_files(_CLIENTS.value) if _CLIENTS.value else []
  if not (clients or far):
    raise TflmFgError(f"--over={_OVER.value}: --clients=FOLDER is missing")
  if far and not _NODES.value:
    raise TflmFgError(
      f"--over={_OVER.value}: --nodes is missing: how many must be there"
    )
  if far and (_TEST.value or _REPORT.value):
    raise TflmFgError(
      f"--over={_OVER.value}: the model is written there, not here; leave out "
      "--test and --report, and use tflm-fg-evaluate there"
    )
  made = [name for name in fleet_flags.named() if name != "scheme"]
  if far and made:
    raise TflmFgError(
      f"--over={_OVER.value}: --{made[0]} would not be heard there; write a "
      "plan with tflm-fg-fleet contribute --plan_out, and name it with --plan"
    )
  if _OVER.value == SIMULATION:
    require_ray()
  if far:  # the model and all paths are on the SuperLink's machine
    with processes.Flower() as flower:
      config = configuration(flower.home, None, [])
      print(over(flower, [], config), end="")
    return
  plan = fleet_flags.plan_of(_MODEL.value)
  test = None
  if _TEST.value:
    test = sample_flags.load(_TEST.value, _MODEL.value, part="test")
  with processes.Flower() as flower:
    home = flower.home
    config = configuration(home, plan, clients)
    log = over(flower, clients, config)
    told = result(home / REPORT, log)
    model = files.read_bytes(str(home / OUT))
    journal = files.read_bytes(str(home / JOURNAL))
  if test is not None:
    for key, content in (("before", _MODEL.value), ("after", model)):
      scored = tflm_fg.evaluate(content, test.x, test.y)
      told[f"accuracy_{key}"] = scored["accuracy"]
  contents = {
    path: content
    for path, content in (
      (_OUT.value, model),
      (_JOURNAL.value, journal),
      (_REPORT.value, cli.to_json(told)),
    )
    if path
  }
  if contents:
    files.write_set(contents)
  telling.tell(told)


def configuration(
  home: pathlib.Path, plan: federated.Plan | None, clients: Sequence[str]
) -> dict[str, Any]:
  """What the app is told.

  Args:
    home: where this program waits for files, unless the server is far.
    plan: that the flags make; None where the server is far.
    clients: the files of samples.
  """
  config: dict[str, Any] = {
    "nodes": _NODES.value or len(clients),
    "timeout": _TIMEOUT.value,
    "secure": _SECURE.value,
    "seed": fleet_flags.SEED.value,
    "dropout": _DROPOUT.value,
  }
  if plan is None:
    far = {
      "model": _MODEL.value,
      "scheme": fleet_flags.SCHEME.value or fleet_flags.DEFAULT_SCHEME,
      "plan": fleet_flags.PLAN.value or "",
      "out": _OUT.value or "",
      "journal": _JOURNAL.value or "",
    }
    return config | far
  (home / PLAN).write_bytes(plan.to_bytes())
  return config | {
    "model": os.path.abspath(_MODEL.value),
    "clients": os.path.abspath(_CLIENTS.value),
    "plan": str(home / PLAN),
    "out": str(home / OUT),
    "journal": str(home / JOURNAL),
    "report": str(home / REPORT),
  }


def require_ray() -> None:
  """Says what Flower's simulation needs.

  Raises:
    TflmFgError: if it is missing.
  """
  if importlib.util.find_spec("ray") is None:
    raise TflmFgError(
      "--over=simulation needs Ray: pip install 'flwr[simulation]'; or take "
      "--over=loopback"
    )


def client_files(folder: str) -> list[str]:
  """The files of samples in a folder, one a client.

  Raises:
    TflmFgError: if there is none.
  """
  try:
    names = sorted(os.listdir(folder))
  except (FileNotFoundError, NotADirectoryError):
    names = []
  if not names:
    raise TflmFgError(
      f"--clients={folder}: need a folder with a file of samples a client"
    )
  return [os.path.abspath(os.path.join(folder, name)) for name in names]


def over(
  flower: processes.Flower, clients: Sequence[str], config: dict[str, Any]
) -> str:
  """Runs the app where --over says; returns its log."""
  # Flower packs no links, and a build tool may lay sources as such.
  own = pathlib.Path(__file__).parent.parent / "flower"
  app = shutil.copytree(
    own,
    pathlib.Path(flower.home) / "fleet",
    ignore=shutil.ignore_patterns("__pycache__"),
  )
  if _OVER.value not in (SIMULATION, LOOPBACK):
    link = processes.known(flower.home, _OVER.value, _INSECURE.value)
    return processes.submit(link, app, config)
  link = flower.superlink(_OVER.value == SIMULATION)
  federation = None
  if _OVER.value == SIMULATION:
    federation = {"num-supernodes": len(clients)}
  else:
    for number, path in enumerate(clients):
      node = {"data": path, "name": f"client-{number}"}
      flower.supernode(link, f"node{number}", node)
  return processes.submit(link, app, config, federation)


def result(report: pathlib.Path, log: str) -> dict[str, Any]:
  """What the server wrote.

  Raises:
    TflmFgError: if it ended with a fault, or before it wrote anything.
  """
  if not report.exists():
    lines = [line for line in log.splitlines() if line.strip()]
    raise TflmFgError(f"the server app ended early: {(lines or ['-'])[-1]}")
  told: dict[str, Any] = json.loads(report.read_bytes())
  if "fault" in told:
    raise TflmFgError(told["fault"])
  return told


def run() -> int:
  """The subcommand."""
  return cli.launch(
    main, __name__, also=[fleet_flags.__name__, sample_flags.__name__]
  )


if __name__ == "__main__":
  sys.exit(run())
