"""Estimates against Keras: direction, descent and where training ends."""

import numpy as np
import pytest

import tflm_fg
from converters import quantize
from tests import models
from tests.climbing import reverse_rates
from tests.options import FORWARD, method_of, options
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples import Dataset
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.training.build import step_rule
from tflm_fg.training.objective import loss_of

pytestmark = pytest.mark.tensorflow

CLASSES, INPUTS, HIDDEN = 4, 8, 32
X, Y = models.separable(samples=240, inputs=INPUTS, classes=CLASSES)
DRAWS = 300


@pytest.fixture(scope="module")
def network():
  """A small Keras classifier, trained on some of the classes only."""
  import keras

  keras.utils.set_random_seed(1)
  net = keras.Sequential(
    [
      keras.Input((INPUTS,)),
      keras.layers.Dense(HIDDEN, activation="relu", name="hidden"),
      keras.layers.Dense(CLASSES, name="head"),
    ]
  )
  net.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
  some = np.flatnonzero(Y < 2)
  net.fit(X[some], Y[some], epochs=3, batch_size=16, verbose=0)
  return net


@pytest.fixture(scope="module", params=["int8", "int16"])
def converted(request, network):
  return quantize.to_integer(network, X, request.param)


def keras_gradient(network, name):
  """Gradient of the mean loss by a layer's kernel, [out, in] as in TFLite."""
  import tensorflow

  layer = network.get_layer(name)
  with tensorflow.GradientTape() as tape:
    logits = network(X, training=False)
    loss = tensorflow.reduce_mean(
      tensorflow.nn.sparse_softmax_cross_entropy_with_logits(Y, logits)
    )
  gradient = tape.gradient(loss, layer.kernel.value)
  return gradient.numpy().T


def mean_cosine(data, pattern, truth, method, **settings):
  """Mean cosine, over draws, of the estimate with the true gradient."""
  marked = tflm_fg.mark_trainable(data, pattern)
  (tensor,) = marked.mark.trainable
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  samples = graph.samples(Dataset(X, Y), "x")
  layout = Layout(marked.mark.trainable)
  params = layout.params(weights_of(marked.data, marked.mark.trainable))
  own = method_of(method, epsilon_lsb=4.0, learning_rate_lsb=1.0, **settings)
  estimator = step_rule(own, layout, len(samples)).estimator

  passes = BatchPasses(graph.suffix, loss_of(graph.logits), samples)
  per_step = (truth * np.array(tensor.scales)[:, None]).reshape(-1)
  cosines = []
  for step in range(DRAWS):
    state = TrainState(step, params)
    estimate = estimator(passes, state)
    gradient = estimator.gradient(estimate, state).kernels.astype(float)
    size = np.linalg.norm(gradient) * np.linalg.norm(per_step)
    cosines.append(gradient @ per_step / size if size else 0.0)
  return float(np.mean(cosines)), per_step.size


@pytest.mark.parametrize("layer", ["head", "hidden"])
@pytest.mark.parametrize(
  ("method", "m"), [("spsa", 1), ("sign-m-spsa", 1), *((f, 4) for f in FORWARD)]
)
def test_cosine_with_the_keras_gradient_follows_theory(
  network, converted, method, layer, m
):
  """It is sqrt(m / (d + m)) for SPSA, one-sided too, sqrt(m / d) for the
  projection, and sqrt(2 m / (pi d)) where signs are kept.

  One direction is one line whatever its slope, so m = 1 is the mean |cos| of
  a random direction, sqrt(2 / (pi d)), for all. The margin covers 300 draws,
  the size of the perturbation, and int8 logits.
  """
  truth = keras_gradient(network, layer)
  cosine, d = mean_cosine(
    converted, f"(?i){layer}.*/MatMul", truth, method, num_directions=m
  )
  if m == 1:
    expected = (2 / (np.pi * d)) ** 0.5  # |cos| of one random direction
  elif method in ("spsa", "one-sided"):
    expected = (m / (d + m)) ** 0.5
  elif method == "multi-tangent":
    expected = (m / d) ** 0.5
  else:
    expected = (2 * m / (np.pi * d)) ** 0.5
  assert cosine == pytest.approx(expected, rel=0.15)


def test_a_reversed_sign_climbs_in_the_interpreter(converted, monkeypatch):
  reverse_rates(monkeypatch)
  settings = options(
    method="sign-m-spsa",
    steps=800,
    learning_rate_lsb=0.5,
    validation_fraction=0.0,
  )
  report = tflm_fg.adapt(converted, X, Y, **settings).report
  assert report["loss_after"] > 1.2 * report["loss_before"]


TEST = models.separable(600, INPUTS, CLASSES, seed=5)


@pytest.fixture(scope="module")
def backpropagation(network):
  """The accuracy of the same network whose head Keras has trained."""
  import keras

  clone = keras.models.clone_model(network)
  clone.set_weights(network.get_weights())
  clone.get_layer("hidden").trainable = False
  clone.compile(
    keras.optimizers.Adam(0.02),
    keras.losses.SparseCategoricalCrossentropy(True),
  )
  clone.fit(X, Y, epochs=60, batch_size=60, verbose=0)
  predicted = clone.predict(TEST[0], verbose=0).argmax(axis=1)
  return (predicted == TEST[1]).mean()


def test_adapting_ends_within_three_points_of_keras_backpropagation(
  converted, backpropagation
):
  reached = [
    tflm_fg.adapt(converted, X, Y, test=TEST, **options(seed=seed)).report
    for seed in range(3)
  ]
  mean = np.mean([r["accuracy_after"] for r in reached])
  assert reached[0]["accuracy_before"] < 0.8
  assert mean > backpropagation - 0.03
