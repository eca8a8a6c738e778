"""A device in C sends the bytes that one in Python sends."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from tests.federated.fleets import MODEL, X, Y
from tflm_fg import federated

FOLDER = pathlib.Path(__file__).parents[3] / "apps" / "samples" / "fleet"

COMPILER = shutil.which("cc") or shutil.which("gcc")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
  if COMPILER is None:
    pytest.skip("needs a C compiler")
  out = tmp_path_factory.mktemp("fleet") / "sums"
  sources = [str(FOLDER / name) for name in ("main.c", "fleet_sums.c")]
  flags = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
  subprocess.run([COMPILER, *flags, *sources, "-o", str(out)], check=True)
  return str(out)


def asked(program, member, rows):
  """What the program is given for a client's samples."""
  (inputs,) = member._open.inputs
  flat = inputs.reshape(len(inputs), -1)
  spec = member.standing.head_input
  told = [flat.shape[1], member.classes, spec.zero_point]
  digests = member.plan.digest.hex(), member.masters_sha256[:32]
  samples = b"".join(
    bytes([label]) + flat[n].astype(np.int8).tobytes()
    for n, label in enumerate(member.y.tolist()[:rows])
  )
  command = [program, *map(str, told), *digests, member.client]
  return subprocess.run(command, input=samples, capture_output=True)


def test_the_bytes_are_those_of_python(program):
  plan = federated.plan_for(MODEL, "one-round")
  for rows in (1, 40):
    member = federated.Client(MODEL, plan, X[:rows], Y[:rows], client="Gerät 7")
    found = asked(program, member, rows)
    assert found.returncode == 0
    assert found.stdout == member.contribute()
  assert federated.Federation(MODEL, plan).accept(found.stdout).taken


def test_what_it_cannot_take_is_one_line(program):
  for command in ([], ["900", "4", "0", "0" * 32, "0" * 32, "a"]):
    found = subprocess.run([program, *command], capture_output=True, input=b"")
    assert found.returncode in (1, 2)
    assert found.stderr.count(b"\n") == 1
  cut = ["8", "4", "0", "0" * 32, "0" * 32, "a"]
  found = subprocess.run([program, *cut], capture_output=True, input=b"\1ab")
  assert (found.returncode, found.stdout) == (1, b"")
  assert b"cut off" in found.stderr
