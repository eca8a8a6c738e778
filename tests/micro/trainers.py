"""Drives the trainer in C from Python, with an engine of Python's sessions."""

from __future__ import annotations

import ctypes
import functools
import pathlib
import shutil
import subprocess
import tempfile
from typing import NamedTuple

import numpy as np

from tflm_fg import micro
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.placement.phase import TrainingData, open_for, run_phase
from tflm_fg.placement.phase_record import Phase, masters_of
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.training.objective import CLASSIFY, Objective, seen_by

FOLDER = pathlib.Path(micro.__file__).parent
STRICT = "-std=c99 -pedantic -Wall -Wextra -Werror".split()
COMPILER = shutil.which("gcc") or shutil.which("cc")

OK, DONE = 0, 1


@functools.cache
def library():
  """The trainer as a library that stops at undefined behaviour."""
  out = pathlib.Path(tempfile.mkdtemp()) / "fg.so"
  sources = sorted(str(p) for p in FOLDER.glob("fg_*.c"))
  flags = ["-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
  flags += ["-shared", "-fPIC", "-static-libubsan"]
  subprocess.run(
    [COMPILER, *STRICT, *flags, *sources, "-o", str(out)], check=True
  )
  return ctypes.CDLL(str(out))


FORWARD = ctypes.CFUNCTYPE(
  ctypes.c_int,
  ctypes.c_void_p,
  ctypes.c_uint32,
  ctypes.POINTER(ctypes.c_int8),
)


class Engine(ctypes.Structure):
  _fields_ = (
    ("context", ctypes.c_void_p),
    ("forward", FORWARD),
    ("tensors", ctypes.POINTER(ctypes.c_void_p)),
  )


class CSamples(ctypes.Structure):
  _fields_ = (
    ("count", ctypes.c_uint32),
    ("kept", ctypes.c_uint32),
    ("labels", ctypes.c_void_p),
    ("features", ctypes.c_void_p),
  )


class Progress(ctypes.Structure):
  _fields_ = (
    *((n, ctypes.c_uint32) for n in ("step", "steps", "passes")),
    *((n, ctypes.c_int64) for n in ("loss", "kept_before", "kept_after")),
    *(
      (n, ctypes.c_uint32)
      for n in ("correct_before", "correct_after", "kept_step")
    ),
  )


class Case(NamedTuple):
  """A phase, opened for Python and ready for C."""

  open_phase: object
  data: TrainingData
  blob: bytes
  mark: object
  loss: object


def case_of(
  marked, method, x, y, kept, task=CLASSIFY, runtime="litert-reference"
):
  """Opens a phase on samples of which the last ones are kept aside."""
  file, mark = marked
  method = method.for_layout(Layout(mark.trainable)).filled()
  phase = Phase(tuple(t.index for t in mark.trainable), method, Objective())
  options = RuntimeOptions(runtime=runtime, strategy="in-place")
  if method.weights_are_inputs:
    options = RuntimeOptions(runtime=runtime)
  opened = open_for(phase, file, mark, masters_of(file, mark), x, options)
  everything = np.arange(len(x))
  fit, held = everything[: len(x) - kept], everything[len(x) - kept :]
  labels = seen_by(opened.graph.logits, y, task)
  data = TrainingData(x, labels, fit, held, task)
  blob = micro.make_blob(file, mark, method, task)
  return Case(opened, data, blob, mark, opened.graph.loss(task))


class Device:
  """One phase in C: what an application of fg.h keeps."""

  def __init__(self, case, spare=0):
    self.lib, self.case = library(), case
    self.blob = as_words(case.blob)
    self.layout = Layout(case.mark.trainable)
    self.tensors = [
      np.zeros(t.size, np.int32 if t.role == "bias" else np.int8)
      for t in self.layout.tensors
    ]
    places = (ctypes.c_void_p * len(self.tensors))(
      *(t.ctypes.data for t in self.tensors)
    )
    self.fails = False
    self.engine = Engine(None, FORWARD(self.forward), places)
    self.labels = np.ascontiguousarray(case.data.labels, np.uint8)
    inputs = case.open_phase.inputs
    self.features = np.ascontiguousarray(inputs[0]).reshape(len(inputs[0]), -1)
    self.samples = CSamples(
      len(case.data.x),
      len(case.data.kept),
      self.labels.ctypes.data if case.data.labelled else None,
      self.features.ctypes.data,
    )
    required = ctypes.c_uint32()
    self.expect(
      OK,
      "fg_required_bytes",
      *self.of_blob,
      ctypes.c_uint32(len(case.data.x)),
      ctypes.byref(required),
    )
    self.required = required.value
    self.buffer = np.zeros((self.required + spare) // 8 + 1, np.int64)
    self.trainer = ctypes.c_void_p()

  @property
  def of_blob(self):
    return ctypes.c_void_p(self.blob.ctypes.data), ctypes.c_uint32(
      len(self.case.blob)
    )

  def forward(self, context, sample, logits):
    del context
    if self.fails:
      return 1
    case = self.case
    session = case.open_phase.graph.suffix
    flows = case.open_phase.phase.method.weights_are_inputs
    weights = [
      a.reshape(t.shape).copy()
      for a, t in zip(self.tensors, self.layout.tensors)
    ]
    del flows
    session.load(weights)
    one = tuple(a[sample : sample + 1] for a in case.open_phase.inputs)
    row = session.run(one)[0].reshape(-1)
    ctypes.memmove(logits, row.astype(np.int8).ctypes.data, row.size)
    return 0

  def call(self, name, *args):
    return getattr(self.lib, name)(*args)

  def expect(self, status, name, *args):
    got = self.call(name, *args)
    assert got == status, (name, got)

  def open(self, bytes_given=None):
    return self.call(
      "fg_open",
      ctypes.byref(self.trainer),
      *self.of_blob,
      ctypes.byref(self.engine),
      ctypes.byref(self.samples),
      ctypes.c_void_p(self.buffer.ctypes.data),
      ctypes.c_uint32(self.required if bytes_given is None else bytes_given),
    )

  def train(self, checks=True):
    """Opens and trains; the status of the last call."""
    status = self.open()
    if status == OK and checks:
      status = self.call("fg_check_writes", self.trainer, ctypes.c_uint32(32))
    if status == OK:
      status = self.call("fg_begin", self.trainer)
    while status == OK:
      status = self.call("fg_step", self.trainer)
    return self.call("fg_end", self.trainer) if status == DONE else status

  def masters(self):
    """All masters by the tensor's index."""
    found = {}
    for number, tensor in enumerate(self.layout.tensors):
      is_bias = tensor.role == "bias"
      held = np.zeros(tensor.size, np.int32 if is_bias else np.int16)
      place = ctypes.c_void_p(held.ctypes.data)
      self.expect(
        OK,
        "fg_masters",
        self.trainer,
        ctypes.c_uint32(number),
        None if is_bias else place,
        place if is_bias else None,
      )
      found[tensor.index] = held
    return found

  def progress(self):
    found = Progress()
    self.expect(OK, "fg_read_progress", self.trainer, ctypes.byref(found))
    return found

  def saved(self):
    """What fg_save writes."""
    size = ctypes.c_uint32()
    self.expect(OK, "fg_saved_bytes", *self.of_blob, ctypes.byref(size))
    out = np.zeros(size.value, np.uint8)
    place = ctypes.c_void_p(out.ctypes.data)
    self.expect(OK, "fg_save", self.trainer, place, size)
    return out.tobytes()


def as_words(data):
  """Bytes in an array that is aligned to 8."""
  words = np.zeros(len(data) // 8 + 1, np.int64)
  words.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
  return words


def python_result(case):
  """The phase as Python runs it."""
  return run_phase(case.open_phase, case.data)


def different(masters, others):
  """How many masters differ, and of how many."""
  wrong = sum(int((masters[i] != others[i]).sum()) for i in masters)
  return wrong, sum(a.size for a in masters.values())
