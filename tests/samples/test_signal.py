"""Samples without signal are told apart from honest ones, with the cause."""

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.refusals import refused
from tflm_fg.samples import model_input
from tflm_fg.samples.signal import doubts_of, examine, levels
from tflm_fg.types import TensorSpec, TflmFgError

PIXELS = TensorSpec((1, 4, 5), "int8", 1.0, -128)
UNIT = TensorSpec((1, 4, 5), "int8", 1 / 255, -128)
WIDE = TensorSpec((1, 4, 5), "int16", 255 / 32767, 0)
MODEL = models.conv_model()


def images(count=8, top=255.0):
  return np.random.default_rng(0).random((count, 4, 5)) * top


@pytest.mark.parametrize(
  ("x", "spec", "cause"),
  [
    (images(top=1.0), PIXELS, "2 levels of 256: it looks divided by 255; give"),
    (images(top=1.0), WIDE, "of 65536: it looks divided by 255; undo that"),
    (images(top=0.001) + 0.5, UNIT, "level of 256: give it in the units that"),
    (
      images(top=1.0),
      TensorSpec((1, 4, 5), "int8", 256.0, 0),
      "1 level of 256: it looks divided by 32768; give 16-bit samples",
    ),
  ],
)
def test_samples_on_few_levels_are_said_with_the_cause(x, spec, cause):
  (said,) = levels(x, spec, "train")
  assert cause in said
  assert "train x spans 0" in said


@pytest.mark.parametrize(
  ("x", "spec"),
  [
    (images(), PIXELS),
    (images(top=1.0), UNIT),
    (images(top=0.08), UNIT),  # a dark room
    ((images(top=1.0) > 0.5) * 1.0, UNIT),  # black and white
    (images(top=1.0), TensorSpec((1, 4, 5), "float32", 0.0, 0)),
    (
      np.arange(40).reshape(2, 4, 5) % 3,
      TensorSpec((1, 4, 5), "int32", 0.0, 0, 9),
    ),
  ],
)
def test_honest_samples_are_left_alone(x, spec):
  found = examine(x, spec, "train", np.arange(len(x)))
  assert not found.doubts
  assert found.kept.tolist() == list(range(len(x)))
  assert not doubts_of(x, spec, "test")


def test_a_float_input_is_judged_by_the_grid_behind_it():
  spec = TensorSpec((1, 4, 5), "float32", 0.0, 0, grid=("int8", 1.0, -128))
  assert "divided by 255" in levels(images(top=1.0), spec, "train")[0]


def test_integers_on_the_grid_are_judged_too():
  x = np.full((3, 4, 5), -128, np.int8)
  x[1] += 1
  assert "spans 0 to 1 and" in levels(x, PIXELS, "data")[0]
  x[1] += 14
  assert "16 levels" in levels(x, PIXELS, "data")[0]
  x[1] += 1
  assert not levels(x, PIXELS, "data")


def test_samples_of_no_size_are_left_to_whoever_refuses_them():
  x = np.zeros((3, 0, 5))
  assert examine(x, PIXELS, "train", np.arange(3)).doubts == ()
  assert doubts_of(x, PIXELS, "test") == ()


def test_all_on_one_level_is_refused_and_said_of_a_test():
  x = images(top=0.4)
  with pytest.raises(TflmFgError, match="reaches 1 level of 256"):
    examine(x, PIXELS, "train")
  assert len(levels(x, PIXELS, "test")) == 1


def test_constant_samples_are_left_out_by_number():
  x = images()
  x[2], x[5] = 0, 7
  found = examine(x, PIXELS, "train", np.arange(8))
  assert found.kept.tolist() == [0, 1, 3, 4, 6, 7]
  (said,) = found.doubts
  assert "2 samples of 8 are constant" in said and "(2, 5)" in said
  with pytest.raises(TflmFgError, match="every sample is constant"):
    examine(x[[2, 5]], PIXELS, "train")
  (said,) = doubts_of(model_input(x, PIXELS), PIXELS, "test")
  assert "2 samples of 8 are constant" in said and "left out" not in said


def test_samples_of_silence_may_be_silent():
  x, y = images(), np.arange(8) % 2
  x[1] = 0
  assert examine(x, PIXELS, "train", y, names=("yes", "_silence_")).kept[1] == 1
  for names in (("silence", "yes"), (), ("no", "yes")):
    assert len(examine(x, PIXELS, "train", y, names=names).kept) == 7


