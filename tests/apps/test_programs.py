"""Programs keep their contract: status, one line on stderr, whole files.

Status 0 done, 1 refused or failed, 2 a flag is wrong, 130 and 143 ended by a
signal. Each run is a process of its own, because a traceback, a line that an
engine prints and a leftover file are seen only from outside.
"""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest

import tflm_fg
from tests import models, programs
from tests.options import options
from tests.programs import own_lines
from tflm_fg.tflite.select_trainable import present_mark

DONE, REFUSED, WRONG_FLAG = 0, 1, 2
HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143
PROGRAMS = ("apps.adapt", "apps.convert", "apps.evaluate", "apps.inspect_model")


class Folder:
  """A folder with a model and samples, and programs that run in it."""

  start = staticmethod(programs.run)

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path
    self.write("model.tflite", models.dense_model())
    x, y = models.separable(samples=64)
    np.savez(path / "clips.npz", x=x, y=y)

  def write(self, name: str, content: bytes) -> str:
    (self.path / name).write_bytes(content)
    return name

  def read(self, name: str) -> bytes:
    return (self.path / name).read_bytes()

  def files(self) -> dict[str, bytes]:
    found = (p for p in self.path.rglob("*") if p.is_file())
    return {str(p.relative_to(self.path)): p.read_bytes() for p in found}

  def run(
    self, program: str, *arguments: str, env: dict[str, str] | None = None
  ) -> programs.Done:
    name = f"apps.{program}"
    if env:
      return programs.run_anew(self.path, name, *arguments, env=env)
    return self.start(self.path, name, *arguments)

  def done(self, program: str, *arguments: str) -> str:
    """Runs what must succeed; gives its standard output."""
    result = self.run(program, *arguments)
    assert result.returncode == DONE, result.stderr
    assert "Traceback" not in result.stderr
    assert not self.leftovers()
    return result.stdout

  def refused(
    self,
    program: str,
    *arguments: str,
    status: int = REFUSED,
    env: dict[str, str] | None = None,
  ) -> str:
    """Runs what must be refused, changing no file; gives the one line."""
    before = self.files()
    result = self.run(program, *arguments, env=env)
    assert result.returncode == status, result.stderr
    lines = own_lines(result.stderr)
    assert len(lines) == 1, result.stderr
    assert self.files() == before
    return lines[0]

  def leftovers(self) -> list[str]:
    return [name for name in self.files() if ".tflm_fg-" in name]

  def adapt_flags(self, *more: str) -> list[str]:
    given = {flag.split("=")[0] for flag in more}
    usual = (
      "--model=model.tflite", "--train=clips.npz", "--out=out.tflite",
      "--method=sign-m-spsa", "--steps=4",
    )  # fmt: skip
    return [f for f in usual if f.split("=")[0] not in given] + list(more)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Folder:
  return Folder(tmp_path)


# What works.


def test_adapt_writes_every_output_whole(folder):
  pytest.importorskip("matplotlib")
  before = folder.files()
  printed = folder.done(
    "adapt", *folder.adapt_flags(
      "--steps=60", "--test=clips.npz", "--report=r.json", "--log=l.csv",
      "--journal=j.jsonl", "--plot=p.png", "--report_dir=page",
    )
  )  # fmt: skip
  after = folder.files()
  assert {k: after[k] for k in before} == before
  assert set(after) - set(before) == {
    "out.tflite", "r.json", "l.csv", "j.jsonl", "p.png", "page/index.html",
    "page/report.json",
  }  # fmt: skip
  report = json.loads(after["r.json"])
  assert report["scored_on"] == "test"
  assert f"{report['accuracy_after']:.3f}" in printed
  page = after["page/index.html"].decode()
  assert "model.tflite, adapted to 64 samples of 4 classes" in page
  assert "--from_journal=j.jsonl --out=out.tflite" in page
  assert after["page/report.json"] == after["r.json"]
  assert after["p.png"].startswith(b"\x89PNG")
  rows = list(csv.DictReader(after["l.csv"].decode().splitlines()))
  assert [int(row["step"]) for row in rows] == [0, 50, 60]
  assert len(after["j.jsonl"].splitlines()) == 3  # signs of a phase in one
  assert tflm_fg.strip(after["out.tflite"]) == after["out.tflite"]
  mode = (folder.path / "out.tflite").stat().st_mode
  assert mode == (folder.path / "model.tflite").stat().st_mode


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(folder):
  before = folder.files()
  printed = folder.done(
    "adapt", *folder.adapt_flags(
      "--steps=1000000", "--learning_rate_lsb=1", "--epsilon_lsb=1",
      "--report_dir=page", "--journal=j", "--dry_run",
    )
  )  # fmt: skip
  assert re.search(r"head: sign-m-spsa, 1000000 steps, 20\d{5} passes", printed)
  assert "nothing was written" in printed
  assert folder.files() == before
  assert not (folder.path / "page").exists()


