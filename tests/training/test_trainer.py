"""The loop trains as many steps as it is asked for, and reports every one."""

import numpy as np
import pytest

from tests import models
from tests.options import method_of
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.training.build import step_rule
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.data import Batches
from tflm_fg.training.trainer import fit
from tflm_fg.types import Samples

MARKED = mark_file(models.dense_model(), "head")
PART = whole(MARKED.data, MARKED.mark)
LAYOUT = Layout(MARKED.mark.trainable)
METHOD = method_of(
  "sign-m-spsa", steps=7, epsilon_lsb=4.0, learning_rate_lsb=3.0
)


class Looks(Callback):
  """Remembers at which steps the samples kept aside were scored."""

  def __init__(self):
    self.steps = []

  def on_test_end(self, state, logs):
    self.steps.append(state.step)


def samples(count, seed):
  x = models.int8_samples((8,), count, seed)
  return Samples((x,), np.arange(count) % 4)


VALIDATION = samples(9, 1)


def fitted(callbacks=(), validation=VALIDATION, **options):
  session = open_session("litert", PART)
  own = samples(24, 0)
  batches = Batches(len(own), 8, 0)
  rule = step_rule(METHOD, LAYOUT, batches.size)
  state = fit(
    session=session,
    step_rule=rule,
    loss=CrossEntropy(8 / 127),
    samples=own,
    batches=batches,
    state=rule.start(LAYOUT.params(session.params())),
    steps=METHOD.steps,
    validation=validation,
    callbacks=callbacks,
    **options,
  )
  return session, state


@pytest.mark.parametrize("validation", [VALIDATION, None])
def test_the_session_is_left_with_the_last_states_weights(validation):
  session, state = fitted(validation=validation)
  held = zip(session.params(), LAYOUT.weights(state.params), strict=True)
  assert all(np.array_equal(a, b) for a, b in held)
  assert state.step == METHOD.steps
  start = open_session("litert", PART).params()
  assert not np.array_equal(start[0], session.params()[0])


def test_samples_kept_aside_are_scored_first_in_between_and_last():
  looks = Looks()
  fitted([looks], validate_every=3)
  assert looks.steps == [0, 3, 6, 7]


def test_they_are_scored_last_too_where_a_callback_stops():
  class Stop(Callback):
    def on_train_batch_end(self, state, logs):
      self.stop_training = state.step == 5

  looks = Looks()
  _, state = fitted([looks, Stop()], validate_every=3)
  assert state.step == 5
  assert looks.steps == [0, 3, 5]
