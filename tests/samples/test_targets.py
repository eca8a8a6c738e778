"""Targets are checked, in the forms in which people hold them."""

import numpy as np
import pytest

from tflm_fg.samples import class_labels, one_column
from tflm_fg.types import TflmFgError


@pytest.mark.parametrize(
  ("y", "message"),
  [
    (np.zeros(3, np.int64), "need one class for each of 4 samples"),
    (np.zeros((4, 2), np.int64), r"or one-hot \[N, 3\] with one 1"),
    (np.full((4, 3), 1 / 3), r"give y.argmax\(axis=1\)"),
    (np.eye(4), "one-hot of 4 classes, and the model has 3"),
    (np.zeros(4), r"indices: give y.astype\(int\)"),
    (np.full(4, 0.5), "need integer class indices; real targets"),
    (np.array([0, 1, 2, 3]), "classes 0 to 3, the model has 0 to 2"),
    (np.array([0, -1, 2, 2]), "classes -1 to 2"),
    (np.array([1, 3, 2, 2]), "spans 1 to 3 .* count from 1; subtract 1"),
  ],
)
def test_classes_that_do_not_fit_are_refused(y, message):
  with pytest.raises(TflmFgError, match=message):
    class_labels(y, 4, 3)


def test_labels_beyond_the_classes_that_do_not_count_from_1_are_not_called_so():
  for y in ([1, 2, 4], [2, 3, 3]):
    with pytest.raises(TflmFgError) as caught:
      class_labels(np.array(y), 3, 3)
    assert "count from 1" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_a_column_and_one_hot_rows_of_any_type_are_classes(dtype):
  y = np.array([2, 0, 1, 2])
  assert class_labels(np.eye(3)[y].astype(dtype), 4, 3).tolist() == y.tolist()
  assert class_labels(y[:, None], 4, 3).tolist() == y.tolist()


def test_a_column_for_one_output_stays_a_column():
  y = np.zeros((4, 1))
  assert one_column(y, 1) is y
  assert one_column(y, 3).shape == (4,)