def test_copies_are_kept_once_and_those_that_contradict_not_at_all():
  x = images()
  x[3], x[6], x[7] = x[1], x[1], x[0]
  y = np.array([0, 1, 2, 1, 0, 2, 1, 2])
  found = examine(x, PIXELS, "train", y)
  assert found.kept.tolist() == [1, 2, 4, 5]
  copies, torn = found.doubts
  assert "2 samples of 8 are exact duplicates of others (3, 6)" in copies
  assert "are exact duplicates with different classes (0, 7)" in torn
  unlabelled = examine(x, PIXELS, "train")
  assert unlabelled.kept.tolist() == [0, 1, 2, 4, 5]


def test_a_few_copies_are_counted_and_do_no_harm():
  x = images(100)
  x[70] = x[3]
  found = examine(x, PIXELS, "train", np.arange(100) % 67)
  (said,) = found.remarks
  assert said.endswith("1 sample of 100 is an exact duplicate of others (70)")
  assert len(found.kept) == 100 and not found.doubts
  assert not doubts_of(model_input(x, PIXELS), PIXELS, "test")


def test_copies_with_other_real_targets_are_samples_of_their_own():
  x, y = images(), np.arange(8.0)
  x[3], x[4], y[4] = x[1], x[1], y[1]
  found = examine(x, PIXELS, "train", y, are_classes=False)
  assert found.kept.tolist() == [0, 1, 2, 3, 5, 6, 7]


def test_nothing_but_contradictions_is_refused():
  x = images(2)[[0, 1, 0, 1]]
  with pytest.raises(TflmFgError, match=r"no sample is left: .* check the"):
    examine(x, PIXELS, "train", np.array([0, 0, 1, 1]))


def test_samples_that_are_all_the_same_are_refused():
  with pytest.raises(TflmFgError, match="all 6 samples are the same"):
    examine(np.repeat(images(1), 6, 0), PIXELS, "train")
  assert len(examine(images(1), PIXELS, "train").kept) == 1


def test_small_samples_may_be_alike():
  spec = TensorSpec((1, 4), "int8", 1 / 255, -128)
  x = np.eye(4)[[0, 1, 2, 3, 0, 0]]
  found = examine(x, spec, "train", np.array([0, 1, 2, 2, 0, 1]))
  assert len(found.kept) == 6 and not found.doubts


def test_test_samples_that_were_trained_on_are_counted():
  x = model_input(images(), PIXELS)
  found = doubts_of(x[[0, 3, 3]], PIXELS, "test", x[:4])
  assert "1 sample of 3 is an exact duplicate of others" in found[0]
  seen = "3 samples of 3 are duplicates of training samples (0, 1, 2)"
  assert seen in found[1]
  assert not doubts_of(x[4:], PIXELS, "test", x[:4])


def test_one_target_for_all_is_said():
  (said,) = examine(images(), PIXELS, "train", np.full(8, 3)).doubts
  assert said == "train y: every target is 3, one for all samples"
  assert not examine(images(1), PIXELS, "train", np.array([3])).doubts


def samples():
  x = models.int8_samples((6, 5, 2), 24)
  return x, np.arange(24) % 3


def test_adapting_leaves_out_what_is_no_signal_and_reports_it():
  x, y = samples()
  clean = tflm_fg.adapt(MODEL, x, y, trainable="head")
  silent = np.concatenate([x, np.full_like(x[:2], 5), x[:1]])
  labels = np.concatenate([y, [0, 1], y[:1]])
  with pytest.warns(UserWarning, match="2 samples of 27 are constant"):
    result = tflm_fg.adapt(
      MODEL, silent, labels, test=(x[:6], y[:6]), trainable="head"
    )
  assert result.model == clean.model
  constant, copy, seen = result.report.data_notes
  assert (
    "(24, 25)" in constant and "(26)" in copy and "6 samples of 6 are" in seen
  )
  assert clean.report.data_notes == []


def test_small_units_are_refused_by_adapt_and_said_by_evaluate():
  x, y = samples()
  small = x.astype(np.float32) * 1e-6
  refused(lambda: tflm_fg.adapt(MODEL, small, y), "train x spans", "1 level")
  with pytest.warns(UserWarning, match="1 level of 256"):
    report = tflm_fg.evaluate(MODEL, small, y)
  assert "data x spans" in report["data_notes"][0]


def test_large_units_are_noted_in_the_report():
  x, y = samples()
  with pytest.warns(UserWarning, match="lie outside"):
    result = tflm_fg.adapt(
      MODEL, x.astype(float) * 9, y, trainable="head", labels="given"
    )
  assert "lie outside" in result.report.data_notes[0]
