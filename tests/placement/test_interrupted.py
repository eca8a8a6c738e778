"""A signal at any time leaves the best so far, or nothing, and never a mess."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg.callbacks import SIGNALS, Interrupted, StopOnInterrupt
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.types import TflmFgError

SEARCHES = {
  "auto": {},
  "no labels": {"labels": "none"},
  "head": {"trainable": "head"},
  "head, forward": {
    "trainable": "auto",
    "method": tflm_fg.methods.SignSPSA(steps=40, validate_every=10),
  },
  "rounds": {"trainable": "bias,head"},
}


@pytest.fixture
def signal_at(monkeypatch):
  """Sends a signal when training reads or writes weights for the n-th time."""
  calls, at = [0], [0]

  def counted(method):
    def call(self, *arguments):
      calls[0] += 1
      if calls[0] == at[0]:
        os.kill(os.getpid(), signal.SIGINT)
      return method(self, *arguments)

    return call

  for name in ("weights", "gather"):
    monkeypatch.setattr(Layout, name, counted(getattr(Layout, name)))

  def start(number):
    calls[0], at[0] = 0, number
    return calls

  return start


def adapted(**given):
  x, y = models.separable(samples=32)
  return tflm_fg.adapt(models.dense_model(), x, y, **given)


@pytest.mark.parametrize("kind", SEARCHES)
def test_at_any_time_the_best_so_far_is_kept_or_nothing(kind, signal_at):
  calls = signal_at(0)
  whole = adapted(**SEARCHES[kind])
  times = np.linspace(1, calls[0], 4).astype(int)
  kept = []
  for number in times:
    signal_at(number)
    try:
      result = adapted(**SEARCHES[kind], on_interrupt="keep")
    except Interrupted as stop:
      assert stop.signal == signal.SIGINT
      assert "nothing was written" in str(stop)
      continue
    kept.append(number)
    report = result.report
    assert report.interrupted
    assert any("interrupted" in note for note in report.notes)
    start = models.dense_model()
    assert tflm_fg.replay(result.journal, start) == result.marked_model
    if report.accuracy_after is not None:
      assert report.accuracy_after >= report.accuracy_before
  assert kept, "nothing was ever kept"
  assert not whole.report.interrupted


def test_a_search_that_was_ended_trains_the_best_candidate_by_then(signal_at):
  calls = signal_at(0)
  whole = adapted()
  signal_at(calls[0] * 2 // 3)  # the file's own head has been fitted by now
  result = adapted(on_interrupt="keep")
  assert len(result.report.candidates) < len(whole.report.candidates)
  assert result.report.accuracy_after == whole.report.accuracy_after


def test_without_keep_it_is_a_keyboard_interrupt_as_ever(signal_at):
  signal_at(5)
  with pytest.raises(KeyboardInterrupt) as caught:
    adapted()
  assert not isinstance(caught.value, Interrupted)


def test_handlers_are_those_of_before_when_it_ends(signal_at):
  before = [signal.getsignal(n) for n in SIGNALS]
  signal_at(5)
  with pytest.raises(Interrupted):
    adapted(on_interrupt="keep")
  after = [signal.getsignal(n) for n in SIGNALS]
  assert after == before


def test_what_to_do_on_an_interrupt_is_one_of_two():
  with pytest.raises(TflmFgError, match="on_interrupt='never': need 'raise'"):
    adapted(on_interrupt="never")


def test_the_first_signal_is_held_up_and_the_second_is_not():
  with StopOnInterrupt() as stop, pytest.raises(Interrupted), stop.deferred():
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.received == signal.SIGTERM
    assert stop.stop_training
    os.kill(os.getpid(), signal.SIGINT)
    pytest.fail("the second signal was held up")


def test_files_are_written_to_the_end_whatever_comes():
  with StopOnInterrupt() as stop:
    try:
      with stop.deferred(firmly=True):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    except Interrupted:
      pytest.fail("a signal came between files")
    with pytest.raises(Interrupted, match="written"):
      stop.check("it was written")


def test_only_a_first_signal_ends_in_keeping():
  with StopOnInterrupt() as stop:
    with stop.keeping():
      os.kill(os.getpid(), signal.SIGINT)
      pytest.fail("it went on")
    assert stop.interrupted
    with pytest.raises(Interrupted), stop.keeping():
      os.kill(os.getpid(), signal.SIGINT)


def test_a_new_run_begins_without_the_signal_of_the_last():
  stop = StopOnInterrupt()
  with stop, stop.deferred():
    os.kill(os.getpid(), signal.SIGINT)
  assert stop.interrupted
  with stop:
    assert not stop.interrupted
    assert not stop.stop_training
