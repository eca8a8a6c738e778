"""The rows of the demo's table: each scheme on the same clients and test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

import tflm_fg
from apps.fleet.device import Device
from apps.fleet.faults import Faults
from apps.fleet.server import Server, require_equal
from apps.fleet.simulation.clients import Fleet, Samples
from apps.fleet.simulation.fedavg import FloatFleet
from apps.fleet.simulation.rounds import led
from apps.fleet.simulation.table import Result
from tflm_fg import federated, methods

BATCH = 8
"""Samples of a step of FedAvg's clients."""


@dataclasses.dataclass(frozen=True)
class Row:
  """A row: what is run.

  Attributes:
    title: for people.
    scheme: one of `federated.SCHEMES`.
    settings: of `federated.plan_for`.
    method: settings of the scheme's method.
    central: whether one client has all samples.
  """

  title: str
  scheme: str
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  method: dict[str, Any] = dataclasses.field(default_factory=dict)
  central: bool = False


ROWS = {
  "central": Row("all samples in one place", "closed-form", central=True),
  "closed-form": Row("closed form", "closed-form"),
  "one-round": Row("one round", "one-round"),
  "one-round-wide": Row(
    "one round, a head that reads all layers",
    "one-round",
    {"trainable": "wide-head"},
  ),
  "personal": Row(
    "closed form, a prompt a device",
    "closed-form",
    {"personal": "prompt"},
  ),
  "signs": Row("sign-SPSA, 16 directions a round", "signs"),
  "per-sample": Row(
    "per-sample directions, a prompt", "per-sample", method={"steps": 40}
  ),
  "split": Row("Spry's split, all layers", "split", method={"steps": 20}),
}
"""Name -> what runs. FedAvg, which is no scheme of ours, is beside them."""

FEDAVG = {"fedavg": 1, "fedavg-5": 5}
"""Name -> epochs that a client of FedAvg trains in a round."""

FEDAVG_ROUNDS = 43
"""As many as the closed form takes."""

NAMES = (*ROWS, *FEDAVG)
QUICK = ("central", "closed-form", "one-round", "signs", "fedavg")
"""Those that take seconds."""

_METHODS = {
  "closed-form": methods.ClosedForm,
  "one-round": methods.ClosedForm,
  "signs": methods.SignSPSA,
  "split": methods.SignSPSA,
  "per-sample": methods.PerSample,
}


def before(model: bytes, test: Samples) -> Result:
  """The model as it is."""
  return Result(accuracy_of(model, test))


def run(
  name: str,
  model: bytes,
  fleet: Fleet,
  seed: int,
  faults: Faults,
  secure: bool = False,
) -> tuple[Result, Server]:
  """Runs a row with one seed.

  Args:
    name: a key of `ROWS`.
    model: the .tflite.
    fleet: its clients and its test.
    seed: of directions.
    faults: what goes wrong.
    secure: whether sums are masked; not of a single client's.

  Raises:
    TflmFgError: as the scheme does, or if masters differ.
  """
  row = ROWS[name]
  method = _METHODS[row.scheme](seed=seed, **row.method)
  plan = federated.plan_for(model, row.scheme, method=method, **row.settings)
  federation = federated.Federation(model, plan)
  server = Server(federation, secure and not row.central)
  own: Sequence[Samples] = [fleet.union] if row.central else fleet.clients
  devices = [
    Device(f"client-{number}", model, part.x, part.y)
    for number, part in enumerate(own)
  ]
  seconds = led(server, devices, Faults() if row.central else faults)
  require_equal(server)
  report = server.report()
  adapted = server.federation.file().data
  journal = federated.journal_of(server.federation).to_bytes()
  accuracy = accuracy_of(adapted, fleet.test)
  if plan.personal:
    accuracy = _at_home(devices, fleet)
  found = Result(
    accuracy=accuracy,
    rounds=report["rounds"],
    bytes_up=report["bytes_up"],
    bytes_down=report["bytes_down"],
    seconds=float(np.mean(list(seconds.values()))),
    equal=report["masters_equal"],
    replays=tflm_fg.replay(journal, model) == adapted,
  )
  return found, server


def averaged(
  name: str, floats: FloatFleet, seed: int, faults: Faults
) -> Result:
  """FedAvg of the float head, with as many rounds as the closed form."""
  rounds = FEDAVG_ROUNDS
  found = floats.averaged(rounds, FEDAVG[name], BATCH, seed, faults)
  return Result(
    found.accuracy, rounds, found.bytes_up, found.bytes_down, found.seconds
  )


def title(name: str) -> str:
  """What a row is called."""
  if name in ROWS:
    return ROWS[name].title
  epochs = FEDAVG[name]
  return f"FedAvg, float, {epochs} epoch{'s' * (epochs > 1)} a round"


def _at_home(devices: Sequence[Device], fleet: Fleet) -> float:
  """The accuracy of each device's own model on what it meets, as a mean."""
  tests = fleet.tests or [fleet.test] * len(devices)
  scores = [accuracy_of(d.adapted(), test) for d, test in zip(devices, tests)]
  return float(np.average(scores, weights=[len(test) for test in tests]))


def accuracy_of(model: bytes, test: Samples) -> float:
  """The share of test samples that a file answers rightly, in LiteRT."""
  return float(tflm_fg.evaluate(model, test.x, test.y)["accuracy"])
