"""Devices without Flower: contribute, combine and apply, by files."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import tflm_fg
from apps.fleet.device import Device
from apps.fleet.simulation.rounds import led
from tests import models, programs
from tests.apps.fleet import fleets
from tflm_fg import federated

FLEET = "apps.fleet"
MODEL = "--model=model.tflite"


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "model.tflite").write_bytes(fleets.model())
  for number, (x, y) in enumerate(fleets.parts()):
    np.savez(tmp_path / f"{number}.npz", x=x, y=y)
  return tmp_path


def done(folder, *words):
  result = programs.run(folder, FLEET, *words)
  assert result.returncode == 0, result.stderr
  return result.stdout


def refused(folder, *words, status=1):
  result = programs.run(folder, FLEET, *words)
  assert result.returncode == status, result.stdout
  (line,) = programs.own_lines(result.stderr)
  return line


def contributed(folder, number, *more):
  return done(
    folder, "contribute", MODEL, f"--data={number}.npz",
    f"--client=c{number}", f"--out=s{number}.bin", *more,
  )  # fmt: skip


def digest(path):
  return hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_of_three_devices_make_what_one_with_all_samples_makes(folder):
  for number in range(3):
    printed = contributed(folder, number, "--plan_out=plan.json")
  assert "round 0 of 1 (one-round)" in printed
  done(folder, "combine", "--sums=s0.bin,s2.bin", "--out=some.bin")
  printed = done(
    folder, "apply", MODEL, "--sums=some.bin,s1.bin", "--out=out.tflite",
    "--journal=out.journal", "--test=0.npz",
  )  # fmt: skip
  assert "3 devices, 48 samples" in printed and "accuracy" in printed
  one = fleets.server("one-round")
  led(one, [Device("one", fleets.model(), *fleets.samples())])
  assert one.federation.masters_sha256[:16] in printed
  adapted = tflm_fg.replay(folder / "out.journal", folder / "model.tflite")
  assert tflm_fg.strip(adapted) == (folder / "out.tflite").read_bytes()


def test_neither_order_nor_grouping_changes_a_bit(folder):
  for number in range(3):
    contributed(folder, number)
  (folder / "received").mkdir()
  for number in (2, 0, 1):
    content = (folder / f"s{number}.bin").read_bytes()
    (folder / "received" / f"{number}").write_bytes(content)
  done(folder, "apply", MODEL, "--sums=received", "--out=a.tflite")
  done(folder, "combine", "--sums=s1.bin,s0.bin", "--out=two.bin")
  done(folder, "combine", "--sums=s2.bin,two.bin,two.bin", "--out=all.bin")
  done(folder, "apply", MODEL, "--sums=all.bin", "--out=b.tflite")
  assert digest(folder / "a.tflite") == digest(folder / "b.tflite")


def test_rounds_by_files_are_those_of_a_server_that_runs(folder):
  plan = fleets.plan(steps=1)
  (folder / "plan.json").write_bytes(plan.to_bytes())
  taken = []
  for number in range(plan.rounds):
    more = ["--plan=plan.json", f"--steps_taken={','.join(taken)}"]
    for client in range(3):
      contributed(folder, client, *more)
    done(
      folder, "apply", MODEL, "--sums=s0.bin,s1.bin,s2.bin", *more,
      f"--step=step{number}.bin", "--out=out.tflite",
    )  # fmt: skip
    taken.append(f"step{number}.bin")
  server = fleets.server(steps=1)
  led(server, fleets.devices())
  own = tflm_fg.strip(server.federation.file().data)
  assert own == (folder / "out.tflite").read_bytes()
  done(
    folder, "apply", MODEL, "--plan=plan.json", "--out=device.tflite",
    f"--steps_taken={','.join(taken)}",
  )  # fmt: skip
  assert own == (folder / "device.tflite").read_bytes()


def test_a_damaged_file_is_refused_by_name_and_nothing_is_written(folder):
  for number in range(2):
    contributed(folder, number)
  content = bytearray((folder / "s1.bin").read_bytes())
  content[60] ^= 1
  (folder / "s1.bin").write_bytes(content)
  words = ["apply", MODEL, "--sums=s0.bin,s1.bin", "--out=out.tflite"]
  line = refused(folder, *words)
  assert "s1.bin: client of no name: damaged" in line and "--skip" in line
  assert not (folder / "out.tflite").exists()
  printed = done(folder, *words, "--skip")
  assert "refused: s1.bin" in printed and "1 devices" in printed
  line = refused(folder, "combine", "--sums=s0.bin,s1.bin", "--out=all.bin")
  assert "s1.bin" in line


def test_a_device_of_another_base_is_refused_by_name(folder):
  contributed(folder, 0, "--plan_out=plan.json")
  (folder / "other.tflite").write_bytes(models.deep_model(seed=5))
  line = refused(
    folder, "contribute", "--model=other.tflite", "--data=1.npz",
    "--plan=plan.json", "--out=s1.bin",
  )  # fmt: skip
  assert "other.tflite: is another base than the fleet's" in line


@pytest.mark.parametrize(
  ("words", "told"),
  [
    (["combine", "--sums=none", "--out=all.bin"], "none"),
    (["apply", MODEL, "--sums=0.npz"], "--out=MODEL is missing"),
    (["apply", MODEL, "--out=o.tflite"], "--sums=FILES is missing"),
    (["apply", MODEL, "--sums=0.npz", "--out=o.tflite"], "0.npz"),
    (
      ["contribute", MODEL, "--data=0.npz", "--out=s.bin", "--steps=3"],
      "one-round has a single round",
    ),
    (
      ["contribute", MODEL, "--data=0.npz", "--out=s.bin", "--plan=0.npz"],
      "0.npz: no plan of a fleet",
    ),
    (
      ["contribute", MODEL, "--data=0.npz", "--out=s.bin",
       "--scheme=closed-form", "--num_directions=4"],
      "closed-form has none to count",
    ),
    (
      ["contribute", MODEL, "--data=0.npz", "--out=s.bin", "--max_samples=3"],
      "the plan takes 1 to 3",
    ),
    (
      ["contribute", MODEL, "--data=0.npz", "--out=s.bin", "--delta=0.1"],
      "--delta: does nothing without --epsilon",
    ),
    (
      ["contribute", MODEL, "--data=0.npz", "--out=s.bin", "--epsilon=0"],
      "epsilon=0.0: need 0.0001 to 10000",
    ),
    (
      ["contribute", MODEL, "--data=0.npz", "--out=1.npz",
       "--steps_taken=1.npz"],
      "named by --out and by --steps_taken 0",
    ),
    (
      ["apply", MODEL, "--steps_taken=0.npz", "--step=0.npz", "--out=o.tflite"],
      "named by --step and by --steps_taken 0",
    ),
    (
      ["run", MODEL, "--over=far:1", "--nodes=2", "--epsilon=1"],
      "--epsilon would not be heard there",
    ),
    (["run", MODEL], "--clients=FOLDER is missing"),
    (["run", MODEL, "--over=far:1"], "--nodes is missing"),
    (["run", MODEL, "--clients=0.npz"], "need a folder"),
    (["run", MODEL, "--clients=nowhere"], "need a folder"),
  ],
)  # fmt: skip
def test_bad_input_is_one_line(folder, words, told):
  assert told in refused(folder, *words)


def test_noise_keeps_to_the_epsilon_that_a_flag_asks_for(folder):
  contributed(folder, 0, "--epsilon=2", "--hide=sample", "--plan_out=plan.json")
  plan = federated.Plan.from_bytes((folder / "plan.json").read_bytes())
  releases = federated.Federation(fleets.model(), plan).releases
  assert plan.privacy.unit == "sample" and plan.privacy.where == "device"
  assert 1.99 < plan.privacy.epsilon(releases) <= 2
  first = (folder / "s0.bin").read_bytes()
  contributed(folder, 0, "--plan=plan.json")
  assert first != (folder / "s0.bin").read_bytes()  # other noise
  line = refused(
    folder, "contribute", MODEL, "--data=0.npz", "--out=s.bin",
    "--plan=plan.json", "--epsilon=3",
  )  # fmt: skip
  assert "--epsilon: stands in --plan=plan.json already" in line
  line = refused(
    folder, "contribute", MODEL, "--data=0.npz", "--out=s.bin",
    "--plan=plan.json", "--epsilon=0", "--min_clients=2",
  )  # fmt: skip
  assert "--min_clients: stands in" in line
