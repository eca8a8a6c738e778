"""Samples come onto the input's grid, or are refused in one line."""

import tracemalloc

import numpy as np
import pytest

from tflm_fg.samples import model_input, units
from tflm_fg.types import TensorSpec, TflmFgError

INT8 = TensorSpec((1, 2, 3), "int8", 0.5, 10)


def test_floats_land_on_the_models_grid():
  x = np.array([[[0.0, 0.5, 1.0], [-0.5, 58.6, -69.4]]])
  got = model_input(x, INT8)
  assert got.dtype == np.int8
  assert got.tolist() == [[[10, 11, 12], [9, 127, -128]]]


def test_integers_of_the_inputs_dtype_pass_untouched():
  x = np.arange(6, dtype=np.int8).reshape(1, 2, 3)
  assert model_input(x, INT8) is x


def test_float_models_take_floats():
  x = np.ones((2, 2, 3))
  got = model_input(x, TensorSpec((1, 2, 3), "float32", 0.0, 0))
  assert got.dtype == np.float32


@pytest.mark.parametrize(
  ("x", "message"),
  [
    (np.zeros((0, 2, 3), np.float32), "no samples"),
    (np.float32(3), "no samples"),
    (
      np.zeros((4, 3, 2), np.float32),
      r"shape \[3, 2\], the model takes \[2, 3\]",
    ),
    (np.full((1, 2, 3), np.nan), "NaN or infinity"),
    (np.full((1, 2, 3), np.inf), "NaN or infinity"),
    (np.zeros((1, 2, 3), np.int32), "dtype int32, the model takes int8"),
    (np.zeros((1, 2, 3), np.uint8), "dtype uint8"),
  ],
)
def test_samples_that_do_not_fit_are_refused(x, message):
  with pytest.raises(TflmFgError, match=message):
    model_input(x, INT8)


def test_floats_in_other_units_are_warned_of():
  with pytest.warns(UserWarning, match="are they in the units"):
    model_input(np.full((2, 2, 3), 1e3), INT8)


IMAGE = TensorSpec((1, 4, 3, 1), "int8", 1 / 255, -128)
COLOURS = TensorSpec((1, 4, 6, 3), "int8", 1 / 255, -128)
WINDOW = TensorSpec((1, 5, 2), "int8", 0.5, 0)


@pytest.mark.parametrize(
  "shape", [(4, 3), (4, 3, 1), (1, 4, 3), (12,), (12, 1), (1, 12)]
)
def test_axes_of_one_and_flat_samples_are_unambiguous(shape):
  x = np.random.default_rng(0).random((5, 4, 3, 1))
  got = model_input(x.reshape(5, *shape), IMAGE)
  assert np.array_equal(got, model_input(x, IMAGE))


def test_a_flat_input_takes_images_row_by_row():
  flat = TensorSpec((1, 12), "int8", 1 / 255, -128)
  x = np.random.default_rng(0).random((5, 4, 3))
  assert np.array_equal(
    model_input(x, flat), model_input(x.reshape(5, 12), flat)
  )


@pytest.mark.parametrize(
  ("shape", "spec", "cure"),
  [
    ((3, 4, 6), COLOURS, r"channels first .* x.transpose\(0, 2, 3, 1\)"),
    ((6, 4, 3), COLOURS, r"swapped: give x.transpose\(0, 2, 1, 3\)"),
    ((8, 12, 3), COLOURS, "resize them first"),
    ((4, 6, 1), COLOURS, r"grey .* np.repeat\(x, 3, -1\)"),
    ((4, 6), COLOURS, r"grey .* np.repeat\(x\[..., None\], 3, -1\)"),
    ((4, 6, 4), COLOURS, r"give x\[..., :3\]"),
    ((72,), COLOURS, r"reshape\(-1, 3, 4, 6\).transpose"),
    ((4, 3, 3), IMAGE, "model takes grey"),
    ((2, 5), WINDOW, r"give x.transpose\(0, 2, 1\)"),
    ((11,), IMAGE, r"shape \[11\], the model takes \[4, 3, 1\]"),
  ],
)
def test_a_shape_that_does_not_fit_is_refused_with_what_cures_it(
  shape, spec, cure
):
  x = np.zeros((2, *shape))
  with pytest.raises(TflmFgError, match=cure):
    model_input(x, spec)


