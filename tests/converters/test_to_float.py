"""The float32 twin answers as the integer file, and trains without rounding."""

from __future__ import annotations

import functools
import importlib.resources

import numpy as np
import pytest

from apps.compare.methods.float_twin import Twin, cross_entropy, float_gradients
from converters.to_float import real_values, to_float
from tests import models
from tests.options import method_of
from tests.refusals import refused
from tflm_fg.fixed_point.arithmetic import dequantize
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.gradients.directions import Directions
from tflm_fg.placement.phase_record import masters_of
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions, open_session
from tflm_fg.samples import Dataset
from tflm_fg.tflite import model_file
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.batch_passes import BatchPasses

BUILDERS = {
  "conv": models.conv_model,
  "per tensor": functools.partial(models.conv_model, per_channel=False),
  "int16x8": functools.partial(models.conv_model, wide=True),
  "pointwise": models.pointwise_model,
}
X, Y = models.separable()
TRAIN, TEST = (X[:160], Y[:160]), (X[160:], Y[160:])


def both_answers(data, x):
  """Logits of a file and of its twin, real and in steps of the file's."""
  plain = unmarked(data)
  inputs = tensor_spec(data, whole(data, plain).inputs[0])
  logits = tensor_spec(data, plain.logits)
  exact = open_session("litert", whole(to_float(data), plain))
  rounded = open_session("litert", whole(data, plain))
  real = dequantize(x, inputs.scale, inputs.zero_point).astype(np.float32)
  answers = dequantize(rounded.run((x,))[0], logits.scale, logits.zero_point)
  return answers / logits.scale, exact.run((real,))[0] / logits.scale


@pytest.mark.parametrize("kind", BUILDERS)
def test_the_twin_answers_within_the_rounding_of_the_integer_file(kind):
  data = BUILDERS[kind]()
  dtype = "int16" if kind == "int16x8" else "int8"
  x = models.int8_samples((6, 5, 2), 60, dtype=dtype) // 2  # none saturates
  rounded, exact = both_answers(data, x)
  assert rounded.std() > 2
  assert np.abs(rounded - exact).max() < 1.5


def test_the_shipped_spotters_twin_answers_as_it_does():
  """Over 11 rounded layers: 1.7 steps of a logit at most, 0.4 on the mean."""
  files = importlib.resources.files("apps.kws")
  data = files.joinpath("ds_cnn.tflite").read_bytes()
  rounded, exact = both_answers(data, models.int8_samples((49, 40, 1), 20))
  assert rounded.std() > 10
  assert np.abs(rounded - exact).max() < 4
  assert np.abs(rounded - exact).mean() < 0.8


def test_tensors_keep_their_indices_and_none_keeps_a_scale():
  data = models.conv_model()
  old, new = model_file.read(data), model_file.read(to_float(data))
  tensors = list(zip(old.subgraphs[0].tensors, new.subgraphs[0].tensors))
  for before, after in tensors:
    assert before.name == after.name
    assert list(before.shape) == list(after.shape)
    assert after.quantization is None or after.quantization.scale is None
  for tensor in mark_file(data, "all").mark.trainable:
    values = real_values(new, tensor.index)
    assert values.dtype == np.float32
    assert np.allclose(values, real_values(old, tensor.index))


def test_a_constant_stands_for_its_distance_from_the_zero_point():
  """One of a whole tensor, and one of each channel along an axis."""
  net = models.Builder()
  values = np.arange(-6, 6).reshape(2, 3, 2)
  whole_ = net.tensor("whole", (2, 3, 2), "int8", 0.5, -4, data=values)
  rows = net.tensor("rows", (2, 3, 2), "int8", [1, 2, 3], 5, 1, data=values)
  model = net.model
  assert np.array_equal(real_values(model, whole_), (values + 4) * 0.5)
  scales = np.array([1, 2, 3]).reshape(1, 3, 1)
  assert np.array_equal(real_values(model, rows), (values - 5) * scales)


