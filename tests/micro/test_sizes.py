"""What the host reserves for a phase is enough, and little more."""

from __future__ import annotations

import ctypes

import pytest

import tflm_fg
from tests import models
from tests.micro import trainers
from tests.micro.compiling import needs_gcc
from tflm_fg import methods, micro
from tflm_fg.tflite import GraphOptions
from tflm_fg.types import TflmFgError

SIGNS = {"epsilon_lsb": 2.0, "learning_rate_lsb": 0.5}
METHODS = {
  "head": [
    methods.ClosedForm(),
    methods.ClosedForm(momentum=0.0, pull=0.1),
    methods.ClosedForm(batch_size=16, validate_every=5),
    methods.SignSPSA(**SIGNS),
    methods.SignSPSA(**SIGNS, batch_size=8, momentum=0.9, validate_every=4),
  ],
  "prompt": [methods.PerSample(), methods.PerSample(batch_size=8, momentum=0)],
}


@needs_gcc
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("trainable", list(METHODS))
def test_reserved_bytes_are_what_c_requires_and_few_more(trainable, labelled):
  library = trainers.library()
  options = GraphOptions(gain=trainable == "prompt")
  model = models.conv_model() if options.gain else models.dense_model(hidden=64)
  marked = tflm_fg.mark_trainable(model, trainable, graph_options=options)
  for method in METHODS[trainable]:
    blob = micro.phase_blob(marked, method, labelled=labelled)
    aligned = (ctypes.c_uint64 * (len(blob) // 8 + 1))()
    ctypes.memmove(aligned, blob, len(blob))
    for samples in (1, 7, 32, 500):
      needed = ctypes.c_uint32()
      status = library.fg_required_bytes(
        aligned, len(blob), samples, ctypes.byref(needed)
      )
      assert status == 0
      reserved = micro.required_bytes(blob, samples)
      assert 0 <= reserved - needed.value <= 128, (method, samples)


def test_more_samples_than_a_device_counts_are_refused():
  marked = tflm_fg.mark_trainable(models.conv_model(), "head")
  blob = micro.phase_blob(marked, methods.ClosedForm())
  with pytest.raises(TflmFgError, match="--samples=65536: a device counts"):
    micro.device_sizes(blob, 65536)


@needs_gcc
@pytest.mark.parametrize("labelled", [True, False])
def test_a_blob_says_what_it_asks_for(labelled):
  marked = tflm_fg.mark_trainable(models.dense_model(hidden=64), "head")
  method = methods.ClosedForm(steps=9, batch_size=16)
  blob = micro.phase_blob(marked, method, labelled=labelled)
  aligned = (ctypes.c_uint64 * (len(blob) // 8 + 1))()
  ctypes.memmove(aligned, blob, len(blob))
  names = "method outputs dim tensors numbers steps batch labels".split()
  told = (ctypes.c_uint32 * len(names))()
  read = trainers.library().fg_read_info
  assert read(aligned, len(blob), told) == trainers.OK
  info = dict(zip(names, told))
  assert (info["outputs"], info["dim"], info["tensors"]) == (4, 64, 2)
  assert info["numbers"] == 4 * 64 + 4
  assert (info["steps"], info["batch"]) == (9, 16)
  assert info["labels"] == labelled
  assert read(aligned, len(blob) - 4, told) != trainers.OK
  assert read(aligned, len(blob), None) != trainers.OK
