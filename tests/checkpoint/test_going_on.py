"""A run that was killed goes on, to the bytes of one that was not."""

from __future__ import annotations

import errno
import json
import os
import signal

import numpy as np
import pytest

import tflm_fg
from tests import models, programs
from tests.refusals import refused
from tflm_fg.callbacks import Callback, Interrupted
from tflm_fg.checkpoint import record_file
from tflm_fg.checkpoint.folder import FILE
from tflm_fg.checkpoint.record_file import RecordFile

SEARCHES = {
  "auto": {},
  "no labels": {"labels": "none"},
  "head": {"trainable": "head"},
  "forward gradients": {
    "trainable": "bias",
    "method": tflm_fg.methods.SignSPSA(steps=70, validate_every=20),
  },
  "rates that are tried": {
    "trainable": "bias",
    "method": tflm_fg.methods.SignSPSA(steps=208, validate_every=104),
  },
  "candidates one by one": {
    "trainable": "auto",
    "method": tflm_fg.methods.SignSPSA(steps=40, validate_every=10),
  },
  "rounds": {
    "trainable": "bias,head",
    "method": tflm_fg.methods.Auto(steps=150),
  },
}

CURVES = ("loss", "forward_passes", "val_loss", "val_forward_passes")

CHANGING = ("seconds", "invoke_seconds", "strategy_seconds", "workers")
"""What a report tells of the machine, and not of the work."""


class Killed(BaseException):
  """What nothing catches, as nothing catches SIGKILL."""


class Heard(Callback):
  """Keeps what it is told of a checkpoint."""

  def on_checkpoint(self, logs):
    self.logs = logs


def adapted(folder=None, x=None, y=None, **given):
  own_x, own_y = models.separable(samples=32)
  x, y = own_x if x is None else x, own_y if y is None else y
  model = given.pop("model", models.dense_model())
  given = {"checkpoint": folder, "workers": 1, **given}
  return tflm_fg.adapt(model, x, y, **given)


def told(result):
  """Everything that must be the same: model, journal, report, curves."""
  report = json.loads(json.dumps(dict(result.report)))
  for entry in (report, *report["phases"]):
    for name in CHANGING:
      entry.pop(name, None)
  history = [result.history[name] for name in CURVES]
  return result.marked_model, result.journal.to_bytes(), report, history


