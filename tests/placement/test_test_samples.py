"""No search looks at test samples: the file is the same, whatever they are."""

import pytest

import tflm_fg
from tests.placement.runs import SHIFT, crossed, source

RUNS = {
  "default": {},
  "head, which may get room": {"trainable": "head"},
  "without labels": {"labels": "none"},
}


@pytest.mark.parametrize("run", RUNS)
def test_the_file_does_not_depend_on_test_samples(run):
  x, y = crossed(80, 1, SHIFT)
  test_x, test_y = crossed(80, 2, SHIFT)
  tests = (test_x, test_y), (test_x[::-1].copy(), 1 - test_y), None
  files = {
    tflm_fg.adapt(source(), x, y, test=test, **RUNS[run]).marked_model
    for test in tests
  }
  assert len(files) == 1
