"""What the trainer in C refuses, and what it leaves alone then."""

import ctypes
import struct
import zlib

import numpy as np
import pytest

from tests import models
from tests.micro import trainers
from tests.micro.test_trainer import EXACT, SIGNS, X, Y, inputs, marked
from tests.refusals import refused
from tflm_fg import mark_trainable, micro
from tflm_fg.methods import (
  SPSA,
  ClosedForm,
  NodePerturbation,
  PerSample,
  SignSPSA,
)
from tflm_fg.micro.blob import HEADER
from tflm_fg.training.objective import Task

pytestmark = pytest.mark.skipif(
  trainers.COMPILER is None, reason="no C compiler"
)

BAD_ARGUMENT, BAD_BLOB, BAD_LABEL, BAD_SAMPLES = 2, 3, 4, 5
SMALL_BUFFER, ENGINE_FAILED, NOT_SEEN, BAD_SAVED, WRONG_ORDER = 6, 7, 8, 9, 10


def device_of(method, trainable="head", kept=20, y=Y):
  file = marked("dense", trainable)
  case = trainers.case_of(file, method, inputs(file[0], X), y, kept)
  return trainers.Device(case)


@pytest.fixture
def device():
  return device_of(ClosedForm(**EXACT))


def untouched(device):
  return not device.buffer.any() and not any(t.any() for t in device.tensors)


def test_a_changed_byte_anywhere_in_a_blob_is_refused_and_nothing_written(
  device,
):
  raw = device.blob.view(np.uint8)
  for place in range(0, len(device.case.blob), 7):
    raw[place] ^= 1
    assert device.open() == BAD_BLOB, place
    raw[place] ^= 1
  assert untouched(device)
  assert device.open() == trainers.OK


def test_a_blob_cut_off_anywhere_is_refused(device):
  whole = device.case
  for size in (*range(0, 200, 4), len(whole.blob) - 4):
    device.case = whole._replace(blob=whole.blob[:size])
    assert device.open() == BAD_BLOB
  device.case = whole


def with_words(blob, **changes):
  """A blob with other words and a checksum that fits them."""
  words = bytearray(blob)
  for name, value in changes.items():
    place = 4 * HEADER.index(name)
    words[place : place + 4] = struct.pack("<I", value & 0xFFFFFFFF)
  words[12:16] = struct.pack("<I", zlib.crc32(bytes(words[16:])))
  return bytes(words)


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("method", 3),
    ("loss", 4),
    ("outputs", 0),
    ("outputs", 5),
    ("outputs", 1 << 20),
    ("zero_point", 200),
    ("steps", 0),
    ("batch", 0),
    ("validate_every", 0),
    ("decay", 2),
    ("momentum", 256),
    ("optimizer", 2),
    ("keeper", 3),
    ("tensors", 0),
    ("tensors", 3),
    ("tensor_table", 0),
    ("tensor_table", 0xFFFFFFFF),
    ("kernels", 1),
    ("biases", 1),
    ("tables", 1 << 30),
    ("gain_tables", 3),
    ("bits_a_step", 0xFFFFFFFF),
    ("dim", 0),
    ("dim", 17),
    ("input_zero", 128),
    ("centred", 2),
    ("kernel_factors", 0xFFFFFFF0),
    ("kernel_bits", 1000),
    ("bias_bits", -1000),
    ("pull_kernel", 0xFFFFFFFF),
  ],
)
def test_a_blob_whose_checksum_fits_but_not_its_words_is_refused(
  device, name, value
):
  blob = with_words(device.case.blob, **{name: value})
  device.blob[:] = trainers.as_words(blob)
  assert device.open() == BAD_BLOB
  assert untouched(device)


def test_a_buffer_that_is_a_byte_short_is_refused_and_stays_as_it_is(device):
  assert device.open(device.required - 1) == SMALL_BUFFER
  assert untouched(device)


def test_no_byte_behind_the_required_ones_is_written():
  for method in (ClosedForm(**EXACT), SignSPSA(**SIGNS)):
    device = device_of(method)
    device.buffer = np.full(len(device.buffer) + 64, -1, np.int64)
    assert device.train() == trainers.OK
    behind = device.buffer.view(np.uint8)[device.required :]
    assert (behind == 255).all()


def test_a_label_that_is_no_class_is_refused_before_anything_is_written(
  device,
):
  device.labels[-1] = 4
  assert device.open() == BAD_LABEL
  assert untouched(device)


def test_samples_that_are_not_there_are_refused(device):
  for name, value in (
    ("count", 0),
    ("kept", len(X)),
    ("labels", None),
    ("features", None),
  ):
    held = getattr(device.samples, name)
    setattr(device.samples, name, value)
    assert device.open() == BAD_SAMPLES, name
    setattr(device.samples, name, held)
  assert untouched(device)


def test_an_engine_that_fails_leaves_the_start_behind(device):
  assert device.open() == trainers.OK
  start = [t.copy() for t in device.tensors]
  device.expect(trainers.OK, "fg_begin", device.trainer)
  device.expect(trainers.OK, "fg_step", device.trainer)
  assert any((t != s).any() for t, s in zip(device.tensors, start))
  device.fails = True
  device.expect(ENGINE_FAILED, "fg_step", device.trainer)
  assert all((t == s).all() for t, s in zip(device.tensors, start))
  device.expect(WRONG_ORDER, "fg_step", device.trainer)


def test_an_engine_that_keeps_a_copy_is_found_out(device):
  rows = np.zeros(4, np.int8)

  def forward(context, sample, logits):
    ctypes.memmove(logits, rows.ctypes.data, rows.size)
    return 0

  device.engine.forward = keep = trainers.FORWARD(forward)
  assert device.train() == NOT_SEEN
  assert keep
  device.expect(WRONG_ORDER, "fg_begin", device.trainer)


