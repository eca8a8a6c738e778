"""One conformance suite: every engine runs every form of streaming model."""

import functools

import numpy as np
import pytest

from tests import models
from tests.stream_models import stream_model, svdf_model
from tflm_fg.runtimes.registry import installed
from tflm_fg.streaming import StreamModel

MODELS = {
  "variables": stream_model(),
  "three classes": stream_model(outputs=3, bends="SOFTMAX"),
  "other first state": stream_model(initial=40),
  "never set": stream_model("unset"),
  "external": stream_model("external"),
  "logits": stream_model(bends=""),
  "int8 answer": stream_model(signed=True),
  "lstm": models.recurrent_model(),
  "svdf": svdf_model(),
  "no state": models.dense_model(),
  "1x1 convolution": models.pointwise_model(),
}
LENGTH = 40


@pytest.fixture(params=installed())
def runtime(request):
  return request.param


@pytest.fixture(params=MODELS, ids=str)
def model(request, runtime):
  return opened(request.param, runtime)


@functools.cache
def opened(kind, runtime, state="auto"):
  return StreamModel.open(MODELS[kind], runtime, state=state)


def stream(model, seed=0, length=LENGTH):
  return models.int8_samples(model.step_shape, length, seed=seed)


def other_head(model, seed=1):
  """A head whose answers are not those of the file's own."""
  random = np.random.default_rng(seed)
  weights = model.head.weights
  return (
    random.integers(-127, 128, weights.shape).astype(np.int8),
    model.head.bias + random.integers(-90, 90, len(weights)).astype(np.int32),
  )


def test_every_stream_starts_from_the_same_state(model):
  x, soil = stream(model), stream(model, seed=5)
  first = model.run(x)
  model.run(soil)
  assert len(np.unique(first)) > 3
  assert np.array_equal(model.run(x), first)
  assert np.array_equal(model.run(x[:7]), first[:7])


def test_a_stream_with_state_depends_on_what_came_before(model):
  x = stream(model)
  later = model.run(x[9:])
  same = np.array_equal(later, model.run(x)[9:])
  assert same == (not model.state)


def test_prefix_then_suffix_equals_the_whole(model):
  x = stream(model)
  read = model.head_inputs(x)
  assert read.dtype == np.int8
  assert read.shape == (LENGTH, model.head.num_features)
  assert np.array_equal(model.head_outputs(read), model.run(x))


def test_a_new_head_gives_in_the_file_what_it_gives_in_the_suffix(model):
  x, head = stream(model), other_head(model)
  read = model.head_inputs(x)
  written = StreamModel.open(model.with_head(*head), model.runtime)
  wanted = model.head_outputs(read, *head)
  assert not np.array_equal(wanted, model.run(x))
  assert np.array_equal(written.run(x), wanted)
  assert np.array_equal(model.head_outputs(read), model.run(x))


def test_a_stepper_gives_what_a_run_gives_and_starts_anew(model):
  x = stream(model, length=12)
  wanted = model.run(x)
  one, other = model.stepper(), model.stepper()
  for number, step in enumerate(x):
    assert np.array_equal(one.step(step), wanted[number])
    if number == 3:
      other.step(step)
  one.reset()
  assert np.array_equal(np.stack([one.step(s) for s in x]), wanted)


@pytest.mark.parametrize("kind", ["variables", "other first state"])
def test_external_state_gives_the_bytes_that_variables_give(kind, runtime):
  own, outside = (
    opened(kind, runtime, state) for state in ("variables", "external")
  )
  x = stream(own, length=80)
  assert np.array_equal(own.run(x), outside.run(x))
  assert np.array_equal(own.head_inputs(x), outside.head_inputs(x))