@pytest.fixture
def killed_at(monkeypatch):
  """Ends the work within the n-th record, a part of which is written."""
  whole = RecordFile._write
  left = [0]

  def write(self, line):
    left[0] -= 1
    if left[0] == 0:
      whole(self, line[: len(line) * 2 // 3])
      raise Killed
    whole(self, line)

  monkeypatch.setattr(RecordFile, "_write", write)

  def start(number):
    left[0] = number
    return left

  return start


@pytest.mark.parametrize("kind", SEARCHES)
def test_killed_within_a_record_it_ends_with_the_same_bytes(
  kind, killed_at, tmp_path
):
  want = told(adapted(**SEARCHES[kind]))
  killed_at(4)
  with pytest.raises(Killed):
    adapted(tmp_path / "c", **SEARCHES[kind])
  heard = Heard()
  again = adapted(tmp_path / "c", **SEARCHES[kind], callbacks=[heard])
  assert told(again) == want
  assert heard.logs["cut_bytes"] > 0
  assert heard.logs["state"] == "continued"
  assert heard.logs["pieces"] == 2


def test_killed_within_the_first_record_it_begins_anew(killed_at, tmp_path):
  killed_at(1)
  given = SEARCHES["forward gradients"]
  with pytest.raises(Killed):
    adapted(tmp_path / "c", **given)
  heard = Heard()
  adapted(tmp_path / "c", **given, callbacks=[heard])
  assert heard.logs["state"] == "new"
  assert heard.logs["cut_bytes"] > 0


def test_killed_again_and_again_it_comes_to_its_end(killed_at, tmp_path):
  given = SEARCHES["candidates one by one"]
  want = told(adapted(**given))
  result, kills = None, 0
  while result is None:
    killed_at(3)
    try:
      result = adapted(tmp_path / "c", **given)
    except Killed:
      kills += 1
  assert kills > 3
  assert told(result) == want


def test_what_was_done_is_not_run_again(monkeypatch, tmp_path):
  given = SEARCHES["forward gradients"]
  want = told(adapted(tmp_path / "c", **given))
  heard = Heard()

  def none(*unused):
    raise AssertionError("a step was run again")

  monkeypatch.setattr("tflm_fg.gradients.spsa.ForwardGradient.__call__", none)
  again = adapted(tmp_path / "c", **given, callbacks=[heard])
  assert told(again) == want
  assert heard.logs["state"] == "finished"


def test_a_signal_keeps_the_best_and_the_same_call_ends_the_work(tmp_path):
  given = SEARCHES["forward gradients"]
  want = told(adapted(**given))

  class Interrupting(Callback):
    def on_train_batch_end(self, state, logs):
      if state.step == 37:
        os.kill(os.getpid(), signal.SIGTERM)

  folder = tmp_path / "c"
  early = adapted(
    folder, **given, callbacks=[Interrupting()], on_interrupt="keep"
  )
  assert early.report.interrupted
  heard = Heard()
  assert told(adapted(folder, **given, callbacks=[heard])) == want
  assert heard.logs["state"] == "continued"


def test_a_signal_with_nothing_to_keep_says_from_where_it_goes_on(tmp_path):
  class Interrupting(Callback):
    every_phase = True

    def on_plan(self, logs):
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(Interrupted, match=r"goes on from .*the_folder"):
    adapted(
      tmp_path / "the_folder",
      callbacks=[Interrupting()],
      on_interrupt="keep",
    )


OTHERS = {
  "the model": {"model": models.dense_model(seed=9)},
  "x": {"x": models.separable(samples=32)[0] + 0.01},
  "y": {"y": np.roll(models.separable(samples=32)[1], 1)},
  "seed": {"method": tflm_fg.methods.Auto(seed=3)},
  "labels": {"labels": "given"},
  "trainable": {"trainable": "wide-head"},
  "replay x": {"replay": models.separable(samples=32)},
  "old_data x": {"old_data": models.separable(samples=32)},
  "runtime": {"runtime": "litert-reference"},
  "loss function": {
    "loss": lambda z, y: np.abs(z).sum(axis=1),
    "method": tflm_fg.methods.SignSPSA(steps=4),
  },
  "gain": {"graph_options": tflm_fg.GraphOptions(gain=True)},
  "absent_classes": {"absent_classes": "ignore"},
}


@pytest.fixture(scope="module")
def of_a_head(tmp_path_factory):
  """The checkpoint of a head."""
  folder = tmp_path_factory.mktemp("checkpoints") / "c"
  adapted(folder, trainable="head")
  return folder


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_other_work_is_refused_by_name(name, of_a_head):
  folder = of_a_head
  given = {"trainable": "head", **OTHERS[name]}
  message = refused(
    lambda: adapted(folder, **given), str(folder), "name another folder"
  )
  assert f"{name} was " in message or "more;" in message


def test_another_version_is_refused_by_name(monkeypatch, of_a_head):
  monkeypatch.setattr(
    "tflm_fg.outcome.belonging.versions", lambda: {"tflm-fg": "9.9"}
  )
  refused(
    lambda: adapted(of_a_head, trainable="head"),
    "version of tflm-fg was",
    "9.9",
  )


def test_samples_that_are_only_scored_may_be_others(tmp_path):
  folder = tmp_path / "c"
  first = adapted(folder, trainable="head")
  again = adapted(folder, trainable="head", test=models.separable(samples=16))
  assert again.marked_model == first.marked_model


def test_a_second_process_is_refused_until_the_first_has_gone(of_a_head):
  folder = of_a_head
  held = RecordFile(str(folder / FILE), "c")
  refused(lambda: adapted(folder, trainable="head"), "another process")
  held.close()
  adapted(folder, trainable="head")


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path):
  (tmp_path / "photo.png").write_bytes(b"mine")
  refused(lambda: adapted(tmp_path), "photo.png", "new or an empty folder")
  assert os.listdir(tmp_path) == ["photo.png"]
  other = tmp_path / "other"
  other.mkdir()
  (other / FILE).write_text("my own diary\n")
  refused(lambda: adapted(other), "something else")
  assert (other / FILE).read_text() == "my own diary\n"


def test_a_folder_in_which_a_kill_left_a_trial_alone_is_taken(tmp_path):
  (tmp_path / ".tflm_fg-3423fde0-14485-aeb290c8-4.try").write_bytes(b"")
  heard = Heard()
  adapted(tmp_path, trainable="head", callbacks=[heard])
  assert heard.logs["state"] == "new"


def test_a_record_that_was_damaged_is_done_again(tmp_path):
  given = SEARCHES["forward gradients"]
  want = told(adapted(tmp_path / "c", **given))
  path = tmp_path / "c" / FILE
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  heard = Heard()
  assert told(adapted(tmp_path / "c", **given, callbacks=[heard])) == want
  assert heard.logs["cut_bytes"] > 0


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_full_disk_is_one_line_and_loses_nothing(
  number, monkeypatch, tmp_path
):
  given = SEARCHES["forward gradients"]
  want = told(adapted(**given))
  count = [0]

  def full(handle, data):
    count[0] += 1
    if count[0] >= number:
      written = os_write(handle, data[:7]) if count[0] == number else 0
      if written:
        return written
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return os_write(handle, data)

  os_write = os.write
  monkeypatch.setattr(record_file.os, "write", full)
  refused(
    lambda: adapted(tmp_path / "c", **given), "No space left", "same command"
  )
  monkeypatch.setattr(record_file.os, "write", os_write)
  assert told(adapted(tmp_path / "c", **given)) == want


def test_a_process_that_is_killed_for_good_goes_on_in_the_next_one(tmp_path):
  x, y = models.separable(samples=32)
  np.savez(tmp_path / "mine.npz", x=x, y=y)
  (tmp_path / "m.tflite").write_bytes(models.dense_model())
  flags = ("--model=m.tflite", "--train=mine.npz", "--trainable=bias,head")

  def run(out, *more, before=""):
    outputs = f"--out={out}.tflite", f"--journal={out}.jsonl"
    return programs.run(
      tmp_path, "apps.adapt", *flags, *outputs, *more, before=before
    )

  assert run("whole").returncode == 0
  kill = (
    "import os\nwrite, left = os.write, [4]\n"
    "def killed(*given):\n"
    "  left[0] -= 1\n"
    "  if left[0] == 0: os.kill(os.getpid(), 9)\n"
    "  return write(*given)\n"
    "from tflm_fg.checkpoint import record_file\n"
    "record_file.os = type('Os', (), {**vars(os), 'write': killed})\n"
  )
  first = run("part", "--checkpoint=c", before=kill)
  assert first.returncode not in (0, 1)
  assert not (tmp_path / "part.tflite").exists()
  second = run("part", "--checkpoint=c")
  assert second.returncode == 0
  assert "checkpoint c: goes on behind" in second.stderr
  for end in (".tflite", ".jsonl"):
    whole = (tmp_path / f"whole{end}").read_bytes()
    assert (tmp_path / f"part{end}").read_bytes() == whole
  third = run("part", "--checkpoint=c")
  assert "all was done before" in third.stderr
  assert run("part", "--checkpoint=c", "--seed=4").returncode == 1