def test_calls_out_of_order_are_refused(device):
  assert device.open() == trainers.OK
  device.expect(WRONG_ORDER, "fg_step", device.trainer)
  device.expect(WRONG_ORDER, "fg_end", device.trainer)
  place = ctypes.c_void_p(device.buffer.ctypes.data)
  device.expect(
    WRONG_ORDER, "fg_save", device.trainer, place, ctypes.c_uint32(1 << 20)
  )


def restored(device, saved):
  held = trainers.as_words(saved)
  return device.call(
    "fg_restore",
    *device.of_blob,
    ctypes.byref(device.engine),
    ctypes.c_void_p(held.ctypes.data),
    ctypes.c_uint32(len(saved)),
  )


def test_what_is_saved_comes_back_and_can_be_forgotten(device):
  assert device.train() == trainers.OK
  saved, trained = device.saved(), [t.copy() for t in device.tensors]
  engine = ctypes.byref(device.engine)
  device.expect(trainers.OK, "fg_forget", *device.of_blob, engine)
  start = [t.copy() for t in device.tensors]
  assert any((t != s).any() for t, s in zip(trained, start))
  for place in range(len(saved)):
    broken = bytearray(saved)
    broken[place] ^= 128
    assert restored(device, bytes(broken)) == BAD_SAVED
  assert restored(device, saved[:-1]) == BAD_SAVED
  assert all((t == s).all() for t, s in zip(device.tensors, start))
  assert restored(device, saved) == trainers.OK
  assert all((t == s).all() for t, s in zip(device.tensors, trained))


def test_what_was_saved_for_another_blob_is_refused(device):
  assert device.train() == trainers.OK
  other = device_of(ClosedForm(**EXACT, seed=1))
  assert restored(other, device.saved()) == BAD_SAVED


def test_recorded_signs_are_two_bits_each_and_replay_without_an_engine():
  method = SignSPSA(**SIGNS | {"num_directions": 3})
  device = device_of(method, "all", kept=0)
  size = ctypes.c_uint32()
  device.expect(
    trainers.OK, "fg_signs_bytes", *device.of_blob, ctypes.byref(size)
  )
  assert size.value == 12 * 3 * 2 // 8
  signs = np.zeros(size.value, np.uint8)
  place = ctypes.c_void_p(signs.ctypes.data)
  assert device.open() == trainers.OK
  device.expect(trainers.OK, "fg_write_signs", device.trainer, place, size)
  device.expect(trainers.OK, "fg_train", device.trainer)
  trained = device.masters()
  wanted = trainers.python_result(device.case).record.slopes
  codes = [[1 if s > 0 else 2 if s < 0 else 0 for s in row] for row in wanted]
  flat = np.array(codes).reshape(-1, 4)
  assert (flat << np.arange(0, 8, 2)).sum(axis=1).tolist() == signs.tolist()
  again = device_of(method, "all", kept=0)
  assert again.open() == trainers.OK
  again.fails = True
  steps = ctypes.c_uint32(12)
  again.expect(
    trainers.OK, "fg_replay_signs", again.trainer, place, size, steps
  )
  assert trainers.different(again.masters(), trained)[0] == 0


def test_signs_that_cannot_be_are_refused():
  device = device_of(SignSPSA(**SIGNS), kept=0)
  assert device.open() == trainers.OK
  signs = np.full(3, 255, np.uint8)
  place, size = ctypes.c_void_p(signs.ctypes.data), ctypes.c_uint32(3)
  for steps in (12, 13):
    given = ctypes.c_uint32(steps)
    device.expect(
      BAD_SAVED, "fg_replay_signs", device.trainer, place, size, given
    )


@pytest.mark.parametrize(
  ("method", "word"),
  [
    (SPSA(epsilon_lsb=4.0), "closed-form, sign-m-spsa, per-sample"),
    (NodePerturbation(), "node"),
    (SignSPSA(learning_rate_lsb=1.0), "epsilon_lsb"),
    (SignSPSA(epsilon_lsb=4.0), "learning_rate_lsb"),
    (SignSPSA(**SIGNS, rounding="stochastic"), "rounding"),
    (SignSPSA(**SIGNS, sparsity=0.5), "sparsity"),
    (SignSPSA(**SIGNS, num_directions=65), "num_directions"),
    (SignSPSA(**SIGNS, patience=4), "patience"),
    (ClosedForm(**EXACT, decay="cosine"), "cosine"),
    (ClosedForm(**EXACT, anchor=0.1), "anchor"),
    (ClosedForm(**EXACT | {"learning_rate_lsb": 65536.0}), "learning_rate"),
    (PerSample(), "prompt"),
  ],
)
def test_what_c_does_not_have_is_refused_by_name(method, word):
  file, mark = marked("dense", "head")
  refused(lambda: micro.make_blob(file, mark, method), word)


def test_more_classes_than_a_label_can_name_are_refused():
  given = mark_trainable(models.dense_model(classes=257), "head")
  exact = ClosedForm(**EXACT)
  refused(lambda: micro.make_blob(given.file, given.mark, exact), "257")


def test_losses_and_layers_that_c_does_not_have_are_refused():
  file, mark = marked("dense", "head")
  squares = Task(loss="mse")
  exact = ClosedForm(**EXACT)
  refused(lambda: micro.make_blob(file, mark, exact, squares), "SquaredError")
  file, mark = marked("dense", "all")
  refused(lambda: micro.make_blob(file, mark, exact), "trains the last")
