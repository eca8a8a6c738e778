"""The Flower app: with a grid of this process, and with Flower's processes."""

from __future__ import annotations

import hashlib
import json
import pathlib
import time

import numpy as np
import pytest

from tests import programs
from tests.apps.fleet import fleets
from tflm_fg.types import TflmFgError

flwr_app = pytest.importorskip("flwr.app", reason="needs the extra fleet")

from flwr.supercore import task_identity  # noqa: E402

from apps.fleet import processes  # noqa: E402
from apps.fleet.device import Device  # noqa: E402
from apps.fleet.flower.fleet_app import client_app, server_app  # noqa: E402
from apps.fleet.simulation.rounds import led  # noqa: E402

FOLDER = pathlib.Path(processes.__file__).parent / "flower"


class LocalGrid:
  """Nodes of this process; each keeps its context, as a SuperNode does."""

  def __init__(self, config, node_configs):
    self.contexts = {
      node: flwr_app.Context(1, node, own, flwr_app.RecordDict(), config)
      for node, own in node_configs.items()
    }
    self.replies = {}
    self.late = set()

  def get_node_ids(self):
    return list(self.contexts)

  def push_messages(self, messages):
    for message in messages:
      key = f"message-{len(self.replies)}"
      message.metadata.__dict__["_message_id"] = key
      node = message.metadata.dst_node_id
      reply = client_app.app(message, self.contexts[node])
      self.replies[key] = None if node in self.late else reply
      yield key

  def pull_messages(self, keys):
    return [self.replies[key] for key in keys if self.replies[key]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
  identity = task_identity.TaskIdentity
  for name in ("_run_id", "_task_id", "_node_id"):
    monkeypatch.setattr(identity, name, 1)  # as Flower does in its processes
  (tmp_path / "model.tflite").write_bytes(fleets.model())
  (tmp_path / "clients").mkdir()
  for number, (x, y) in enumerate(fleets.parts(2)):
    np.savez(tmp_path / "clients" / f"{number}.npz", x=x, y=y)
  (tmp_path / "plan.json").write_bytes(fleets.plan().to_bytes())
  return tmp_path


def config_of(folder, **more):
  return {
    "model": str(folder / "model.tflite"),
    "plan": str(folder / "plan.json"),
    "scheme": "closed-form",
    "out": str(folder / "adapted.tflite"),
    "journal": str(folder / "adapted.journal"),
    "report": str(folder / "report.json"),
    "nodes": 2,
    "timeout": 5.0,
    "clients": str(folder / "clients"),
    "secure": False,
    "dropout": 0.0,
    "seed": 0,
    **more,
  }


def run(grid, config):
  context = flwr_app.Context(1, 0, {}, flwr_app.RecordDict(), config)
  server_app.app(grid, context)
  return json.loads(pathlib.Path(config["report"]).read_text())


def grid_of(config, count=2):
  return LocalGrid(config, {10 + n: {"partition-id": n} for n in range(count)})


def test_nodes_of_a_grid_end_with_the_masters_of_one_device(folder):
  config = config_of(folder)
  report = run(grid_of(config), config)
  one = fleets.server()
  led(one, [Device("one", fleets.model(), *fleets.samples())])
  assert report["masters_sha256"] == one.federation.masters_sha256
  assert report["masters_equal"] and report["clients"] == 2
  assert (folder / "adapted.tflite").read_bytes()[4:8] == b"TFL3"
  assert (folder / "adapted.journal").exists()


def test_a_node_keeps_steps_and_no_sample(folder):
  config = config_of(folder)
  grid = grid_of(config)
  run(grid, config)
  for context in grid.contexts.values():
    (record,) = context.state.values()
    assert set(record) == {"plan", "steps"}
    assert len(record["steps"]) == 4


def test_nodes_that_drop_rounds_on_purpose_are_survived(folder):
  config = config_of(folder, dropout=0.4, seed=3)
  report = run(grid_of(config), config)
  assert report["missed"] > 0 and report["masters_equal"]


def test_a_node_that_is_late_is_not_waited_for_longer_than_the_timeout(folder):
  config = config_of(folder, timeout=0.3)
  grid = grid_of(config)
  grid.late = {11}
  began = time.monotonic()
  report = run(grid, config)
  assert report["clients"] == 1
  assert time.monotonic() - began < 20


def test_too_few_nodes_are_one_line_and_the_report_says_so(folder):
  config = config_of(folder, nodes=3, timeout=0.3)
  with pytest.raises(TflmFgError, match="2 of 3 nodes"):
    run(grid_of(config), config)
  told = json.loads((folder / "report.json").read_text())
  assert "take fewer with --nodes" in told["fault"]
  assert not (folder / "adapted.tflite").exists()


def test_a_real_node_takes_its_samples_from_its_own_configuration(folder):
  config = config_of(folder, clients="")
  own = {
    7: {
      "data": str(folder / "clients" / "0.npz"),
      "name": "phone",
      "out": str(folder / "phone.tflite"),
    },
    8: {"data": str(folder / "clients" / "1.npz")},
  }
  report = run(LocalGrid(config, own), config)
  assert report["clients"] == 2 and report["masters_equal"]
  phone = (folder / "phone.tflite").read_bytes()
  assert phone == (folder / "adapted.tflite").read_bytes()


def test_masked_rounds_over_a_grid_make_the_same_model(folder):
  config = config_of(folder)
  run(grid_of(config), config)
  plain = (folder / "adapted.tflite").read_bytes()
  config = config_of(folder, secure=True)
  report = run(grid_of(config), config)
  assert report["secure"]
  assert plain == (folder / "adapted.tflite").read_bytes()


def test_a_node_without_samples_says_what_is_missing(folder):
  config = config_of(folder, clients="")
  with pytest.raises(TflmFgError, match="--node-config"):
    run(grid_of(config), config)


def test_a_superlink_and_two_supernodes_make_what_one_process_makes(folder):
  (folder / "plan.json").write_bytes(fleets.plan("one-round").to_bytes())
  done = programs.run(
    folder, "apps.fleet", "run", "--model=model.tflite", "--clients=clients",
    "--over=loopback", "--plan=plan.json", "--out=out.tflite",
    "--report=told.json", "--timeout=100",
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert "masters equal: yes (2 clients" in done.stdout
  config = config_of(folder)
  run(grid_of(config), config)
  digests = {
    hashlib.sha256((folder / name).read_bytes()).hexdigest()
    for name in ("out.tflite", "adapted.tflite")
  }
  assert len(digests) == 1


def test_the_app_is_laid_out_as_flowers_baselines_are():
  names = {p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.*")}
  assert {
    "pyproject.toml",
    "README.md",
    "fleet_app/server_app.py",
    "fleet_app/client_app.py",
    "fleet_app/task.py",
    "fleet_app/strategy/replayed.py",
  } <= names
