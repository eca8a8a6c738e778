"""Measure the peak of resident memory of programs, beside bare LiteRT.

  python tools/measure_memory.py MODEL.tflite SAMPLES.npz
  python tools/measure_memory.py MODEL.tflite SAMPLES.npz --limit=512MB
  python tools/measure_memory.py --demo

A row is a command with all processes that it starts. For each process Linux
keeps the highest count of bytes that were resident (VmHWM, pages of libraries
that processes share counted in each); a row gives the program's own, and the
highest sum over those that ran at the same time.
With --limit a command runs with --max_memory as large, which the system holds
(RLIMIT_DATA). Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent

PAUSE_SECONDS = 0.005

MB = 1 << 20

BARE = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

path, samples = sys.argv[1:]
interpreter = Interpreter(
  path,
  experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
)
interpreter.allocate_tensors()
given = interpreter.get_input_details()[0]
scale, zero = given["quantization"]
for x in np.load(samples)["x"]:
  x = np.rint(x / (scale or 1) + zero).clip(-128, 127).astype(given["dtype"])
  interpreter.set_tensor(given["index"], x.reshape(given["shape"]))
  interpreter.invoke()
"""
"""What an application does that infers and no more."""


def peaks(command: Sequence[str], folder: str) -> tuple[int, int, int]:
  """Runs a command.

  Args:
    command: program and arguments.
    folder: where it runs.

  Returns:
    The program's own peak in bytes; the highest sum of the peaks of those that
    ran at the same time; and the exit status.
  """
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  started = subprocess.Popen(
    command,
    cwd=folder,
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  own = everything = 0
  while started.poll() is None:
    own = peak_of(started.pid) or own
    # A child holds its parent's memory until it becomes a program itself.
    others = [n for n in _descendants(started.pid) if _is_program(n, started)]
    everything = max(everything, own + sum(map(peak_of, others)))
    time.sleep(PAUSE_SECONDS)
  assert started.stderr is not None
  if started.returncode:
    print(started.stderr.read().strip().splitlines()[-1], file=sys.stderr)
  return own, everything, started.returncode


def _is_program(process: int, parent: subprocess.Popen[str]) -> bool:
  """Whether a child has become a program of its own."""
  try:
    texts = [
      pathlib.Path(f"/proc/{number}/cmdline").read_bytes()
      for number in (process, parent.pid)
    ]
  except OSError:
    return False
  return texts[0] != texts[1]


def peak_of(process: int) -> int:
  """The most bytes of a process that were resident; 0 if it has gone."""
  try:
    text = pathlib.Path(f"/proc/{process}/status").read_text()
  except OSError:
    return 0
  found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
  return int(found[1]) << 10 if found else 0


def _descendants(process: int) -> list[int]:
  """The processes that a process has started, and those that they have."""
  try:
    tasks = list(pathlib.Path(f"/proc/{process}/task").iterdir())
    texts = [(task / "children").read_text() for task in tasks]
  except OSError:  # it has ended
    return []
  own = [int(number) for text in texts for number in text.split()]
  return own + [number for child in own for number in _descendants(child)]


def rows(model: str, samples: str) -> list[tuple[str, list[str]]]:
  """What is run for a model: a name, and a command."""
  program = [sys.executable, "-m"]
  adapt = [*program, "apps.adapt", f"--model={model}", f"--train={samples}"]
  adapt += ["--out=adapted.tflite"]
  return [
    ("Python with NumPy", [sys.executable, "-c", "import numpy"]),
    ("LiteRT alone", [sys.executable, "-c", BARE, model, samples]),
    ("inspect", [*program, "apps.inspect_model", f"--model={model}"]),
    (
      "evaluate",
      [*program, "apps.evaluate", f"--model={model}", f"--data={samples}"],
    ),
    ("adapt, the head", [*adapt, "--trainable=head"]),
    ("adapt, the default", adapt),
    ("adapt, without labels", [*adapt, "--labels=none"]),
  ]


def main() -> None:
  """Runs, measures, prints."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("model", nargs="?")
  parser.add_argument("samples", nargs="?")
  parser.add_argument("--limit", help="as 512MB")
  parser.add_argument("--demo", action="store_true")
  given = parser.parse_args()
  todo: list[tuple[str, list[str]]] = []
  if given.model:
    own = [os.path.abspath(p) for p in (given.model, given.samples)]
    todo += rows(*own)
  if given.demo:
    todo.append(("kws demo", [sys.executable, "-m", "apps.kws", "demo"]))
  print("| what runs | own peak, MB | with its processes, MB | status |")
  print("|---|---|---|---|")
  for name, command in todo:
    if given.limit and command[1] == "-m":
      command = [*command, f"--max_memory={given.limit}"]
    with tempfile.TemporaryDirectory() as folder:
      own, everything, status = peaks(command, folder)
    print(f"| {name} | {own / MB:.0f} | {everything / MB:.0f} | {status} |")


if __name__ == "__main__":
  main()
