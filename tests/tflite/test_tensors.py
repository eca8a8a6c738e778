"""Tensors are read as the file has them, and written byte for byte."""

import numpy as np
import pytest

from tests import models
from tests.refusals import refused
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import Patchable, tensor_spec


@pytest.mark.parametrize(
  ("build", "wanted"),
  [
    (models.dense_model, (models.FEATURES, models.SIGNED)),
    (models.conv_model, (models.IMAGE, models.SIGNED)),
    (lambda: models.dense_model(wide=True), (0, 0)),
  ],
)
def test_zero_points_are_the_files(build, wanted):
  data = build()
  plain = unmarked(data)
  inputs = whole(data, plain).inputs[0]
  found = [tensor_spec(data, i).zero_point for i in (inputs, plain.logits)]
  assert tuple(found) == wanted


def test_a_constant_takes_only_its_own_type_and_size():
  marked = mark_file(models.dense_model(), "head")
  tensors = [t.index for t in marked.mark.trainable]
  patchable = Patchable(marked.data, tensors)
  kernel, bias = patchable.read()
  refused(lambda: patchable.write([kernel.view(np.uint8), bias]), "int8")
  refused(lambda: patchable.write([kernel, bias.astype(np.int64)]), "int32")
  refused(lambda: patchable.write([kernel[:1], bias]), "bytes")


def test_a_write_changes_the_constants_bytes_and_no_other():
  marked = mark_file(models.dense_model(), "head")
  patchable = Patchable(marked.data, [t.index for t in marked.mark.trainable])
  kernel, bias = patchable.read()
  written = patchable.write([-kernel, bias + 3])
  changed = np.flatnonzero(
    np.frombuffer(written, np.uint8) != np.frombuffer(marked.data, np.uint8)
  )
  inside = [range(start, start + length) for start, length in patchable.spans]
  assert all(any(i in span for span in inside) for i in changed)
  again = Patchable(written, [t.index for t in marked.mark.trainable]).read()
  assert np.array_equal(again[0], -kernel)
  assert np.array_equal(again[1], bias + 3)
