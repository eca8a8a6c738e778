"""Node perturbation gives the gradient of FULLY_CONNECTED layers."""

from __future__ import annotations

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import method_of, options
from tests.refusals import refused
from tflm_fg import journal
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, TrainState
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.node_perturbation import NodeSlopes, layers_of
from tflm_fg.placement.phase import open_for
from tflm_fg.placement.phase_record import Phase, masters_of
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions, installed
from tflm_fg.samples import Dataset
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.build import step_rule
from tflm_fg.training.objective import CLASSIFY, Objective

X, Y = models.separable(96)
TEST = models.separable(seed=1)
MODEL = models.dense_model()
NODE = {"method": "node", "steps": 150}


def softmax(logits):
  p = np.exp(logits - logits.max(axis=1, keepdims=True))
  return p / p.sum(axis=1, keepdims=True)


def test_the_mean_estimate_points_where_the_gradient_does():
  """Of the head, whose gradient is (p - y) x^T."""
  marked = tflm_fg.mark_trainable(MODEL, "head")
  method = method_of("node", num_directions=64)
  everything = tuple(t.index for t in marked.mark.trainable)
  masters = masters_of(marked.data, marked.mark)
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  samples = graph.samples(Dataset(X, Y), "x")
  x, _ = graph.checked(Dataset(X, Y), "x")
  phase = Phase(everything, method, Objective())
  open_phase = open_for(
    phase, marked.data, marked.mark, masters, x, RuntimeOptions()
  )
  layout = Layout(marked.mark.trainable)
  params = layout.gather(masters)
  part = open_phase.graph.part(samples, CLASSIFY)
  rule = step_rule(method, layout, len(samples), part)
  passes = BatchPasses(open_phase.graph.suffix, part.loss, samples)
  kernels, biases = [], []
  for step in range(6):
    state = TrainState(step, params)
    found = rule.estimator.gradient(rule.estimator(passes, state), state)
    kernels.append(found.kernels)
    biases.append(found.biases)
  kernel, bias = marked.mark.trainable
  features = samples.inputs[0].reshape(len(X), -1).astype(float)
  scale = open_phase.graph.logits.scale
  logits = passes.logits(layout.weights(params)) * scale
  residual = softmax(logits) - np.eye(4)[Y]
  (layer,) = layers_of(part)
  truth = residual.T @ (features - layer.input_zero_point)
  truth /= np.reshape(kernel.scales, (-1, 1))

  def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

  assert cosine(np.mean(kernels, axis=0), truth.reshape(-1)) > 0.85
  units = np.array(bias.scales) * np.array(bias.output_step)
  wanted = residual.sum(axis=0) / units
  assert cosine(np.mean(biases, axis=0), wanted) > 0.85


def test_a_coarse_channel_moves_by_fewer_of_its_steps():
  """The slopes are of real weights; each output's kernel has its own scale."""
  marked = tflm_fg.mark_trainable(MODEL, "head")
  layout = Layout(marked.mark.trainable)
  kernel, bias = layout.tensors
  estimator = NodeSlopes(
    layout=layout,
    directions=Directions(layout, 0),
    num_directions=1,
    epsilon_lsb=2.0,
    layers=(),
    loss=None,
  )
  state = TrainState(0, layout.gather(masters_of(marked.data, marked.mark)))
  slopes = np.full(kernel.shape[1] + 1, 1 << 16)
  found = estimator.gradient(Estimate(slopes, slopes[:1]), state)
  z = estimator.directions.at(0, 1).biases[0].astype(int)
  scales = np.array(kernel.scales)
  wanted = z * 65536 * scales.min() / scales
  assert len(set(scales)) == bias.size
  rows = found.kernels.reshape(kernel.shape)
  assert np.abs(rows - wanted[:, None]).max() <= 2
  assert np.array_equal(found.biases, z * 65536)


@pytest.mark.parametrize("runtime", [r for r in installed() if r != "tf"])
@pytest.mark.parametrize("trainable", ["head", "all", "bias"])
def test_it_learns_and_replays_on_every_runtime(trainable, runtime):
  result = tflm_fg.adapt(
    MODEL,
    X,
    Y,
    test=TEST,
    trainable=trainable,
    runtime=runtime,
    **options(**NODE),
  )
  report = result.report
  assert report["loss_after"] < report["loss_before"] - 0.1
  recorded = journal.parse(result.journal.to_bytes())
  assert tflm_fg.replay(recorded, result.start) == result.marked_model


def test_one_seed_gives_the_same_bytes_with_any_number_of_workers():
  one, two, other = (
    tflm_fg.adapt(
      MODEL,
      X,
      Y,
      trainable="all",
      workers=workers,
      **options(**{**NODE, "steps": 20, "seed": seed}),
    )
    for workers, seed in ((1, 0), (2, 0), (1, 1))
  )
  assert one.marked_model == two.marked_model != other.marked_model


@pytest.mark.parametrize("trainable", ["conv", "depthwise/bias", "head/kernel"])
def test_other_layers_are_refused_with_the_cure(trainable):
  x = models.int8_samples((6, 5, 2), 30)
  refused(
    lambda: tflm_fg.adapt(
      models.conv_model(),
      x,
      np.arange(30) % 3,
      trainable=trainable,
      **options(**NODE),
    ),
    "'node'",
    "FULLY_CONNECTED",
  )
