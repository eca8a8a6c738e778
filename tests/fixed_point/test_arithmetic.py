"""Integers stay integers, and saturate in one place."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import models
from tests.sides import require_narrowed
from tflm_fg.fixed_point import arithmetic, masters
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.perturbation import WeightBuffers
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.types import Params, Vectors

integers = st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20)


@given(st.lists(st.integers(-127, 127), min_size=1))
def test_narrowing_a_widened_weight_gives_it_back(values):
  weights = np.array(values, np.int8)
  assert np.array_equal(arithmetic.narrow(arithmetic.widen(weights)), weights)


@given(st.lists(st.integers(-(2**20), 2**20), min_size=1))
def test_narrow_rounds_to_nearest_and_never_leaves_127(values):
  masters = np.array(values, np.int32)
  narrowed = arithmetic.narrow(masters).astype(int)
  assert np.abs(narrowed).max() <= 127
  inside = np.abs(masters) <= 127 * 256
  error = np.abs(narrowed * 256 - masters)[inside]
  assert not error.size or error.max() <= 128


@given(integers, st.integers(1, 20))
def test_round_shift_is_odd_and_within_half(values, bits):
  x = np.array(values, np.int64)
  rounded = arithmetic.round_shift(x, bits)
  assert np.array_equal(arithmetic.round_shift(-x, bits), -rounded)
  assert np.all(np.abs((rounded << bits) - x) * 2 <= 1 << bits)


@given(integers, st.integers(1, 1000))
def test_round_divide_is_odd_and_within_half(values, divisor):
  x = np.array(values, np.int64)
  rounded = arithmetic.round_divide(x, divisor)
  assert np.array_equal(arithmetic.round_divide(-x, divisor), -rounded)
  assert np.all(np.abs(rounded * divisor - x) * 2 <= divisor)


def test_updates_saturate_and_never_wrap():
  params = Params(
    np.array([32500, -32500, 0], np.int16),
    np.array([2**31 - 1, -(2**31)], np.int32),
  )
  step = Vectors(np.array([5000, -5000, 7]), np.array([9, -9]))
  after = masters.apply_updates(params, step)
  assert after.kernels.tolist() == [127 * 256, -127 * 256, 7]
  assert after.biases.tolist() == [2**31 - 1, -(2**31)]
  assert after.kernels.dtype == np.int16
  assert after.biases.dtype == np.int32


@given(
  st.lists(st.integers(-20000, 20000), min_size=3, max_size=3),
  st.lists(st.integers(-9000, 9000), min_size=3, max_size=3),
)
def test_a_step_and_its_undo_give_back_the_same_bytes(start, move):
  params = Params(np.array(start, np.int16), np.array(start, np.int32))
  there = Vectors(np.array(move), np.array(move))
  back = Vectors(-there.kernels, -there.biases)
  after = masters.apply_updates(masters.apply_updates(params, there), back)
  assert np.array_equal(after.kernels, params.kernels)
  assert np.array_equal(after.biases, params.biases)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_layout_of_weights_and_back_is_the_identity(wide, per_channel):
  data = models.conv_model(wide=wide, per_channel=per_channel)
  marked = mark_file(data, "all")
  layout = Layout(marked.mark.trainable)
  weights = weights_of(marked.data, marked.mark.trainable)
  again = layout.weights(layout.params(weights))
  for before, after in zip(weights, again, strict=True):
    assert np.array_equal(before, after)
    assert before.dtype == after.dtype


def test_bias_units_follow_their_channel_and_kernels_count_256():
  marked = mark_file(models.conv_model(), "all")
  layout = Layout(marked.mark.trainable)
  assert set(layout.step_units.kernels) == {256}
  expected = [
    np.resize(t.output_step, t.size)
    for t in marked.mark.trainable
    if t.role == "bias"
  ]
  assert np.array_equal(layout.step_units.biases, np.concatenate(expected))


@pytest.mark.parametrize("wide", [False, True])
def test_both_sides_are_the_narrowed_sum_and_difference(wide):
  marked = mark_file(models.conv_model(wide=wide), "all")
  layout = Layout(marked.mark.trainable)
  params = layout.params(weights_of(marked.data, marked.mark.trainable))
  kept = Params(params.kernels.copy(), params.biases.copy())
  sides, random = WeightBuffers(layout, 3), np.random.default_rng(0)
  for reach in (300, 2**17, 2**31 - 1):
    delta = Vectors(
      random.integers(-min(reach, 2**17), 2**17, (3, layout.num_kernels)),
      random.integers(-reach, reach, (3, layout.num_biases)),
    )
    require_narrowed(layout, params, delta, sides.move(params, delta))
    assert np.array_equal(kept.kernels, params.kernels)
    assert np.array_equal(kept.biases, params.biases)


def test_sides_keep_int32_and_int64_biases_apart():
  marked = mark_file(models.dense_model(wide=True), "all")
  narrow = [
    dataclasses.replace(t, dtype="int32") if t.name == "head/bias" else t
    for t in marked.mark.trainable
  ]
  layout = Layout(tuple(narrow))
  params = layout.params(weights_of(marked.data, marked.mark.trainable))
  delta = Vectors(
    np.zeros((1, layout.num_kernels), np.int32),
    np.full((1, layout.num_biases), 1 << 40),
  )
  for sign, weights in zip(
    (1, -1), WeightBuffers(layout, 1).move(params, delta)
  ):
    want = layout.weights(
      Vectors(params.kernels, params.biases + sign * delta.biases[0])
    )
    for got, array in zip(weights, want, strict=True):
      assert got.dtype == array.dtype
      assert np.array_equal(got, array)


def test_quantize_rounds_to_the_grid_and_saturates():
  x = np.array([0.0, 0.24, 0.26, 100.0, -100.0])
  got = arithmetic.quantize(x, 0.5, 3, "int8")
  assert got.tolist() == [3, 3, 4, 127, -128]
  assert np.abs(arithmetic.dequantize(got[:3], 0.5, 3) - x[:3]).max() <= 0.25


def test_what_was_at_an_end_before_has_not_saturated():
  end = 127 * 256
  before = np.array([end, 0, 5, -7], np.int16)
  after = np.array([end, end, -end, -7], np.int16)
  assert arithmetic.saturated_share(before, after) == 0.5
  assert arithmetic.saturated_share(after[:0], after[:0]) == 0.0


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_clipping_is_numpys(dtype):
  x = np.array([-(1 << 20), -129, -1, 0, 127, 128, 1 << 20], dtype)
  assert np.array_equal(arithmetic.clipped(x, -128, 127), np.clip(x, -128, 127))
  assert arithmetic.clipped(x, -128, 127).dtype == dtype


def test_narrow_integers_saturate_in_a_wider_type():
  x = np.array([-128, 127], np.int8)
  assert arithmetic.saturate(x, np.int16).tolist() == [-128, 127]
  assert arithmetic.saturate(
    np.array([-32768, 32767], np.int16), np.int8
  ).tolist() == [
    -128,
    127,
  ]
