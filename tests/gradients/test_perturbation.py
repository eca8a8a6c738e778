"""Perturbed weights are the masters plus and minus epsilon times z."""

import numpy as np
import pytest

from tests import models
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.perturbation import EPSILON_BITS, PerturbedWeights
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.types import Params

MARKED = mark_file(models.dense_model(), "head")
LAYOUT = Layout(MARKED.mark.trainable)


def middle():
  """Masters in the middle of their range, so that nothing saturates."""
  params = LAYOUT.params(weights_of(MARKED.data, MARKED.mark.trainable))
  return Params(params.kernels // 4 // 256 * 256, params.biases)


def perturbed(z, unit, epsilon_lsb):
  numbers = LAYOUT.num_kernels + LAYOUT.num_biases
  drawn = np.full((1, numbers), z, np.int8)
  made = PerturbedWeights(
    layout=LAYOUT,
    unit=unit,
    epsilon=epsilon_lsb << EPSILON_BITS,
    count=1,
  )
  ((up, down),) = made.weight_sets(middle(), drawn, 0)
  return up, down


def test_kernels_are_rounded_with_the_dither_of_their_step():
  drawn = np.zeros((1, LAYOUT.num_kernels + LAYOUT.num_biases), np.int8)
  made = PerturbedWeights(
    layout=LAYOUT,
    unit=1,
    epsilon=1 << EPSILON_BITS,
    count=1,
    dither=lambda step: np.full(LAYOUT.num_kernels, step, np.int32),
  )
  masters = middle()._replace(kernels=middle().kernels + 100)
  for step, up in ((155, 0), (156, 1)):  # 100 + 156 is a whole step
    ((found, same),) = made.weight_sets(masters, drawn, step)
    kernel = masters.kernels.reshape(found[0].shape) // 256
    assert np.array_equal(found[0], kernel + up)
    assert np.array_equal(found[0], same[0])


@pytest.mark.parametrize(("z", "unit"), [(1, 1), (-1, 1), (32, 32), (-64, 32)])
@pytest.mark.parametrize("epsilon_lsb", [1, 4])
def test_each_side_lies_epsilon_times_z_away_in_steps(z, unit, epsilon_lsb):
  up, down = perturbed(z, unit, epsilon_lsb)
  at = LAYOUT.weights(middle())
  steps = epsilon_lsb * z // unit
  for tensor, here, plus, minus in zip(LAYOUT.tensors, at, up, down):
    own = steps if tensor.has_master else steps * np.array(tensor.output_step)
    assert np.array_equal(plus.astype(int) - here, 0 * here.astype(int) + own)
    assert np.array_equal(minus.astype(int) - here, 0 * here.astype(int) - own)
