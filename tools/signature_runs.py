"""Run the sample programs on a file that trains itself, one after the other.

Each program is another runtime: it reads the same folder of samples, trains,
and writes its weights and a line of JSON (apps/samples/README.md).
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

from tools.measure_memory import PAUSE_SECONDS, peak_of
from tools.shift_samples import SCALE, ZERO_POINT, Part

SAMPLES = pathlib.Path(__file__).parent.parent / "apps" / "samples"
JNA = pathlib.Path("/usr/share/java/jna.jar")


@dataclasses.dataclass(frozen=True)
class Program:
  """A sample program, ready to run.

  Attributes:
    command: what runs it; then comes what it does.
    first: arguments in front of model, data and weights.
    floats: whether it takes the file with float32 at its ends.
  """

  command: tuple[str, ...]
  first: tuple[str, ...] = ()
  floats: bool = False


@dataclasses.dataclass(frozen=True)
class Ran:
  """What a program said.

  Attributes:
    before: accuracy on the test samples.
    after: the same, of what was learned.
    weights: the first digits of SHA-256 of what it learned.
    infer_ms: of one sample, with the call.
    adapt_ms: of all of `adapt_input`.
    remember_ms: of one sample.
    train_ms: of `train`.
    peak_mb: the process's largest memory, with its language's.
  """

  before: float
  after: float
  weights: str
  infer_ms: float
  adapt_ms: float
  remember_ms: float
  train_ms: float
  peak_mb: float


def programs(work: pathlib.Path, other_python: str) -> dict[str, Program]:
  """The programs that this machine can run, compiled where they must be.

  Args:
    work: a folder for what is compiled.
    other_python: a Python with tflite-runtime 2.14 and NumPy 1, or empty.
  """
  teach = str(SAMPLES / "python" / "teach.py")
  found = {"LiteRT (Python)": Program((sys.executable, teach))}
  if other_python:
    found["tflite-runtime 2.14"] = Program((other_python, teach))
  package = importlib.util.find_spec("ai_edge_litert")
  library = pathlib.Path(package.submodule_search_locations[0])  # type: ignore[union-attr,index]
  if shutil.which("gcc"):
    sources = [str(SAMPLES / "c" / name) for name in ("main.c", "trainable.c")]
    link = [f"-L{library}", "-lLiteRt", f"-Wl,-rpath,{library}"]
    out = str(work / "teach")
    subprocess.run(["gcc", "-O2", *sources, *link, "-o", out], check=True)
    found["CompiledModel (C)"] = Program((out,))
  if shutil.which("javac") and JNA.exists():
    sources = [str(p) for p in sorted((SAMPLES / "java").glob("*.java"))]
    classes = str(work / "classes")
    command = ["javac", "-cp", str(JNA), "-d", classes, *sources]
    subprocess.run(command, check=True)
    found["CompiledModel (Java)"] = Program(
      ("java", "-cp", f"{classes}:{JNA}", "Teach"),
      (str(library / "libLiteRt.so"),),
    )
  if (work / "node" / "node_modules").exists() and shutil.which("node"):
    for file in (SAMPLES / "web").glob("*.*js*"):
      shutil.copy(file, work / "node" / file.name)
    node = str(work / "node" / "node_run.mjs")
    found["LiteRT.js (Node)"] = Program(("node", node), floats=True)
  return found


def write_data(folder: pathlib.Path, train: Part, test: Part) -> None:
  """Writes samples for programs: `folder`/int8 and `folder`/float32."""
  for kind in ("int8", "float32"):
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for what, (x, y) in (("train", train), ("test", test)):
      values = x
      if kind == "float32":
        values = ((x.astype(np.float64) - ZERO_POINT) * SCALE).astype("<f4")
      values.tofile(folder / kind / f"{what}_x.bin")
      y.astype("<i4").tofile(folder / kind / f"{what}_y.bin")


def run(
  program: Program, model: pathlib.Path, data: pathlib.Path, work: pathlib.Path
) -> Ran:
  """Trains in a process of its own.

  Args:
    program: which.
    model: the exported file, in the form that the program takes.
    data: what `write_data` wrote.
    work: where the weights go.
  """
  weights = work / "weights.bin"
  weights.unlink(missing_ok=True)
  kind = "float32" if program.floats else "int8"
  given = ["train", *program.first, model, data / kind, weights]
  command = [*program.command, *map(str, given)]
  with tempfile.TemporaryFile() as said:
    process = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
      peak = peak_of(process.pid) or peak
      time.sleep(PAUSE_SECONDS)
    said.seek(0)
    lines = said.read().decode().splitlines()
  if process.returncode:
    raise SystemExit(f"{' '.join(command)}: status {process.returncode}")
  told = json.loads(lines[-1])
  return Ran(
    told["before"],
    told["after"],
    hashlib.sha256(weights.read_bytes()).hexdigest()[:12],
    told.get("infer_ms", 0.0),
    told.get("adapt_input_ms", 0.0),
    told.get("remember_ms", 0.0),
    told.get("train_ms", 0.0),
    peak / 2**20,
  )
