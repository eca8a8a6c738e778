"""Streams that are full or closed, and surroundings that lack something.

The work is done and its files are written, or one line says why not.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile

import numpy as np
import pytest

from apps import cli, streams
from apps.fleet import __main__ as fleet
from apps.kws import __main__ as kws
from tests import models, programs

FULL = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), {0})\n"
CLOSED = (
  "import os, sys; os.close({0}); sys.{1} = None; import apps; apps._fill()\n"
)
UNREAD = (
  "import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1); os.close(w)\n"
)
NO_TMPDIR = (
  "import os, tempfile; os.environ['TMPDIR'] = '/none'; tempfile.tempdir = None"
  "\n"
)
NO_HOME = "import os; os.environ.pop('HOME', None)\n"
ASCII = (
  "import sys; sys.stdout.reconfigure(encoding='ascii', errors='strict')\n"
)

CONDITIONS = {
  "full": (FULL.format(1), cli.FAILED, "No space left on device"),
  "closed": (CLOSED.format(1, "stdout"), cli.FAILED, "it is closed"),
  "both closed": (
    CLOSED.format(1, "stdout") + CLOSED.format(2, "stderr"),
    cli.FAILED,
    None,
  ),
  "no errors": (CLOSED.format(2, "stderr"), cli.DONE, None),
  "full errors, no input, no home, no folder for temporary files": (
    FULL.format(2) + CLOSED.format(0, "stdin") + NO_HOME + NO_TMPDIR,
    cli.DONE,
    None,
  ),
  "its reader has gone": (UNREAD, cli.DONE, None),
  "another alphabet": (ASCII, cli.DONE, None),
}
"""What is done to the process -> its status, and what it says of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A model and samples, whose names are of no simple alphabet."""
  made = tmp_path_factory.mktemp("streams")
  (made / "mödel.tflite").write_bytes(models.dense_model())
  rng = np.random.default_rng(0)
  np.savez(
    made / "sämples.npz", x=rng.normal(0, 1, (24, 8)), y=np.arange(24) % 4
  )
  return made


ADAPT = (
  "--model=mödel.tflite",
  "--train=sämples.npz",
  "--trainable=head",
  "--method=closed-form",
  "--steps=2",
  "--out=öut.tflite",
)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="is of Linux")
@pytest.mark.parametrize("name", CONDITIONS)
def test_the_file_is_written_whatever_becomes_of_the_streams(name, folder):
  before, status, told = CONDITIONS[name]
  out = folder / "öut.tflite"
  out.unlink(missing_ok=True)
  done = programs.run(folder, "apps.adapt", *ADAPT, before=before)
  assert out.exists(), done.stderr
  assert done.returncode == status
  own = [line for line in programs.own_lines(done.stderr) if "warn" not in line]
  if told is None:
    assert not any("standard output" in line for line in own)
  else:
    assert own[-1] == (
      f"tflm-fg-adapt: standard output: {told}; not all was printed, and all "
      "else is done"
    )
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
  ("before", "told"),
  [
    (
      "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n",
      "the working folder is gone; change to one that is there",
    ),
    (
      "from tflm_fg import files\n"
      "def full(*unused): raise OSError(28, 'No space left on device', 'x')\n"
      "files.require_outputs = full\n",
      "x: No space left on device",
    ),
  ],
)
def test_what_the_surroundings_lack_is_one_line(before, told, folder):
  done = programs.run(folder, "apps.adapt", *ADAPT, before=before)
  assert done.returncode == cli.FAILED
  assert programs.own_lines(done.stderr) == [f"tflm-fg-adapt: {told}"]


@pytest.mark.parametrize(
  "before", [FULL.format(1), CLOSED.format(1, "stdout")], ids=["full", "closed"]
)
@pytest.mark.parametrize(
  ("program", "arguments"),
  [
    ("apps.inspect_model", ["--model=mödel.tflite", "--report=r.json"]),
    (
      "apps.evaluate",
      ["--model=mödel.tflite", "--data=sämples.npz", "--report=r.json"],
    ),
  ],
)
def test_reports_are_written_where_nothing_can_be_printed(
  program, arguments, before, folder
):
  (folder / "r.json").unlink(missing_ok=True)
  done = programs.run(folder, program, *arguments, before=before)
  assert done.returncode == cli.FAILED
  assert "not all was printed" in done.stderr
  assert (folder / "r.json").exists()


PROGRAMS = [
  ("apps.adapt",),
  ("apps.benchmark",),
  ("apps.compare",),
  ("apps.convert",),
  ("apps.evaluate",),
  ("apps.export",),
  ("apps.inspect_model",),
  ("apps.kws",),
  *(("apps.kws", command) for command in kws.COMMANDS),
  ("apps.fleet",),
  *(("apps.fleet", command) for command in fleet.COMMANDS),
]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="is of Linux")
@pytest.mark.parametrize("words", PROGRAMS, ids="-".join)
def test_no_program_leaves_a_traceback_on_a_full_disk(words, tmp_path):
  done = programs.run(tmp_path, *words, "--help", before=FULL.format(1))
  assert done.returncode == cli.FAILED
  (line,) = programs.own_lines(done.stderr)
  assert "standard output: No space left on device" in line


def test_without_a_folder_for_temporary_files_the_variable_is_named():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tempfile, "tempdir", None)
    patch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/none"])
    with pytest.raises(OSError) as fault:
      tempfile.gettempdir()
  assert cli._of_the_system(fault.value) == (
    "No usable temporary directory found in ['/none']; set TMPDIR to a folder "
    "that can be written"
  )


class Failing(io.StringIO):
  """A stream that never writes."""

  def __init__(self, fault):
    super().__init__()
    self.fault, self.asked = fault, 0

  def write(self, text):
    self.asked += 1
    raise self.fault


def test_a_stream_that_failed_is_not_asked_again(monkeypatch, capsys):
  failing = Failing(OSError(errno.ENOSPC, "No space left on device"))
  monkeypatch.setattr(sys, "stdout", failing)

  def work():
    print("one"), print("two")
    assert streams.is_lost()
    return 0

  assert streams.told("program", work) == streams.FAILED
  assert failing.asked == 1
  assert sys.stdout is failing
  assert not streams.is_lost()
  assert "program: standard output: No space left" in capsys.readouterr().err


def test_a_failure_of_the_work_is_told_and_not_that_of_the_stream(
  monkeypatch, capsys
):
  monkeypatch.setattr(sys, "stdout", Failing(OSError(errno.EIO, "no disk")))
  assert streams.told("program", lambda: print("one") or 2) == 2
  assert capsys.readouterr().err == ""


def test_a_program_in_a_program_tells_of_its_stream_once(monkeypatch, capsys):
  monkeypatch.setattr(sys, "stdout", Failing(OSError(errno.EIO, "no disk")))

  def inner():
    return streams.told("inner", lambda: print("one") or 0)

  assert streams.told("outer", inner) == streams.FAILED
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("outer: standard output: no disk;")


def test_bytes_of_no_alphabet_are_printed_as_they_came(monkeypatch):
  held = io.BytesIO()
  stream = io.TextIOWrapper(held, encoding="ascii")
  monkeypatch.setattr(sys, "stdout", stream)
  streams.told("program", lambda: print("caf\udce9 caf\u00e9") or 0)
  assert held.getvalue() == b"caf\xe9 caf\\xe9\n"


def test_a_report_of_a_path_of_no_alphabet_is_json():
  assert b'"caf\\udce9 \xc3\xa9"' in cli.to_json({"model": "caf\udce9 é"})


@pytest.mark.skipif(sys.platform != "linux", reason="names that are any bytes")
def test_a_page_names_files_by_the_bytes_that_they_have(folder):
  done = programs.run(folder, "apps.adapt", *ADAPT, "--report_dir=caf\udce9")
  assert done.returncode == cli.DONE, done.stderr
  page = (folder / "caf\udce9" / "index.html").read_bytes()
  assert b"--report_dir=" in page
  assert b"caf\xe9" in page
