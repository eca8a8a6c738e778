"""Directions are drawn again, never stored, and each tensor has its own."""

import numpy as np
import pytest

from tests import models
from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.directions import KINDS as KINDS_OF_DRAWS
from tflm_fg.gradients.directions import NORMAL_UNIT, Directions
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.types import TflmFgError

KINDS = ["rademacher", "normal"]


def layout_of(trainable="all"):
  return Layout(mark_file(models.conv_model(), trainable).mark.trainable)


@pytest.mark.parametrize("kind", KINDS)
def test_replayed_direction_equals_first_draw(kind):
  layout = layout_of()
  first = Directions(layout, 7, kind)
  drawn = [first.at(step, 3) for step in range(300)]
  again = Directions(layout, 7, kind)
  for step in (299, 0, 128, 5, 127):
    for a, b in zip(drawn[step], again.at(step, 3)):
      assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_drawing_many_steps_at_once_equals_one_by_one(kind):
  directions = Directions(layout_of(), 3, kind)
  together = directions.draw(np.arange(5), 2)
  for step in range(5):
    alone = directions.draw(np.array([step]), 2)
    assert np.array_equal(together.kernels[step], alone.kernels[0])
    assert np.array_equal(together.biases[step], alone.biases[0])


def test_a_tensor_keeps_its_draw_whatever_else_trains():
  everything, head = layout_of("all"), layout_of("head")
  wide = Directions(everything, 1).at(4, 1)
  narrow = Directions(head, 1).at(4, 1)
  assert np.array_equal(
    wide.kernels[0, -narrow.kernels.size :], narrow.kernels[0]
  )
  assert np.array_equal(wide.biases[0, -narrow.biases.size :], narrow.biases[0])


def test_a_sign_is_a_bit_of_its_block_the_lowest_first():
  layout = layout_of("head")
  kernel = layout.tensors[0]
  drawn = Directions(layout, 9).at(11, 2).kernels[1]
  key = random_bits.key_of(9, 11, 1)
  raw = random_bits.random_bytes(key, [kernel.index], [0])
  block = int.from_bytes(raw.tobytes(), "little")
  bits = [block >> place & 1 for place in range(kernel.size)]
  assert drawn.tolist() == [2 * bit - 1 for bit in bits]


def test_the_rounded_normal_is_as_often_below_zero_as_above():
  values = np.sort(KINDS_OF_DRAWS["normal"][0](np.arange(256, dtype=np.uint8)))
  assert np.array_equal(values, -values[::-1])


def test_rademacher_is_plus_or_minus_one_and_balanced():
  drawn = Directions(layout_of(), 0).draw(np.arange(2000), 1).kernels
  assert set(np.unique(drawn)) == {-1, 1}
  assert abs(drawn.mean()) < 5 / drawn.size**0.5


def test_rounded_normal_has_the_moments_of_a_normal():
  drawn = Directions(layout_of(), 0, "normal").draw(np.arange(4000), 1).kernels
  values = drawn.astype(float) / NORMAL_UNIT
  assert abs(values.mean()) < 5 / drawn.size**0.5
  assert values.std() == pytest.approx(1, abs=0.02)
  assert (values**4).mean() == pytest.approx(3, abs=0.3)  # tails are cut at 2.9


def test_directions_of_one_step_are_nearly_orthogonal():
  drawn = Directions(layout_of(), 0).at(0, 16).kernels[0:16].astype(int)
  cosines = drawn @ drawn.T / drawn.shape[1]
  off = np.abs(cosines - np.eye(16)).max()
  assert off < 5 / drawn.shape[1] ** 0.5


def test_directions_that_are_kept_cannot_be_written_to():
  directions = Directions(layout_of(), 3)
  for drawn in directions.at(0, 2):
    with pytest.raises(ValueError, match="read-only"):
      drawn += 1


def test_an_unknown_kind_is_refused_by_name():
  with pytest.raises(TflmFgError, match="'cauchy' is unknown"):
    Directions(layout_of(), 0, "cauchy")
