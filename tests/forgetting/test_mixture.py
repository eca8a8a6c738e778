"""A head is trained on samples and as many imagined inputs of other classes."""

import numpy as np
import pytest

from tflm_fg.forgetting.mixture import (
  HEAVIEST,
  LEAST,
  MOST,
  with_imagined,
)
from tflm_fg.gradients.dense_passes import DenseLayer
from tflm_fg.types import Samples, TensorSpec

KERNEL = np.random.default_rng(1).integers(-100, 100, (4, 16)).astype(np.int8)


def layer(kernel=KERNEL):
  return DenseLayer(
    roles=("kernel", "bias"),
    kernel=kernel,
    bias=np.zeros(len(kernel), np.int32),
    kernel_scales=np.array([0.02]),
    inputs=TensorSpec((1, 16), "int8", 0.05, -128),
    outputs=TensorSpec((1, len(kernel)), "int8", 0.1, 0),
  )


def samples(*counts):
  labels = np.repeat(np.arange(4), counts)
  return Samples((inputs(len(labels)),), labels)


def inputs(count):
  """Drawn anew in every test, whatever ran before it."""
  return np.random.default_rng(2).integers(-128, 0, (count, 16)).astype(np.int8)


def test_each_class_counts_as_much_as_a_class_with_samples():
  mixed = with_imagined(samples(100, 100, 0, 0), layer(), (), 0)
  counts = np.bincount(mixed.labels, minlength=4)
  assert counts[:2].tolist() == [100, 100]
  assert 40 < counts[2:].min() <= counts[2:].max() <= 100
  assert mixed.inputs[0].dtype == np.int8
  assert len(mixed.inputs[0]) == len(mixed.labels)


def test_few_samples_are_repeated_and_so_count_as_much():
  mixed = with_imagined(samples(1, 0, 1, 0), layer(), (), 0)
  counts = np.bincount(mixed.labels, minlength=4)
  assert counts[0] == counts[2] == LEAST
  assert counts[1] <= LEAST


def test_a_class_that_is_barely_shown_is_filled_up():
  given = samples(200, 200, 200, 2)
  mixed = with_imagined(given, layer(), (), 0)
  counts = np.bincount(mixed.labels)
  assert counts[:3].tolist() == [200] * 3
  assert 200 < counts[3] <= 600
  assert np.array_equal(mixed.inputs[0][: len(given)], given.inputs[0])


def test_few_classes_weigh_as_much_as_all_that_are_shown():
  mixed = with_imagined(samples(100, 100, 100, 0), layer(), (), 0)
  counts = np.bincount(mixed.labels)
  assert counts[:3].tolist() == [100] * 3
  assert 200 < counts[3] <= 300


def test_a_class_with_samples_of_before_alone_is_filled_up():
  mixed = with_imagined(samples(100, 100, 20, 100), layer(), (2,), 0)
  counts = np.bincount(mixed.labels)
  assert counts[[0, 1, 3]].tolist() == [100] * 3
  assert 100 < counts[2] <= 300


def test_a_class_weighs_no_more_than_a_few_that_are_shown():
  kernel = np.random.default_rng(2).integers(-100, 100, (31, 16))
  given = Samples((inputs(300),), np.repeat(np.arange(30), 10))
  mixed = with_imagined(given, layer(kernel.astype(np.int8)), (), 0)
  counts = np.bincount(mixed.labels)
  assert 0 < counts[30] <= HEAVIEST * counts[0]


def test_very_many_samples_do_not_need_as_many_imagined_ones():
  mixed = with_imagined(samples(MOST + 500, MOST + 500, 0, 0), layer(), (), 0)
  assert np.bincount(mixed.labels)[2:].max() <= MOST


@pytest.mark.parametrize(
  ("counts", "kernel"),
  [((5, 5, 5, 5), KERNEL), ((5, 5, 0, 0), np.zeros_like(KERNEL))],
  ids=["all shown", "a head that knows nothing"],
)
def test_where_there_is_nothing_to_keep_samples_stay_as_they_are(
  counts, kernel
):
  given = samples(*counts)
  assert with_imagined(given, layer(kernel), (), 0) is given


def test_inputs_that_the_head_does_not_use_are_at_rest():
  """A wide head's new weights stay zero, for nothing says what they do."""
  kernel = KERNEL.copy()
  kernel[:, 10:] = 0
  mixed = with_imagined(samples(60, 60, 0, 0), layer(kernel), (), 0)
  assert (mixed.inputs[0][:120, 10:] == -128).all()
  assert (mixed.inputs[0][:120, :10] != -128).any()