def test_requantizing_operators_let_floats_through():
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  finer = net.activation("finer", (1, 8), 2.0)
  net.operator("QUANTIZE", [x.index], finer.index, version=2)
  flow = net.dense(finer, 4, "head", reach=8.0)
  data = net.finish([x.index], [flow.index])
  samples = models.int8_samples((8,), 30) // 3
  rounded, exact = both_answers(data, samples)
  assert np.abs(rounded - exact).max() < 3
  names = model_file.ModelFile.open(to_float(data)).operator_names
  assert names == ("CAST", "FULLY_CONNECTED")


def test_what_has_no_float_twin_is_refused_in_one_line():
  wide = mark_file(models.deep_model(), "wide-head").data
  refused(lambda: to_float(wide, "m.tflite"), "m.tflite", "another scale")
  refused(
    lambda: float_gradients(
      models.dense_model(), method_of("node"), TRAIN, TEST
    ),
    "'node'",
    "sign-m-spsa, spsa",
  )


@pytest.mark.parametrize(
  "field",
  [
    {"anchor": 0.1},
    {"rounding": "stochastic"},
    {"precision": "8w8a"},
    {"patience": 3},
    {"validation_fraction": 0.3},
  ],
)
def test_a_setting_that_the_float_reference_has_not_is_refused(field):
  settings = method_of("spsa", steps=2, **field)
  (name,) = field
  refused(
    lambda: float_gradients(models.dense_model(), settings, TRAIN, TEST),
    f"{name}={field[name]}",
  )


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_a_perturbed_loss_is_the_integer_files_within_its_rounding(trainable):
  """The same direction, of the same size, moves both losses alike."""
  marked = mark_file(models.dense_model(), trainable)
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions(workers=1))
  samples = graph.samples(Dataset(*TRAIN), "train")
  passes = BatchPasses(graph.suffix, graph.loss(), samples)
  layout = Layout(marked.mark.trainable)
  params = layout.gather(masters_of(marked.data, marked.mark))
  method = method_of("sign-m-spsa", epsilon_lsb=4.0, learning_rate_lsb=1.0)
  estimator = method.estimator(layout, len(samples))
  twin = Twin.of(marked)
  held = twin.samples(TRAIN)
  pairs = []
  for step in range(8):
    plus, minus = estimator(passes, TrainState(step, params)).losses
    z = Directions(layout, 0).flat_at(step, 1)[0] * 4.0 * twin.steps
    exact = [
      cross_entropy(twin.logits(twin.start + side, held), held.labels)
      for side in (z, -z)
    ]
    nats = np.array([plus, minus]) * np.log(2) / 65536
    assert np.allclose(nats, exact, rtol=0.05)
    pairs.append((nats[0] - nats[1], exact[0] - exact[1]))
  assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.98


@pytest.mark.parametrize("method", ["sign-m-spsa", "spsa"])
def test_float_gradients_descend_and_one_seed_gives_the_same_bytes(method):
  settings = method_of(
    method, steps=150, validate_every=50, momentum=0.5, seed=3
  )
  run = float_gradients(models.dense_model(), settings, TRAIN, TEST, "all")
  again = float_gradients(models.dense_model(), settings, TRAIN, TEST, "all")
  assert run.model == again.model
  assert run.scores == again.scores
  assert [score.passes for score in run.scores] == [0, 100, 200, 300]
  assert run.scores[-1].loss < 0.6 * run.scores[0].loss
  assert run.scores[-1].accuracy > run.scores[0].accuracy + 0.2
  assert run.settings.epsilon_lsb is not None


def test_rebuilding_trains_alike():
  """XNNPACK sums in another order, which moves no sign of these steps."""
  settings = method_of("spsa", steps=40, validate_every=40, epsilon_lsb=4.0)
  scores = [
    float_gradients(
      models.dense_model(), settings, TRAIN, TEST, "all", strategy
    ).scores[-1]
    for strategy in ("in-place", "rebuild")
  ]
  assert abs(scores[0].loss - scores[1].loss) < 1e-3


def test_the_trained_file_is_the_one_scored_last():
  settings = method_of("sign-m-spsa", steps=40, validate_every=40)
  marked = mark_file(models.dense_model(), "all")
  run = float_gradients(marked.data, settings, TRAIN, TEST)
  session = open_session("litert", whole(run.model, marked.mark))
  logits = session.run((TEST[0],))[0]
  accuracy = float((logits.argmax(axis=1) == TEST[1]).mean())
  assert accuracy == run.scores[-1].accuracy