@pytest.mark.parametrize("journal", ["half.tflite", "no.jsonl"])
def test_a_replay_of_no_journal_is_refused_by_its_name(folder, journal):
  folder.write("half.tflite", models.dense_model()[:1000])
  flags = (
    "--model=model.tflite",
    f"--from_journal={journal}",
    "--out=out.tflite",
  )
  assert journal in folder.refused("adapt", *flags)


@pytest.mark.parametrize(
  "flag",
  ["--momentum=0.5", "--runtime=tflm", "--weights=int16", "--kernel_wise"],
)
def test_a_replay_refuses_flags_that_it_does_not_use(flag, folder):
  flags = (
    "--model=model.tflite",
    "--from_journal=j.jsonl",
    "--out=out.tflite",
    flag,
  )
  line = folder.refused("adapt", *flags)
  assert f"{flag.split('=')[0]}: --from_journal takes" in line


def test_replay_gives_the_bytes_of_out(folder):
  flags = folder.adapt_flags(
    "--steps=30", "--journal=j.jsonl", "--momentum=0.5"
  )
  folder.done("adapt", *flags)
  folder.done(
    "adapt",
    "--model=model.tflite",
    "--from_journal=j.jsonl",
    "--out=again.tflite",
  )
  assert folder.read("again.tflite") == folder.read("out.tflite")
  assert folder.read("out.tflite") != folder.read("model.tflite")


def test_convert_inspect_evaluate_agree_on_a_marked_file(folder):
  folder.done(
    "convert", "--model=model.tflite", "--trainable=all", "--out=marked.tflite"
  )
  assert tflm_fg.strip(folder.read("marked.tflite")) == folder.read(
    "model.tflite"
  )
  printed = folder.done(
    "inspect_model", "--model=marked.tflite", "--report=inspected.json"
  )
  inspected = json.loads(folder.read("inspected.json"))
  modes = inspected["memory"]
  totals = [modes[mode]["total"] for mode in modes]
  assert "backpropagation at 16 bits" in modes
  assert all(f"{modes[mode]['total']}  {mode}" in printed for mode in modes)
  assert totals[1] > totals[0] > 0
  tensors = inspected["tensors"]
  assert [t["write_seen"] for t in tensors] == [True] * 4
  assert all(t["name"] in printed for t in tensors)
  for name in ("model", "marked"):
    folder.done(
      "evaluate", f"--model={name}.tflite", "--data=clips.npz",
      f"--report={name}.json",
    )  # fmt: skip
  plain, marked = (
    json.loads(folder.read(f"{name}.json")) for name in ("model", "marked")
  )
  assert plain["loss"] == marked["loss"]
  assert plain["samples"] == plain["clips"] == 64


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_names_every_flag_and_starts_no_engine(program, tmp_path):
  result = programs.run_anew(tmp_path, program, "--help")
  assert result.returncode == DONE
  assert "--model" in result.stdout
  assert not result.stderr


# Wrong flags.


@pytest.mark.parametrize(
  "wrong",
  [
    ["--runtime=onnx"],
    ["--strategy=magic"],
    ["--bogus=1"],
    ["--steps=many"],
    ["--dry_run=maybe"],
    ["--anchor=far"],
    ["--window=0"],
    ["stray"],
  ],
  ids=str,
)
def test_wrong_flag_has_status_two(wrong, folder):
  line = folder.refused("adapt", *folder.adapt_flags(*wrong), status=WRONG_FLAG)
  assert wrong[0].lstrip("-").split("=")[0] in line
  assert "--help" in line
  assert "(" not in line  # no tuple of Python's


@pytest.mark.parametrize("program", PROGRAMS)
def test_missing_flags_have_status_two(program, folder):
  line = folder.refused(program.removeprefix("apps."), status=WRONG_FLAG)
  assert "--model" in line


