"""Episodes of a pool: which samples are in them, and which never are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.compare.data import sampling
from tests.refusals import refused
from tflm_fg.types import TflmFgError


def _pool(classes=6, each=9):
  y = np.arange(classes * each) % classes
  return np.arange(len(y), dtype=np.float32)[:, None], y


@given(
  ways=st.integers(2, 6),
  shots=st.integers(1, 5),
  tests=st.integers(0, 4),
  seed=st.integers(0, 2**32),
)
def test_an_episode_has_its_counts_and_shares_no_sample(
  ways, shots, tests, seed
):
  x, y = _pool()
  (train_x, train_y), (test_x, test_y), classes = sampling.sample(
    x, y, ways, shots, tests, seed
  )
  assert np.bincount(train_y, minlength=ways).tolist() == [shots] * ways
  assert np.bincount(test_y, minlength=ways).tolist() == [tests] * ways
  assert not set(train_x.ravel()) & set(test_x.ravel())
  for part_x, part_y in ((train_x, train_y), (test_x, test_y)):
    assert np.array_equal(y[part_x.ravel().astype(int)], classes[part_y])


def test_one_seed_is_one_episode_and_another_seed_another():
  x, y = _pool()
  one, same, other = (
    sampling.sample(x, y, 3, 2, 2, seed).train[0].tolist() for seed in (1, 1, 2)
  )
  assert one == same != other


def test_fewer_shots_are_the_beginning_of_more():
  x, y = _pool()
  few, more = (sampling.sample(x, y, None, k, 2, 4).train for k in (2, 5))
  assert np.array_equal(few[0], more[0][: len(few[0])])
  assert np.array_equal(few[1], more[1][: len(few[1])])


def test_without_a_count_all_that_is_left_is_test():
  x, y = _pool()
  found = sampling.sample(x, y, None, 2, None, 0)
  assert len(found.train[1]) + len(found.test[1]) == len(y)


@given(
  shots=st.integers(1, 4),
  tests=st.integers(0, 2),
  size=st.integers(1, 3),
  seed=st.integers(0, 2**32),
)
def test_no_recording_is_on_both_sides(shots, tests, size, seed):
  x, y = _pool()
  groups = np.arange(len(y)) // (6 * size)  # of all classes together
  try:
    train, test, _ = sampling.sample(x, y, None, shots, tests, seed, groups)
  except TflmFgError:
    return
  sides = (set(groups[part[0].ravel().astype(int)]) for part in (train, test))
  assert not set.intersection(*sides)


def test_recordings_of_one_sample_change_nothing_and_too_few_are_refused():
  x, y = _pool()
  alone = sampling.sample(x, y, 3, 2, 2, 1, np.arange(len(y)))
  plain = sampling.sample(x, y, 3, 2, 2, 1)
  assert np.array_equal(alone.train[0], plain.train[0])
  assert np.array_equal(alone.test[0], plain.test[0])
  one = np.arange(len(y)) // 54  # one recording of everything
  refused(
    lambda: sampling.sample(x, y, 3, 2, 2, 1, one),
    "0 samples are of other recordings",
    "2 tests",
  )


def test_few_shots_take_whole_recordings():
  """Single samples of many would leave no recording to test on."""
  x, y = _pool()
  groups = np.arange(len(y)) // 18  # three recordings, three samples a class
  for seed in range(10):
    train, test, _ = sampling.sample(x, y[:], 2, 3, 3, seed, groups + 10 * y)
    assert len(train[1]) == len(test[1]) == 6


@pytest.mark.parametrize(
  "ways, shots, tests, said",
  [
    (7, 1, 1, "ways=7: the pool has 6 classes"),
    (1, 1, 1, "ways=1"),
    (2, 8, 2, "9 samples; 8 shots and 2 tests need 10"),
    (2, 0, 2, "shots=0"),
    (2, 1, -1, "tests=-1"),
  ],
)
def test_what_the_pool_cannot_give_is_refused(ways, shots, tests, said):
  refused(lambda: sampling.sample(*_pool(), ways, shots, tests, 0), said)


def test_labels_that_do_not_fit_the_samples_are_refused():
  x, y = _pool()
  refused(
    lambda: sampling.sample(x[1:], y, 2, 1, 1, 0), "53 samples and classes"
  )
  refused(lambda: sampling.sample(x, y / 2, 2, 1, 1, 0), "float64")
