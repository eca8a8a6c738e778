"""The demo's curves are of the weights that training really had."""

import tflm_fg
from apps.kws.model import learning_curve
from tests import models

MODEL, (X, Y) = models.dense_model(), models.separable()
RUNTIME = "litert-reference"


def adapted(trainable, **settings):
  return tflm_fg.adapt(
    MODEL,
    X,
    Y,
    trainable=trainable,
    runtime=RUNTIME,
    exact_prefix=True,
    method=tflm_fg.methods.Auto(**settings),
  )


def accuracy(model):
  return tflm_fg.evaluate(model, X, Y, runtime=RUNTIME)["accuracy"]


def test_a_closed_form_has_a_point_a_step_from_before_to_after():
  result = adapted("head", steps=7)
  (phase,) = learning_curve.curve_of(result, (X, Y), RUNTIME)
  assert phase.title == learning_curve.EXACT
  assert phase.passes == list(range(8))
  assert phase.accuracies[0] == accuracy(MODEL)
  assert phase.accuracies[-1] == accuracy(result.model)
  assert len({*phase.accuracies}) > 1


def test_the_next_phase_begins_where_the_one_before_ended():
  result = adapted("first-bias,head", steps=6)
  first, second = learning_curve.curve_of(result, (X, Y), RUNTIME)
  assert first.title == "input stage: per-sample"
  assert first.passes[0] == 0
  assert first.passes[-1] == second.passes[0]
  assert first.accuracies[-1] == second.accuracies[0]
  assert second.accuracies[-1] == accuracy(result.model)


def test_a_long_phase_has_points_at_some_of_its_steps():
  method = tflm_fg.methods.SignSPSA(
    steps=300, epsilon_lsb=4, learning_rate_lsb=0.5, validate_every=10
  )
  result = tflm_fg.adapt(MODEL, X, Y, trainable="head", method=method)
  (phase,) = learning_curve.curve_of(result, (X, Y))
  kept = result.journal.records[0].kept_step
  assert 2 < len(phase.passes) <= learning_curve.MOST_POINTS
  assert phase.passes[-1] == 2 * kept
