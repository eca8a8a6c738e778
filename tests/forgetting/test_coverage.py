"""What samples show of a model's classes, and what they are called."""

import io
import zipfile

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg.forgetting.coverage import Coverage, keeping_notes, thin_classes
from tflm_fg.tflite.contents.class_names import class_names
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import describe_input

NAMES = ("stop", "go", "left", "right")


def of(*counts):
  labels = np.repeat(np.arange(len(counts)), counts)
  return Coverage.of(labels, [str(c) for c in range(len(counts))])


def test_a_class_without_samples_is_absent():
  coverage = of(3, 0, 5)
  assert (coverage.absent, coverage.shown) == ([1], [0, 2])
  assert not coverage.is_whole


@pytest.mark.parametrize(("few", "thin"), [(1, [2]), (10, [2]), (11, [])])
def test_a_tenth_of_what_others_have_is_barely_shown(few, thin):
  coverage = of(100, 100, few)
  assert coverage.barely == thin
  assert coverage.is_whole == (not thin)


def test_samples_alike_are_shown_however_few_they_are():
  assert of(1, 1, 1).is_whole
  assert thin_classes(np.array([1, 0])) == [1]


def test_gaps_name_the_classes():
  coverage = Coverage.of(np.array([1] * 40 + [3] * 40 + [0]), NAMES)
  assert coverage.gaps == (
    "no samples for 1 of 4 classes (2 left) and few samples for 1 of 4 classes "
    "(0 stop)"
  )
  assert coverage.gaps in keeping_notes(coverage)[0]


def test_of_very_many_classes_a_few_are_named():
  coverage = Coverage.of(np.array([0]), [str(c) for c in range(1000)])
  assert "999 of 1000 classes (1, 2, " in coverage.gaps
  assert coverage.gaps.endswith("12, 987 more)")


def test_where_all_is_shown_there_is_nothing_to_say():
  assert keeping_notes(None) == []


def test_names_come_from_the_mark():
  marked = describe_input(
    tflm_fg.mark_trainable(models.dense_model(), "head").data, {}, NAMES, "m"
  )
  assert class_names(ModelFile.of(marked), 4) == NAMES


def test_names_come_from_a_list_packed_behind_the_model():
  packed = io.BytesIO()
  packed.write(models.dense_model())
  with zipfile.ZipFile(packed, "a") as archive:
    archive.writestr("labels.txt", "\n".join(NAMES))
  assert class_names(ModelFile.of(packed.getvalue()), 4) == NAMES


@pytest.mark.parametrize("lines", ["one\ntwo", ""])
def test_names_of_other_things_are_not_taken(lines):
  packed = io.BytesIO()
  packed.write(models.dense_model())
  with zipfile.ZipFile(packed, "a") as archive:
    archive.writestr("labels.txt", lines)
  numbers = class_names(ModelFile.of(packed.getvalue()), 4)
  assert numbers == ("0", "1", "2", "3")
