"""What the server and the nodes do, told in Flower's configuration."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from flwr.app import ConfigRecordValues, Context

import tflm_fg
from tflm_fg import files
from tflm_fg.types import TflmFgError, one_line

from .strategy import RECORD, Record, Records

__all__ = ["RECORD", "answer", "reported", "server_of"]

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
  except (TflmFgError, OSError, TimeoutError) as fault:
    report["fault"] = one_line(fault)
    raise
  finally:
    if config["report"]:
      content = json.dumps(report, indent=2) + "\n"
      files.write_atomically(config["report"], content.encode())


class Counting:
  """Counts the fleet's samples of each class; it trains nothing."""

  def __init__(self, rounds: int) -> None:
    self._rounds = rounds
    self._counts: dict[int, list[int]] = {}

  def rounds(self, nodes: list[int]) -> Generator[Records, Records, None]:
    """Yields what each node is sent; is sent what they answered."""
    for number in range(self._rounds):
      answers = yield {node: {"round": number} for node in nodes}
      for node, record in answers.items():
        self._counts[node] = list(record["counts"])  # type: ignore[arg-type]

  def finish(self) -> dict[str, Any]:
    """What came of it, for the report."""
    return {"clients": len(self._counts), "samples": self._totals()}

  def _totals(self) -> list[int]:
    return [sum(column) for column in zip(*self._counts.values())]


def server_of(config: Config) -> Counting:
  """The server of a run."""
  return Counting(int(config["rounds"]))


def answer(request: Record, context: Context) -> dict[str, ConfigRecordValues]:
  """A node's answer to a request."""
  config = context.run_config
  model = context.node_config.get("model") or config["model"]
  held = tflm_fg.load_samples(samples_of(context), str(model))
  assert held.y is not None  # or it would have been refused
  counts = [
    int((held.y == label).sum()) for label in range(int(held.y.max()) + 1)
  ]
  return {"round": int(request["round"]), "counts": counts}  # type: ignore[arg-type]


def samples_of(context: Context) -> str:
  """Where a node's samples are.

  A SuperNode is told with --node-config; a simulated node takes the file of its
  number out of the folder of all.

  Raises:
    TflmFgError: if neither is told.
  """
  own = context.node_config.get("data")
  if own:
    return str(own)
  folder = str(context.run_config["clients"])
  if not folder:
    raise TflmFgError(
      "this node has no samples: start it with --node-config='data=\"X.npz\"'"
    )
  names = sorted(os.listdir(folder))
  number = int(context.node_config["partition-id"])
  return str(pathlib.Path(folder, names[number]))
