"""Imagined inputs are such that the head takes them for their class."""

import numpy as np
import pytest

from tflm_fg.forgetting.imagined import LinearHead, imagine

CENTRES = np.random.default_rng(0).normal(0, 2, (5, 12))
HEAD = LinearHead(CENTRES, -0.5 * (CENTRES**2).sum(axis=1))


def samples(count, classes=(0, 1)):
  y = np.repeat(classes, count)
  # Drawn anew in every test, whatever ran before it.
  return CENTRES[y] + np.random.default_rng(1).normal(0, 1, (len(y), 12)), y


@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_head_takes_every_imagined_input_for_its_class(count):
  x, y = imagine(HEAD, *samples(count), [2, 3, 4], 30, seed=0)
  assert set(y) == {2, 3, 4}
  assert np.array_equal(HEAD.logits(x).argmax(axis=1), y)
  assert np.bincount(y).max() <= 30


def test_one_sample_is_enough_to_begin_with():
  x, y = imagine(HEAD, *samples(1, (3,)), [0, 1], 20, seed=0)
  assert np.bincount(y)[:2].min() >= 5
  assert np.isfinite(x).all()


def test_a_seed_gives_the_same_inputs_and_another_seed_others():
  given = samples(10)
  one, two, other = (
    imagine(HEAD, *given, [2], 20, seed=seed)[0] for seed in (0, 0, 1)
  )
  assert np.array_equal(one, two)
  assert not np.array_equal(one[:9], other[:9])


def test_inputs_stay_above_what_a_relu_lets_through():
  x, y = samples(10)
  made, _ = imagine(HEAD, np.maximum(x, 0), y, [2, 3], 20, seed=0)
  assert made.min() >= 0


def test_a_class_that_the_head_never_answers_with_has_none():
  rows = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
  head = LinearHead(rows, np.array([-50.0, 0.0, -1.0]))
  x = np.array([[1.0, 1.0], [0.5, 1.0]])
  _, y = imagine(head, x, np.array([1, 1]), [0, 2], 20, seed=0)
  assert 0 not in y


def test_nothing_is_imagined_where_nothing_is_wanted():
  x, y = imagine(HEAD, *samples(3), [], 20, seed=0)
  assert x.shape == (0, 12)
  assert y.shape == (0,)