# Refused input: one of each kind; `tests/contract/` has the rest.


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ("--model=no.tflite", "no.tflite: no such file"),
    ("--model=empty.tflite", "empty.tflite"),
    ("--model=half.tflite", "half.tflite"),
    ("--model=float.tflite", "float.tflite"),
    ("--model=", "file name"),
    ("--train=no.npz", "no.npz: no such file"),
    ("--train=half.tflite", "half.tflite"),
    ("--train=", "--train"),
    ("--test=unlabelled.npz", "'y'"),
    ("--trainable=zzz", "zzz"),
    ("--epsilon_lsb=0", "epsilon_lsb"),
    ("--steps=0", "steps"),
    (
      "--from_journal=no.jsonl",
      "--train: --from_journal takes --model, --out and --steps alone",
    ),
  ],
)
def test_refused_input_is_one_line_that_names_it(flag, words, folder):
  folder.write("empty.tflite", b"")
  folder.write("half.tflite", models.dense_model()[:1000])
  folder.write("float.tflite", models.float_model())
  np.savez(folder.path / "unlabelled.npz", x=np.zeros((3, 8), np.float32))
  assert words in folder.refused("adapt", *folder.adapt_flags(flag))


@pytest.mark.parametrize("program", ["convert", "evaluate", "inspect_model"])
def test_other_programs_refuse_in_one_line_too(program, folder):
  folder.write("half.tflite", models.dense_model()[:1000])
  more = {
    "convert": ["--out=out.tflite"],
    "evaluate": ["--data=clips.npz", "--report=r.json"],
    "inspect_model": ["--report=r.json"],
  }
  line = folder.refused(program, "--model=half.tflite", *more[program])
  assert "half.tflite" in line


def test_xnnpack_in_place_is_refused_in_one_line_with_the_cause(folder):
  line = folder.refused(
    "adapt",
    *folder.adapt_flags("--runtime=litert-xnnpack", "--strategy=in-place"),
  )
  assert "XNNPACK packed the weights" in line
  assert "--strategy=rebuild" in line


def test_runtime_that_is_not_installed_is_refused_with_the_cure(folder):
  hook = folder.path / "hook"
  hook.mkdir()
  (hook / "sitecustomize.py").write_text(
    "import importlib.util as u\n"
    "found = u.find_spec\n"
    "u.find_spec = lambda name, package=None: (\n"
    "  None if name == 'tflite_micro' else found(name, package))\n"
  )
  line = folder.refused(
    "adapt", *folder.adapt_flags("--runtime=tflm"),
    env=programs.environment(hook) | {"PYTHONDONTWRITEBYTECODE": "1"},
  )  # fmt: skip
  assert "'tflm' is not installed; pip install" in line


def test_warning_is_one_line_and_no_fault(folder):
  result = folder.run("adapt", *folder.adapt_flags("--epsilon_lsb=0.5"))
  assert result.returncode == DONE
  assert [line.split(":")[0] for line in own_lines(result.stderr)] == [
    "warning"
  ]


# Outputs.


@pytest.mark.parametrize("flag", ["out", "plot", "report", "log", "journal"])
def test_output_that_cannot_be_written_is_refused_before_training(flag, folder):
  # As root every folder can be written: a path under a file cannot, for all.
  flags = folder.adapt_flags(f"--{flag}=clips.npz/out", "--steps=100000000")
  assert "clips.npz/out" in folder.refused("adapt", *flags)


@pytest.mark.parametrize(
  "out", ["no/such/out", ".", "", "pipe", "n" * 300], ids=lambda out: out[:9]
)
def test_impossible_output_is_refused_before_training(out, folder):
  os.mkfifo(folder.path / "pipe")
  flags = folder.adapt_flags(f"--out={out}", "--steps=100000000")
  folder.refused("adapt", *flags)
  assert (folder.path / "pipe").is_fifo()


COLLISIONS: dict[str, tuple[str, list[str]]] = {
  "adapt over its model": ("adapt", ["--out=model.tflite"]),
  "adapt over its samples": ("adapt", ["--out=clips.npz"]),
  "adapt through a link": ("adapt", ["--out=link.tflite"]),
  "a journal over the model": ("adapt", ["--journal=model.tflite"]),
  "two outputs in one file": ("adapt", ["--report=./out.tflite"]),
  "convert over its model": ("convert", ["--out=model.tflite"]),
  "a report over the samples": ("evaluate", ["--report=clips.npz"]),
  "a report over the model": ("inspect_model", ["--report=model.tflite"]),
}


@pytest.mark.parametrize("kind", list(COLLISIONS))
def test_output_never_replaces_an_input_or_another_output(kind, folder):
  (folder.path / "link.tflite").symlink_to("model.tflite")
  program, more = COLLISIONS[kind]
  flags = {
    "adapt": folder.adapt_flags(*more),
    "convert": ["--model=model.tflite", *more],
    "evaluate": ["--model=model.tflite", "--data=clips.npz", *more],
    "inspect_model": ["--model=model.tflite", *more],
  }
  line = folder.refused(program, *flags[program])
  assert more[0].split("=")[0] in line