def test_the_cures_for_shapes_cure():
  x = np.random.default_rng(0).random((2, 4, 6, 3))
  first = x.transpose(0, 3, 1, 2)
  right = model_input(x, COLOURS)
  assert np.array_equal(
    model_input(first.transpose(0, 2, 3, 1), COLOURS), right
  )
  planes = first.reshape(2, -1).reshape(-1, 3, 4, 6).transpose(0, 2, 3, 1)
  assert np.array_equal(model_input(planes, COLOURS), right)
  grey = x @ [[0.299], [0.587], [0.114]]
  assert model_input(np.repeat(grey, 3, -1), COLOURS).shape == right.shape


def test_a_single_sample_is_told_apart_from_many():
  with pytest.raises(TflmFgError, match=r"single sample\? give x\[None\]"):
    model_input(np.zeros((4, 3, 1)), IMAGE)


@pytest.mark.parametrize(
  ("dtype", "scale", "point"),
  [
    ("int8", 1 / 255, -128),
    ("int8", 1.0, -128),
    ("int8", 1 / 127.5, -1),
    ("int8", 0.00390625, -128),
    ("int16", 255 / 32767, 0),
  ],
)
def test_pixels_land_where_floats_in_the_models_units_do(dtype, scale, point):
  spec = TensorSpec((1, 256), dtype, scale, point)
  pixels = np.arange(256, dtype=np.uint8)[None]
  ends = units.reach(spec)
  low = -1.0 if ends[0] < -0.9 and dtype == "int8" else 0.0
  high = 255.0 if ends[1] > 2 else 1.0
  floats = low + pixels / 255 * (high - low)
  got = model_input(pixels, spec)
  # A point of -1 puts every pixel half way between two steps.
  apart = got.astype(int) - model_input(floats, spec)
  assert np.abs(apart).max() <= (point == -1)
  assert abs(int(got[0, 255]) - int(got[0, 0])) >= 254


def test_pixels_for_a_float_input_take_the_grid_behind_it():
  pixels = np.array([[0, 51, 255]], np.uint8)
  spec = TensorSpec((1, 3), "float32", 0.0, 0, grid=("int8", 1 / 255, -128))
  assert model_input(pixels, spec).tolist() == [
    pytest.approx([0.0, 0.2, 1.0], abs=1e-6)
  ]


@pytest.mark.parametrize(
  "spec",
  [
    TensorSpec((1, 3), "int8", 0.0192, -1),
    TensorSpec((1, 3), "int16", 1 / 32767, 0),
    TensorSpec((1, 3), "float32", 0.0, 0),
  ],
)
def test_pixels_in_doubt_are_refused_with_the_cure(spec):
  with pytest.raises(TflmFgError, match="does not say what the pixels 0 and"):
    model_input(np.zeros((2, 3), np.uint8), spec)


def test_nan_is_refused_with_its_place():
  x = np.zeros((5, 2, 3))
  x[2, 1, 0] = np.nan
  x[4, 0, 0] = np.inf
  with pytest.raises(
    TflmFgError, match=r"in 2 samples of 5, first NaN in sample 2 at \[1, 0\]"
  ):
    model_input(x, INT8)


@pytest.mark.parametrize(
  ("x", "spec", "cause"),
  [
    (np.arange(256.0), (1 / 255, -128), "raw pixels; divide by 255"),
    (np.arange(256.0), (1 / 127.5, -1), "raw pixels; give x / 127.5 - 1"),
    (np.linspace(-1, 1, 256), (1 / 255, -128), r"-1 to 1; give \(x \+ 1\) / 2"),
    (np.linspace(-9e3, 9e3, 256), (1 / 127.5, -1), "16-bit .* by 32768"),
    (np.linspace(0, 99, 256), (0.0192, -1), "are they in the units"),
  ],
)
def test_samples_outside_the_range_are_warned_of_with_the_cause(x, spec, cause):
  with pytest.warns(UserWarning, match=cause):
    model_input(x[None], TensorSpec((1, 256), "int8", *spec))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_samples_take_no_wide_copy_of_all(dtype):
  """float64 of all samples took eight times a model's input."""
  x = np.random.default_rng(0).integers(0, 255, (600, 64, 64, 1))
  x = x.astype(dtype)
  spec = TensorSpec((1, 64, 64, 1), "int8", 1.0, -128)
  tracemalloc.start()
  try:
    made = model_input(x, spec)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert np.array_equal(made, x.astype(int) - 128)
  assert peak < made.nbytes + (12 << 20) < 8 * made.size
