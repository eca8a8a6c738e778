"""What the closed form leaves open is chosen by its inputs and its logits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.refusals import refused
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.losses.information_maximization import InformationMaximisation
from tflm_fg.losses.squared_error import Grid, SquaredError
from tflm_fg.methods import ClosedForm
from tflm_fg.tflite import model_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.training.exact_settings import (
  MANY_INPUTS,
  MOST_GAIN,
  NARROW,
  exact,
)

WIDE = CrossEntropy(0.1)
X, Y = models.separable()


def head(inputs: int) -> Layout:
  marked = tflm_fg.mark_trainable(models.dense_model(), "head/kernel")
  (kernel,) = marked.mark.trainable
  return Layout((dataclasses.replace(kernel, shape=(4, inputs)),))


@pytest.mark.parametrize(
  ("inputs", "rate"),
  [(1, 12), (64, 18), (144, 27), (576, 36), (1280, 16.2), (9000, 12)],
)
def test_the_rate_grows_with_the_inputs_and_falls_behind_576(inputs, rate):
  filled, why = exact(ClosedForm(), head(inputs), WIDE)
  assert filled.learning_rate_lsb == rate
  assert f"{inputs} inputs" in why["learning_rate_lsb"]
  assert filled.logit_gain == 0.0


@pytest.mark.parametrize(
  ("scale", "gain"), [(0.02, 4), (0.05, 2), (1e-6, MOST_GAIN)]
)
def test_logits_that_reach_too_few_nats_count_more(scale, gain):
  loss = CrossEntropy(scale)
  filled, why = exact(ClosedForm(), head(MANY_INPUTS), loss)
  assert filled.logit_gain == gain
  assert f"{255 * scale:.3g} nats" in why["logit_gain"]
  assert gain == MOST_GAIN or NARROW <= 255 * scale * gain < 2 * NARROW


def test_what_is_given_stays():
  given = ClosedForm(learning_rate_lsb=3.0, logit_gain=1.0)
  assert exact(given, head(MANY_INPUTS), CrossEntropy(0.01)) == (given, {})


def test_few_inputs_wide_logits_and_squares_have_no_gain():
  many, few = head(MANY_INPUTS), head(MANY_INPUTS - 1)
  assert exact(ClosedForm(), few, CrossEntropy(0.01))[0].logit_gain == 0.0
  assert exact(ClosedForm(), many, WIDE)[0].logit_gain == 0.0
  square = SquaredError(grid=Grid(scale=0.001, zero_point=0, bits=8))
  assert exact(ClosedForm(), many, square)[0].logit_gain == 0.0


def test_a_gain_under_a_loss_that_has_none_is_refused():
  square = SquaredError(grid=Grid(scale=0.001, zero_point=0, bits=8))
  assert square.magnified(1.0) is square
  unlabelled = InformationMaximisation(0.01)
  assert unlabelled.magnified(1.0) is unlabelled
  assert isinstance(unlabelled.magnified(2.0), InformationMaximisation)
  refused(lambda: square.magnified(4.0), "logit_gain=4", "leave it out")
  refused(lambda: ClosedForm(logit_gain=65.0), "logit_gain=65.0: need 0 to 64")


def rescaled(factor: float) -> bytes:
  """The dense model whose last layer and logits have other scales."""
  model = model_file.read(models.dense_model())
  graph = model.subgraphs[0]
  head = [op for op in graph.operators if len(op.inputs) == 3][-1]
  for index in (head.inputs[1], head.inputs[2], head.outputs[0]):
    quantization = graph.tensors[index].quantization
    quantization.scale = np.float32(quantization.scale * np.float32(factor))
  return model_file.pack(model)


def trained(model: bytes, **settings) -> tuple[bytes, float]:
  method = ClosedForm(learning_rate_lsb=18.0, **settings)
  result = tflm_fg.adapt(model, X, Y, trainable="head", method=method)
  marked = tflm_fg.mark_trainable(result.model, "head")
  kernels = [
    w.tobytes() for w in weights_of(marked.file, marked.mark.trainable)
  ]
  return b"".join(kernels), result.report["phases"][0]["saturated"]


def test_a_gain_trains_as_larger_scales_would_and_leaves_the_file_its_own():
  narrow, wide = rescaled(1 / 4), rescaled(1.0)
  assert trained(narrow, logit_gain=4.0) == trained(wide, logit_gain=1.0)


def test_narrow_logits_saturate_more_weights_without_a_gain():
  narrow = rescaled(1 / 32)
  with pytest.warns(UserWarning, match="ended at -127 or 127"):
    _, without = trained(narrow)
    _, chosen = trained(narrow, logit_gain=32.0)
  assert chosen < without
