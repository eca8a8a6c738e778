"""tflm-fg-fleet run: a fleet over Flower, simulated, on this machine or far.

  tflm-fg-fleet run --model=model.tflite --clients=samples
  tflm-fg-fleet run --model=model.tflite --clients=samples --over=loopback
  tflm-fg-fleet run --model=model.tflite --over=192.168.1.9:8000 --nodes=40

--clients is a folder with one file of samples a client, in any form that
tflm-fg-adapt reads. --over=simulation runs a node for each in Flower's
simulation, with Ray; --over=loopback starts a SuperLink and a SuperNode for
each on 127.0.0.1, as they would run on devices; an address is a SuperLink of
yours, whose nodes were started with --node-config. Nothing that was started
here stays. Flower is told to send no telemetry and to install nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from apps import cli
from apps.fleet import processes
from tflm_fg import files
from tflm_fg.types import TflmFgError

SIMULATION, LOOPBACK = "simulation", "loopback"

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
_ROUNDS = flags.DEFINE_integer("rounds", 1, "how often the nodes are asked", 1)
_REPORT = flags.DEFINE_string("report", None, "JSON of what happened")
cli.section(cli.SOMETIMES)
_NODES = flags.DEFINE_integer(
  "nodes",
  None,
  "nodes that must be there before it begins; by default one a file of "
  "--clients",
  1,
)
_TIMEOUT = flags.DEFINE_float(
  "timeout", 600.0, "seconds that the nodes may take to answer", 1
)


def main() -> None:
  """Starts what is not there, runs the app, ends what was started."""
  processes.require_flower()
  files.require_outputs(cli.values(_REPORT), cli.values(_MODEL))
  files.read_bytes(_MODEL.value)  # or one line here, and not in a log
  clients = client_files(_CLIENTS.value) if _CLIENTS.value else []
  if not clients and _OVER.value in (SIMULATION, LOOPBACK):
    raise TflmFgError(f"--over={_OVER.value}: --clients=FOLDER is missing")
  with processes.home() as home:
    report = home / "report.json"
    config = {
      "model": os.path.abspath(_MODEL.value),
      "clients": os.path.abspath(_CLIENTS.value) if _CLIENTS.value else "",
      "report": str(report),
      "rounds": _ROUNDS.value,
      "nodes": _NODES.value or len(clients),
      "timeout": _TIMEOUT.value,
    }
    log = over(home, clients, config)
    told = result(report, log)
  print(f"{told['clients']} clients, samples a class: {told['samples']}")
  if _REPORT.value:
    files.write_atomically(_REPORT.value, cli.to_json(told))


def client_files(folder: str) -> list[str]:
  """The files of samples in a folder, one a client.

  Raises:
    TflmFgError: if there is none.
  """
  try:
    names = sorted(os.listdir(folder))
  except NotADirectoryError:
    names = []
  if not names:
    raise TflmFgError(
      f"--clients={folder}: need a folder with a file of samples a client"
    )
  return [os.path.abspath(os.path.join(folder, name)) for name in names]


def over(
  home: pathlib.Path, clients: Sequence[str], config: dict[str, Any]
) -> str:
  """Runs the app where --over says; returns its log."""
  app = pathlib.Path(__file__).parent.parent / "flower"
  if _OVER.value not in (SIMULATION, LOOPBACK):
    link = processes.known(home, _OVER.value)
    return processes.submit(link, app, config, timeout=_TIMEOUT.value)
  simulated = _OVER.value == SIMULATION
  with contextlib.ExitStack() as stack:
    link = stack.enter_context(processes.superlink(home, simulated))
    federation = None
    if simulated:
      federation = {"num-supernodes": len(clients)}
    else:
      for number, path in enumerate(clients):
        node = processes.supernode(link, f"node{number}", {"data": path})
        stack.enter_context(node)
    return processes.submit(link, app, config, federation, _TIMEOUT.value)


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
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
