"""Images are spoilt by the stated degree, and never beyond their range."""

import numpy as np
import pytest

from apps.compare.data import corruptions
from tests.refusals import refused


def _images(dtype, peak, size=12, count=6):
  """Smooth shapes: what blur and rotation have something to do to."""
  rows, columns = np.mgrid[:size, :size] / size
  waves = [
    np.sin((2 + i) * rows + i) * np.cos((3 + i) * columns) for i in range(count)
  ]
  x = (np.stack(waves)[..., None] + 1) / 2 * peak
  return np.repeat(x, 2, axis=3).astype(dtype)


@pytest.mark.parametrize("kind", list(corruptions.KINDS))
@pytest.mark.parametrize(
  "dtype, peak", [("uint8", 255), ("float32", 1.0), ("int16", 16)]
)
def test_shape_dtype_and_range_are_kept(kind, dtype, peak):
  x = _images(dtype, peak)
  for severity in corruptions.SEVERITIES:
    spoilt = corruptions.corrupt(x, kind, severity, peak=peak)
    assert spoilt.shape == x.shape
    assert spoilt.dtype == x.dtype
    assert spoilt.min() >= 0
    assert spoilt.max() <= peak


@pytest.mark.parametrize("kind", list(corruptions.KINDS))
def test_a_larger_severity_spoils_more(kind):
  x = _images("float64", 1.0)
  errors = [
    float(np.mean((corruptions.corrupt(x, kind, s, peak=1.0) - x) ** 2))
    for s in corruptions.SEVERITIES
  ]
  assert errors[0] > 0
  assert errors == sorted(set(errors))


@pytest.mark.parametrize("kind", list(corruptions.KINDS))
def test_a_seed_gives_the_same_bytes(kind):
  x = _images("uint8", 255)
  before = x.copy()
  first, second = (corruptions.corrupt(x, kind, 3, seed=5) for _ in range(2))
  assert first.tobytes() == second.tobytes()
  assert np.array_equal(x, before)


def test_noise_alone_depends_on_the_seed():
  x = _images("uint8", 255)
  for kind in corruptions.KINDS:
    one, other = (corruptions.corrupt(x, kind, 3, seed=s) for s in (0, 1))
    assert np.array_equal(one, other) == (kind != "noise")


def test_pixelation_puts_the_mean_of_a_block_everywhere_in_it():
  x = np.arange(16.0).reshape(1, 4, 4, 1)
  spoilt = corruptions.corrupt(x, "pixelation", 4, peak=16.0)
  assert spoilt[0, :2, :2, 0].tolist() == [[2.5, 2.5], [2.5, 2.5]]
  assert spoilt[0, 2:, 2:, 0].tolist() == [[12.5, 12.5], [12.5, 12.5]]


def test_rotation_turns_the_picture_and_not_the_channels():
  x = np.zeros((1, 9, 9, 2))
  x[0, 4, 8] = 1, 0.5  # a spot right of the middle goes up
  spoilt = corruptions.corrupt(x, "rotation", 5, peak=1.0)
  assert spoilt[0, :4, :, 0].sum() > 10 * spoilt[0, 5:, :, 0].sum()
  assert np.allclose(spoilt[..., 1], spoilt[..., 0] / 2)


def test_bad_input_is_refused_in_one_line():
  x = _images("uint8", 255)
  refused(lambda: corruptions.corrupt(x, "rain", 1), "'rain' is unknown")
  refused(lambda: corruptions.corrupt(x, "blur", 6), "severity=6: need 1 to 5")
  refused(lambda: corruptions.corrupt(x[0], "blur", 1), "got uint8 [12, 12, 2]")
