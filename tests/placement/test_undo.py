"""A journal gives the file as it was after any of the steps that it holds."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import tflm_fg
from tests import models, programs
from tests.refusals import refused
from tflm_fg import journal
from tflm_fg.callbacks import Callback
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.placement.phase_record import masters_of, write_masters
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import read_mark

MODEL = models.dense_model()
INNER = 30
"""Steps of each of the two phases."""


class States(Callback):
  """Keeps the masters after every step of the phase that searches."""

  def __init__(self):
    self.params = []

  def on_train_batch_end(self, state, logs):
    self.params.append(state.params)


@functools.cache
def run():
  """Biases by forward gradients, then the head: the result, and the states."""
  states = States()
  x, y = models.separable(samples=32)
  method = tflm_fg.methods.Auto(steps=INNER, optimizer="sgd")
  result = tflm_fg.adapt(
    MODEL,
    x,
    y,
    trainable="inner-bias,head",
    method=method,
    callbacks=[states],
  )
  first, last = result.journal.records
  assert (first.kept_step, last.kept_step) == (INNER, INNER)
  return result, states.params


def masters_written(params):
  """The marked file with the first phase's masters."""
  result, _ = run()
  file = ModelFile.of(result.start)
  mark = read_mark(file)
  first = result.journal.records[0].phase.tensors
  layout = Layout(tuple(t for t in mark.trainable if t.index in first))
  masters = masters_of(file, mark) | layout.scatter(params)
  return write_masters(file, mark, masters).data


@pytest.mark.parametrize("steps", [1, 17, INNER])
def test_steps_are_taken_back_to_what_the_file_was_then(steps):
  result, states = run()
  content = result.journal.to_bytes()
  back = tflm_fg.replay(content, MODEL, steps=steps)
  assert back == masters_written(states[steps - 1])
  assert back != result.marked_model


def test_no_step_gives_the_start_and_all_of_them_the_end():
  result, _ = run()
  content = result.journal.to_bytes()
  assert tflm_fg.replay(content, MODEL, steps=0) == result.start
  all_steps = sum(r.kept_step for r in result.journal.records)
  assert tflm_fg.replay(content, MODEL, steps=all_steps) == result.marked_model


@pytest.mark.parametrize("steps", [-1, 61])
def test_steps_that_were_not_taken_are_refused(steps):
  result, _ = run()
  refused(
    lambda: tflm_fg.replay(result.journal, MODEL, steps=steps),
    f"steps={steps}",
    "0, for the start, to 60",
  )


def test_within_an_exact_head_a_journal_of_ends_names_the_ends():
  result, _ = run()
  refused(
    lambda: tflm_fg.replay(result.journal.to_bytes(), MODEL, steps=40),
    "give 30 or 60",
    "--every_step",
  )


def test_a_journal_of_every_step_goes_back_within_an_exact_head():
  result, _ = run()
  content = result.journal.to_bytes(every_step=True)
  assert len(content) > len(result.journal.to_bytes())
  whole = journal.parse(content)
  assert tflm_fg.replay(whole, MODEL) == result.marked_model
  files = [tflm_fg.replay(whole, MODEL, steps=n) for n in (30, 31, 45, 60)]
  assert len(set(files)) == 4
  assert files[-1] == result.marked_model


def test_the_program_goes_back(tmp_path):
  result, _ = run()
  (tmp_path / "m.tflite").write_bytes(MODEL)
  (tmp_path / "j").write_bytes(result.journal.to_bytes())

  def program(*more):
    flags = "--model=m.tflite", "--out=o.tflite", *more
    return programs.run(tmp_path, "apps.adapt", *flags)

  done = program("--from_journal=j", "--steps=12")
  assert (done.returncode, done.stderr) == (0, "")
  assert "as it was after 12 steps" in done.stdout
  back = tflm_fg.replay(result.journal, MODEL, steps=12)
  assert (tmp_path / "o.tflite").read_bytes() == tflm_fg.strip(back)
  done = program("--from_journal=j", "--steps=99")
  assert done.returncode == 1
  assert "0, for the start, to 60" in done.stderr
  done = program("--from_journal=j", "--seed=1")
  assert "takes --model, --out and --steps alone" in done.stderr
  np.savez(tmp_path / "t.npz", x=np.zeros((4, 8), np.float32), y=np.arange(4))
  done = program("--train=t.npz", "--every_step")
  assert (done.returncode, done.stdout) == (1, "")
  assert "--every_step: is for --journal" in done.stderr
