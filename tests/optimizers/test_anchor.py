"""An anchor pulls back to the start; Ctrl-C ends training, the best stays."""

import os
import signal

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.masters import apply_updates
from tflm_fg.optimizers import transforms
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.interruption import StopOnInterrupt
from tflm_fg.types import Params, Vectors

MARKED = tflm_fg.mark_trainable(models.dense_model())
LAYOUT = Layout(MARKED.mark.trainable)


def _start() -> Params:
  return LAYOUT.params(weights_of(MARKED.data, MARKED.mark.trainable))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_without_a_gradient_an_anchored_weight_goes_home(momentum):
  rate = schedule(1.0, "constant", 99)
  optimizer = transforms.anchored(transforms.sgd(LAYOUT, rate, momentum), 0.25)
  start = _start()
  state = optimizer.init(start)
  none = Vectors(*(np.zeros(len(p), np.int64) for p in start))
  away = apply_updates(start, Vectors(*(np.full(len(p), 400) for p in start)))
  params = away
  for step in range(40):
    updates, state = optimizer.update(none, state, params, step)
    params = apply_updates(params, updates)
  for first, moved, end in zip(start, away, params):
    assert np.abs(end.astype(int) - first).max() <= 2
    assert end.dtype == first.dtype == moved.dtype


def test_an_anchor_of_nothing_changes_no_update():
  rate = schedule(1.0, "constant", 99)
  plain = transforms.sgd(LAYOUT, rate, 0.9)
  optimizer = transforms.anchored(plain, 0.0)
  params = _start()
  rng = np.random.default_rng(0)
  gradient = Vectors(*(rng.integers(-(2**18), 2**18, len(p)) for p in params))
  one, _ = plain.update(gradient, plain.init(params), params, 0)
  two, _ = optimizer.update(gradient, optimizer.init(params), params, 0)
  assert all(np.array_equal(a, b) for a, b in zip(one, two))


def test_an_anchored_run_stays_nearer_and_replays_to_its_bytes():
  x, y = models.separable(samples=64)
  moves = []
  for anchor in (0.0, 0.2):
    settings = options(
      method="closed-form", steps=60, anchor=anchor, validation_fraction=0.0
    )
    done = tflm_fg.adapt(models.dense_model(), x, y, **settings)
    assert tflm_fg.replay(done.journal, done.start) == done.marked_model
    end = LAYOUT.params(weights_of(done.marked_model, MARKED.mark.trainable))
    moves.append(np.abs(end.kernels.astype(int) - _start().kernels).sum())
  assert moves[1] < moves[0]


@pytest.mark.parametrize("anchor", [-0.1, 1.0, float("nan")])
def test_an_anchor_out_of_range_is_refused(anchor):
  refused(lambda: options(anchor=anchor), "anchor")


class _InterruptAt(Callback):
  def __init__(self, step):
    self._step = step

  def on_train_batch_end(self, state, logs):
    if state.step == self._step:
      os.kill(os.getpid(), signal.SIGINT)


def test_control_c_ends_after_the_present_step_and_restores_its_handler():
  x, y = models.separable(samples=64)
  before = signal.getsignal(signal.SIGINT)
  stop = StopOnInterrupt()
  settings = options(method="sign-m-spsa", steps=10**6, validate_every=2)
  done = tflm_fg.adapt(
    models.dense_model(), x, y, **settings,
    callbacks=[stop, _InterruptAt(7)],
  )  # fmt: skip
  assert stop.interrupted
  assert done.report["steps"] == 7
  assert done.report["kept_step"] in (2, 4, 6, 7)
  assert done.report["interrupted"]
  assert signal.getsignal(signal.SIGINT) is before
