"""Weights that are inputs give what the same weights give as constants."""

import numpy as np
import pytest

from tests import models
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.runtimes.input_weights import InputWeightsSession
from tflm_fg.runtimes.registry import installed, open_session
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import cut
from tflm_fg.tflite.surgery.perturbation_inputs import weights_to_inputs
from tflm_fg.types import TflmFgError

X = models.int8_samples((6, 5, 2), 5)


def opened(runtime, gain=True):
  marked = mark_file(
    models.conv_model(), "prompt", graph_options=GraphOptions(gain=gain)
  )
  part = cut(marked.data, marked.mark).suffix
  flowing = weights_to_inputs(part)
  inner = open_session(runtime, flowing.part)
  plain = open_session(runtime, part)
  return marked, InputWeightsSession(inner, part, flowing.flows), plain


@pytest.mark.parametrize("runtime", installed())
def test_outputs_are_those_of_the_constants(runtime):
  marked, session, plain = opened(runtime)
  assert np.array_equal(session.run((X,))[0], plain.run((X,))[0])
  moved = [np.full(t.shape, 20, np.int8) for t in marked.mark.trainable]
  for one in (session, plain):
    one.load(moved)
  assert np.array_equal(session.run((X,))[0], plain.run((X,))[0])


@pytest.mark.parametrize("runtime", installed())
def test_every_sample_may_have_weights_of_its_own(runtime):
  marked, session, plain = opened(runtime)
  random = np.random.default_rng(0)
  rows = [
    random.integers(20, 90, (len(X), *t.shape[1:])).astype(np.int8)
    for t in marked.mark.trainable
  ]
  session.load(rows)
  (together,) = session.run((X,))
  for i in range(len(X)):
    plain.load([row[i : i + 1] for row in rows])
    assert np.array_equal(together[i : i + 1], plain.run((X[i : i + 1],))[0])


def test_weights_are_given_back_and_written_into_a_file():
  marked, session, _ = opened("litert")
  layout = Layout(marked.mark.trainable)
  assert all(
    np.array_equal(a, b)
    for a, b in zip(
      session.params(), layout.weights(layout.params(session.params()))
    )
  )
  moved = [np.full(t.shape, 7, np.int8) for t in marked.mark.trainable]
  session.load(moved)
  assert all((w == 7).all() for w in session.params())
  assert session.flatbuffer() != cut(marked.data, marked.mark).suffix.data


def test_a_packing_engine_sees_every_value_without_a_new_interpreter():
  _, session, _ = opened("litert-xnnpack")
  (before,) = session.run((X,))
  session.load([np.full_like(w, 100) for w in session.params()])
  (after,) = session.run((X,))
  assert not np.array_equal(before, after)


def test_a_constant_without_an_axis_of_samples_is_refused():
  head = mark_file(models.conv_model(), "head")
  with pytest.raises(TflmFgError, match="no axis of samples"):
    weights_to_inputs(cut(head.data, head.mark).suffix)