def test_failed_run_keeps_the_old_output(folder):
  folder.write("out.tflite", b"of yesterday")
  folder.refused("adapt", *folder.adapt_flags("--train=no.npz"))
  assert folder.read("out.tflite") == b"of yesterday"


def test_second_run_replaces_the_first_whole(folder):
  folder.write("out.tflite", bytes(100_000))
  folder.done("adapt", *folder.adapt_flags())
  assert len(folder.read("out.tflite")) == len(folder.read("model.tflite"))


@pytest.mark.parametrize(
  "damage",
  [
    lambda journal: journal[: len(journal) // 2],
    lambda journal: journal.replace(b'"model_sha256":"', b'"model_sha256":"0'),
    lambda journal: journal.replace(b'"kept_step":', b'"kept_step":1e400', 1),
  ],
  ids=["truncated", "of another model", "edited"],
)
def test_damaged_journal_makes_no_file(
  damage: Callable[[bytes], bytes], folder
):
  x, y = models.separable(samples=64)
  recorded = tflm_fg.adapt(
    models.dense_model(),
    x,
    y,
    **options(method="sign-m-spsa", steps=4),
  )
  folder.write("j.jsonl", damage(recorded.journal.to_bytes()))
  folder.refused(
    "adapt",
    "--model=model.tflite",
    "--from_journal=j.jsonl",
    "--out=out.tflite",
  )


# Interrupts.


# Sends the process a signal from inside its sixth step, as Ctrl-C would.
INTERRUPT_AT_WORK = """
import os, signal
from tflm_fg.gradients.spsa import CentralDifference
call = CentralDifference.__call__
def interrupted(self, passes, state):
  if state.step in {steps}:
    os.kill(os.getpid(), signal.{name})
  return call(self, passes, state)
CentralDifference.__call__ = interrupted
"""


@pytest.mark.parametrize(
  ("name", "status"),
  [("SIGINT", INTERRUPTED), ("SIGTERM", TERMINATED), ("SIGHUP", HUNG_UP)],
)
def test_a_signal_keeps_the_best_so_far_with_its_journal(name, status, folder):
  flags = folder.adapt_flags(
    "--steps=100000000", "--validate_every=2", "--learning_rate_lsb=1",
    "--journal=j", "--log=l",
    "--report=r",
  )  # fmt: skip
  result = programs.run(
    folder.path, "apps.adapt", *flags,
    before=INTERRUPT_AT_WORK.format(steps=[5], name=name),
  )  # fmt: skip
  assert result.returncode == status
  (line,) = own_lines(result.stderr)
  assert "interrupted; out.tflite holds what was best by then" in line
  assert "note: interrupted" in result.stdout
  report = json.loads(folder.read("r"))
  assert report["interrupted"]
  assert report["steps"] == 6
  assert len(folder.read("l").splitlines()) == 5  # the head, steps 0 2 4 6
  folder.done(
    "adapt", "--model=model.tflite", "--from_journal=j", "--out=again.tflite"
  )
  assert folder.read("again.tflite") == folder.read("out.tflite")
  assert not folder.leftovers()


def test_under_nohup_a_closed_terminal_ends_nothing(folder):
  before = INTERRUPT_AT_WORK.format(steps=[2], name="SIGHUP")
  result = programs.run(
    folder.path, "apps.adapt", *folder.adapt_flags("--report=r"),
    before="import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    + before,
  )  # fmt: skip
  assert result.returncode == DONE
  assert not json.loads(folder.read("r"))["interrupted"]


@pytest.mark.parametrize(
  ("name", "status"), [("SIGTERM", TERMINATED), ("SIGHUP", HUNG_UP)]
)
def test_a_signal_ends_programs_that_keep_nothing_in_one_line(
  name, status, folder
):
  result = programs.run(
    folder.path, "apps.inspect_model", "--model=model.tflite",
    before="import os, signal, tflm_fg.files as files\n"
    f"files.read_bytes = lambda path: os.kill(os.getpid(), signal.{name})\n"
    f"files.read_model = lambda *a: os.kill(os.getpid(), signal.{name})\n",
  )  # fmt: skip
  assert result.returncode == status, result.stderr
  (line,) = own_lines(result.stderr)
  assert "nothing was written" in line


def test_a_signal_before_anything_is_better_writes_nothing(folder):
  folder.write("out.tflite", b"of yesterday")
  before = folder.files()
  flags = folder.adapt_flags(
    "--steps=100000000", "--learning_rate_lsb=2e-5", "--journal=j", "--log=l",
    "--report=r",
  )  # fmt: skip
  result = programs.run(
    folder.path, "apps.adapt", *flags,
    before=INTERRUPT_AT_WORK.format(steps=[5], name="SIGINT"),
  )  # fmt: skip
  assert result.returncode == INTERRUPTED
  (line,) = own_lines(result.stderr)
  assert "before anything was finished" in line
  assert "nothing was written" in line
  assert folder.files() == before


TWICE = """
import os, signal
from tflm_fg.training import trainer
score = trainer.score_weights
def interrupted(*arguments):
  os.kill(os.getpid(), signal.SIGINT)
  return score(*arguments)
trainer.score_weights = interrupted
"""


def test_a_second_signal_ends_at_once_and_writes_nothing(folder):
  before = folder.files()
  flags = folder.adapt_flags(
    "--steps=100000000", "--validate_every=2", "--journal=j"
  )
  result = programs.run(folder.path, "apps.adapt", *flags, before=TWICE)
  assert result.returncode == INTERRUPTED
  (line,) = own_lines(result.stderr)
  assert "interrupted" in line
  assert folder.files() == before


# Keras models.


def _convert(model: str, *more: str) -> list[str]:
  return [f"--model={model}", "--out=out.tflite", *more]


@pytest.mark.parametrize("name", ["no.keras", "no_folder"])
def test_missing_keras_model_is_refused(name, folder):
  line = folder.refused("convert", *_convert(name))
  assert f"{name}: no such file" in line


def test_what_is_no_keras_model_is_refused(folder):
  folder.write("text.keras", b"hello\n" * 9)
  assert "text.keras" in folder.refused("convert", *_convert("text.keras"))


@pytest.mark.parametrize(
  ("name", "cure"),
  [
    ("m.onnx", "onnx2tf -i MODEL.onnx"),
    ("m.pt", "litert-torch"),
    ("m.pth", "litert-torch"),
  ],
)
def test_formats_of_other_tools_are_refused_with_the_tool(name, cure, folder):
  folder.write(name, b"anything")
  line = folder.refused("convert", *_convert(name))
  assert cure in line and "--calibration" in line


def test_files_that_compute_in_floats_are_refused_with_the_command(folder):
  folder.write("float.tflite", models.float_model())
  line = folder.refused("convert", *_convert("float.tflite"))
  assert "add --calibration=X.npz" in line
  folder.write("dynamic.tflite", models.float_model("int8"))
  for more in ([], ["--calibration=clips.npz"]):
    line = folder.refused("convert", *_convert("dynamic.tflite", *more))
    assert "dynamic-range" in line and "it was made from" in line


@pytest.mark.tensorflow
def test_keras_model_converts_with_calibration_and_tells_of_it(folder):
  import keras

  layers = [keras.Input((8,)), keras.layers.Dense(4)]
  keras.Sequential(layers).save(folder.path / "m.keras")
  fitting = _convert("m.keras", "--calibration=clips.npz")
  result = folder.run("convert", *fitting)
  assert result.returncode == DONE, result.stderr
  stages = [line.split()[0] for line in own_lines(result.stderr)]
  assert stages == ["loading", "quantizing", "comparing"]
  assert "its largest output is the same in" in result.stdout
  marked = present_mark(folder.read("out.tflite"), None, "m")
  assert marked.mark.trainable


def test_samples_of_before_are_scored_replayed_and_told(folder):
  x, y = models.separable()
  np.savez(folder.path / "some.npz", x=x[y != 1], y=y[y != 1])
  np.savez(folder.path / "old.npz", x=x, y=y)
  flags = folder.adapt_flags(
    "--train=some.npz", "--report=r.json", "--trainable=head"
  )
  printed = folder.done("adapt", *flags, "--old_data=old.npz")
  assert "no samples for 1 of 4 classes (1)" in printed
  told = json.loads(folder.read("r.json"))["forgetting"]
  assert told["measured_on"] == "old_data"
  before, after = told["accuracy_before"], told["accuracy_after"]
  line = f"samples of before ({len(y)}): accuracy {before:.3f} -> {after:.3f}"
  assert line in printed
  printed = folder.done("adapt", *flags, "--replay=old.npz")
  assert "samples of before that were trained on too" in printed
  assert "no samples for" not in printed


def test_a_journal_given_to_replay_is_one_line_with_the_new_name(folder):
  folder.done("adapt", *folder.adapt_flags("--journal=j.jsonl"))
  folder.write("first.jsonl", folder.read("j.jsonl").splitlines()[0])
  for name in ("j.jsonl", "first.jsonl"):
    flags = ("--model=model.tflite", f"--replay={name}", "--out=again.tflite")
    line = folder.refused("adapt", *flags)
    assert f"--replay={name}: a journal" in line
    assert f"--from_journal={name}" in line
