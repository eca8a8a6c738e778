"""What the server and the nodes do, told in Flower's configuration."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from flwr.app import ConfigRecord, Context

import tflm_fg
from apps.fleet.device import Device, Memory
from apps.fleet.faults import Faults
from apps.fleet.masked import Secrets
from apps.fleet.messages import MASKED, MASTERS, SUMS, Record
from apps.fleet.server import Server, require_equal
from tflm_fg import federated, files
from tflm_fg.types import TflmFgError, one_line

RECORD = "fleet"
"""The record of every message, and of what a node remembers."""

Config = Mapping[str, Any]


@contextlib.contextmanager
def reported(config: Config) -> Iterator[dict[str, Any]]:
  """Writes what happened, or the fault that ended it, as JSON.

  Args:
    config: of the run; where its `report` is empty, nothing is written.
  """
  report: dict[str, Any] = {}
  try:
    yield report
  except (TflmFgError, OSError) as fault:
    report["fault"] = one_line(fault)
    raise
  finally:
    if config["report"]:
      content = json.dumps(report, indent=2) + "\n"
      files.write_atomically(str(config["report"]), content.encode())


def server_of(config: Config) -> Server:
  """The server of a run.

  Args:
    config: of the run.

  Raises:
    TflmFgError: if the model and the plan do not go together.
  """
  model = str(config["model"])
  if config["plan"]:
    path = str(config["plan"])
    plan = federated.Plan.from_bytes(files.read_bytes(path), path)
  else:
    plan = federated.plan_for(model, str(config["scheme"]))
  return Server(federated.Federation(model, plan), bool(config["secure"]))


def finish(server: Server, config: Config) -> dict[str, Any]:
  """Writes the model and its journal; gives the report.

  Args:
    server: behind its last round.
    config: of the run.

  Raises:
    TflmFgError: if a device holds other masters.
  """
  require_equal(server)
  federation = server.federation
  contents = {}
  if config["journal"]:
    journal = federated.journal_of(federation).to_bytes()
    contents[str(config["journal"])] = journal
  if config["out"]:
    contents[str(config["out"])] = tflm_fg.strip(federation.file().data)
  if contents:
    files.write_set(contents)
  return server.report()


def answer(request: Record, context: Context) -> Record | None:
  """A node's answer to a request; None where it drops the round on purpose.

  Args:
    request: of the server.
    context: of the node, which keeps what it remembers.
  """
  config, own = context.run_config, context.node_config
  name = str(own.get("name") or f"client-{number_of(context)}")
  model = str(own.get("model") or config["model"])
  faults = Faults(float(config["dropout"]), int(config["seed"]))
  if request["ask"] in (SUMS, MASKED) and faults.drops(
    int(request["round"]), number_of(context)
  ):
    return None
  held = tflm_fg.load_samples(samples_of(context), model)
  assert held.y is not None  # or it would have been refused
  device = Device(name, model, held.x, held.y, memory_of(context))
  found = device.answer(request)
  remember(context, device.memory)
  if request["ask"] == MASTERS and own.get("out"):
    files.write_atomically(str(own["out"]), device.adapted())
  return found


def remember(context: Context, memory: Memory) -> None:
  """Keeps what a node must know at the next message of this run."""
  kept: Record = {"plan": memory.plan, "steps": list(memory.steps)}
  if memory.secrets is not None:
    secret, names, keys, told = memory.secrets
    kept |= {"secret": secret, "names": list(names)}
    kept |= {"keys": list(keys), "told": list(told)}
  for name in ("personal", "sent"):
    if (own := getattr(memory, name)) is not None:
      kept[name] = own
  context.state[RECORD] = ConfigRecord(kept)


def memory_of(context: Context) -> Memory:
  """What a node remembers of this run."""
  kept: Record = dict(context.state.config_records.get(RECORD) or {})
  if not kept:
    return Memory()
  secrets = None
  if "secret" in kept:
    lists = (tuple(kept[key]) for key in ("names", "keys", "told"))
    secrets = Secrets(kept["secret"], *lists)
  more = kept.get("personal"), kept.get("sent")
  return Memory(kept["plan"], tuple(kept["steps"]), secrets, *more)


def number_of(context: Context) -> int:
  """A simulated node's number, or the one that Flower gave a real one."""
  return int(context.node_config.get("partition-id", context.node_id))


def samples_of(context: Context) -> str:
  """Where a node's samples are.

  A SuperNode is told with --node-config; a simulated node takes the file of its
  number out of the folder of all.

  Raises:
    TflmFgError: if neither is told.
  """
  if own := context.node_config.get("data"):
    return str(own)
  folder = str(context.run_config["clients"])
  if not folder:
    raise TflmFgError(
      "this node has no samples: start it with --node-config='data=\"X.npz\"'"
    )
  return str(
    pathlib.Path(folder, sorted(os.listdir(folder))[number_of(context)])
  )
