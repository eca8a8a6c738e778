"""A pull holds a head near its start, as much as it is told."""

import dataclasses

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg.fixed_point import pull as pulling
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients import closed_form
from tflm_fg.gradients.closed_form import ClosedForm
from tflm_fg.gradients.dense_passes import DensePasses, dense_layer
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples import Dataset
from tflm_fg.tflite.split_graph import cut
from tflm_fg.training.build import step_rule
from tflm_fg.training.objective import CLASSIFY, loss_of
from tflm_fg.types import TflmFgError

X, Y = models.separable()
MODELS = {
  "int8": models.dense_model(),
  "per-tensor": models.dense_model(per_channel=False),
  "16x8": models.dense_model(wide=True),
}


def pulled(model, pull, steps=42):
  """A head fitted without an engine, and its start."""
  marked = tflm_fg.mark_trainable(model, "head")
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  samples = graph.samples(Dataset(X, Y), "x")
  layout = Layout(marked.mark.trainable)
  start = layout.params(graph.suffix.params())
  method = ClosedForm(pull=pull, learning_rate_lsb=18, steps=steps).filled()
  rule = step_rule(method, layout, len(X), graph.part(samples, CLASSIFY))
  passes = DensePasses(
    layer=dense_layer(
      cut(marked.data, marked.mark).suffix, marked.mark.trainable
    ),
    inputs=samples.inputs,
    labels=samples.labels,
    loss=loss_of(graph.logits),
  )
  state = rule.start(start)
  estimates = []
  for _ in range(steps):
    estimates.append(rule.estimator(passes, state))
    state = rule.advance(state, estimates[-1])
  return state.params, start, estimates, rule


@pytest.mark.parametrize("kind", ["int8", "per-tensor", "16x8"])
def test_a_stronger_pull_ends_nearer_to_the_start(kind):
  distances = []
  for pull in (0.0, 0.03, 0.3, 3.0):
    params, start, *_ = pulled(MODELS[kind], pull)
    moved = params.kernels.astype(float) - start.kernels
    distances.append(float(np.abs(moved).mean()))
  assert distances == sorted(distances, reverse=True)
  assert distances[-1] < distances[0] / 4


def test_no_pull_is_the_gradient_alone():
  params, _, estimates, _ = pulled(MODELS["int8"], 0.0)
  plain, *_ = pulled(MODELS["int8"], 1e-12)
  assert np.array_equal(params.kernels, plain.kernels)
  assert np.array_equal(params.biases, plain.biases)
  assert estimates[0].losses.size == 1


def test_the_pull_ends_where_it_balances_the_gradient():
  _, _, estimates, _ = pulled(MODELS["int8"], 0.3, steps=400)
  # All but a saturated weight stand still.
  first, last = (np.abs(estimates[n].slopes) for n in (0, -1))
  assert np.quantile(last, 0.95) < np.median(first) / 100


def test_a_pull_is_replayed_from_its_slopes():
  params, start, estimates, rule = pulled(MODELS["int8"], 0.1)
  replayer = dataclasses.replace(
    rule,
    estimator=closed_form.ClosedFormHead(
      layout=rule.estimator.layout, head=None
    ),
  )
  state = replayer.start(start)
  for estimate in estimates:
    state = replayer.replayed(state, estimate.slopes.tolist())
  assert np.array_equal(state.params.kernels, params.kernels)
  assert np.array_equal(state.params.biases, params.biases)


@pytest.mark.parametrize("pull", [-1.0, 11.0])
def test_a_pull_out_of_range_is_refused(pull):
  with pytest.raises(TflmFgError, match="pull="):
    ClosedForm(pull=pull)


def test_the_factors_are_what_floats_make_of_lambda_and_the_length():
  for strength in (0.03, 0.1, 10.0):
    for square in (1 / 16, 0.7, 51.1, 4000.0):
      got = pulling.pull_factors(strength, round(square * 65536))
      length = square * 1.1  # the bias counts as 1/10 more
      want = 2 * strength / length, 2 * strength / 10 / 11
      assert [g / 2**24 for g in got] == pytest.approx(
        want, rel=1e-4, abs=2**-24
      )
