"""Constants behind the flatbuffer, and bytes that others put behind a file."""

from __future__ import annotations

import io
import struct
import zipfile

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import edited, refused
from tflm_fg.runtimes.interpreters import interpreter_maker
from tflm_fg.runtimes.registry import is_installed, open_session
from tflm_fg.tflite import model_file, outside
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.class_outputs import add_rows
from tflm_fg.tflite.tensors import Patchable

INSIDE = models.dense_model()
OUTSIDE = models.outside(INSIDE)
X, Y = models.separable(samples=48)
RUNTIMES = [r for r in ("litert", "tflm") if is_installed(r)]


def logits(data, runtime="litert"):
  x = np.random.default_rng(0).integers(-128, 128, (6, 8)).astype("int8")
  return open_session(runtime, whole(data, unmarked(data))).run((x,))[0]


def with_labels(data, names=b"yes\nno\n"):
  """The file with a zip archive behind it, as TensorFlow's tools append it."""
  packed = io.BytesIO(data)
  packed.seek(0, 2)
  with zipfile.ZipFile(packed, "a") as archive:
    archive.writestr("labels.txt", names)
    archive.writestr("more.txt", b"more")
  return packed.getvalue()


def unaligned(data):
  """The file as a converter writes it, with constants off 16 bytes."""
  builder = flatbuffers.Builder(1024)
  model = model_file.read(data)
  model.description = b"x" * 5
  builder.Finish(model.Pack(builder), b"TFL3")
  return bytes(builder.Output())


def test_a_file_with_constants_outside_is_read_as_one_with_them_inside():
  one, other = ModelFile.open(INSIDE), ModelFile.open(OUTSIDE)
  assert one.subgraph == other.subgraph
  indices = [i for i, t in enumerate(one.subgraph.tensors) if t.is_constant]
  for a, b in zip(
    Patchable(one, indices).read(), Patchable(other, indices).read()
  ):
    assert np.array_equal(a, b)
  assert other.spans[1][0] > one.spans[1][0]


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_the_mark_comes_off_and_leaves_every_byte(trainable):
  marked = mark_file(OUTSIDE, trainable)
  assert marked.notes == ()
  assert marked.data.endswith(OUTSIDE)
  assert tflm_fg.strip(marked.data) == OUTSIDE
  assert ModelFile.open(marked.data).spans == marked.file.spans


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_engines_run_it_as_the_one_with_constants_inside(runtime):
  for data in (OUTSIDE, mark_file(OUTSIDE, "head").data):
    assert np.array_equal(logits(data, runtime), logits(INSIDE, runtime))


def test_engines_find_the_constants_of_a_marked_file():
  found = []
  for data in (INSIDE, mark_file(OUTSIDE, "all").data):
    interpreter = interpreter_maker(litert, "BUILTIN_REF")(data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(
      interpreter.get_input_details()[0]["index"],
      np.arange(-40, 40, 10, dtype=np.int8).reshape(1, 8),
    )
    interpreter.invoke()
    output = interpreter.get_output_details()[0]["index"]
    found.append(interpreter.get_tensor(output))
  assert np.array_equal(*found)


@pytest.mark.parametrize("trainable", ["head", "wide-head", "prompt"])
def test_adapting_gives_what_adapting_the_other_form_gives(trainable):
  model = models.deep_model()
  given = options(method="closed-form", steps=4, seed=1)
  if trainable == "prompt":
    given = options(method="sign-m-spsa", steps=2, seed=1)
  one, other = (
    tflm_fg.adapt(m, X, Y, trainable=trainable, **given)
    for m in (model, models.outside(model))
  )
  assert np.array_equal(logits(one.model), logits(other.model))
  assert tflm_fg.replay(other.journal, models.outside(model)) == (
    other.marked_model
  )
  if trainable == "head":
    assert len(other.model) == len(models.outside(model))


def test_constants_that_reach_over_the_end_are_refused():
  refused(lambda: ModelFile.open(OUTSIDE[:-20]), "reaches over the file's")


def test_constants_that_share_bytes_get_their_own_before_they_train():
  root = schema.Model.GetRootAsModel(OUTSIDE, 0)
  placed = [
    root.Buffers(i).Offset()
    for i in range(root.BuffersLength())
    if root.Buffers(i).Offset()
  ]
  # Another constant is made a part of the first one.
  shared = bytearray(OUTSIDE)
  field = OUTSIDE.find(struct.pack("<Q", placed[1]))
  struct.pack_into("<Q", shared, field, placed[0])
  file = ModelFile.open(bytes(shared))
  assert file.shares_bytes
  marked = mark_file(file, "head")
  assert any("bytes of their own" in note for note in marked.notes)
  assert not marked.file.shares_bytes
  assert np.array_equal(logits(bytes(shared)), logits(marked.data))


@pytest.mark.parametrize("data", [INSIDE, OUTSIDE], ids=["inside", "outside"])
def test_names_packed_behind_a_file_are_there_after_it_was_written_anew(data):
  labelled = with_labels(data)
  plain = mark_file(labelled, "head")
  assert tflm_fg.strip(plain.data) == labelled
  grown = [
    tflm_fg.strip(mark_file(labelled, "prompt").data),
    tflm_fg.strip(mark_file(with_labels(unaligned(data)), "head").data),
    add_rows(labelled, 1),
    add_rows(mark_file(labelled, "head").data, 1),
  ]
  for content in grown:
    ModelFile.open(content)
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.read("labels.txt") == b"yes\nno\n"
    # Readers that count offsets from the file's start find it too.
    (start,) = struct.unpack_from("<I", content, content.rfind(b"PK\5\6") + 16)
    assert content[start : start + 4] == b"PK\1\2"
    assert archive.infolist()[1].header_offset == content.rfind(b"PK\3\4")


def test_other_bytes_behind_a_file_stay_as_they_are():
  for tail in (b"signed by us", b"PK\5\6" + bytes(range(40)), b"PK\5\6"):
    grown = mark_file(INSIDE + tail, "prompt").data
    assert grown.endswith(tail)
    assert logits(grown).any()
  assert not mark_file(INSIDE + bytes(40), "prompt").data.endswith(bytes(40))


def archived(data, force_large=False, comment=b""):
  """A zip archive of its own, whose offsets count from its beginning."""
  packed = io.BytesIO()
  with zipfile.ZipFile(packed, "w") as archive:
    archive.comment = comment
    with archive.open("labels.txt", "w", force_zip64=force_large) as out:
      out.write(b"yes\nno\n")
  return data + packed.getvalue()


def labels_of(content):
  return zipfile.ZipFile(io.BytesIO(content)).read("labels.txt")


@pytest.mark.parametrize("kind", ["plain", "large", "comment"])
def test_an_archive_that_counts_from_itself_stays_byte_for_byte(kind):
  data = archived(INSIDE, kind == "large", b"ours" * (kind == "comment"))
  grown = tflm_fg.strip(mark_file(data, "prompt").data)
  assert grown.endswith(data[len(INSIDE) :])
  assert labels_of(grown) == b"yes\nno\n"


def large_form(data):
  """The file with labels in an archive of the form for more than 4 GB."""
  plain = with_labels(data)
  end = plain.rfind(b"PK\5\6")
  count, size, offset = struct.unpack_from("<HII", plain, end + 10)
  record = struct.pack(
    "<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset
  )
  locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
  return plain[:end] + record + locator + plain[end:]


def test_an_archive_of_the_large_form_stays_byte_for_byte_and_is_read():
  data = large_form(INSIDE)
  assert labels_of(data) == b"yes\nno\n"
  grown = tflm_fg.strip(mark_file(data, "prompt").data)
  assert grown.endswith(data[len(INSIDE) :])
  assert labels_of(grown) == b"yes\nno\n"


def test_an_archive_that_was_appended_to_a_marked_file_fits_without_the_mark():
  marked = mark_file(INSIDE, "head").data
  plain = tflm_fg.strip(with_labels(marked))
  assert plain.startswith(INSIDE)
  assert labels_of(plain) == b"yes\nno\n"
  (start,) = struct.unpack_from("<I", plain, plain.rfind(b"PK\5\6") + 16)
  assert plain[start : start + 4] == b"PK\1\2"
  assert tflm_fg.strip(mark_file(plain, "head").data) == plain


def test_constants_that_do_not_fit_inside_are_refused_by_name(monkeypatch):
  monkeypatch.setattr(outside, "MOST_BYTES", 100)
  refused(lambda: mark_file(OUTSIDE, "prompt"), "100", "--trainable=head")
  assert mark_file(OUTSIDE, "head").notes == ()


def test_options_outside_the_flatbuffer_are_refused_by_name():
  def edit(model):
    model.subgraphs[0].operators[1].largeCustomOptionsOffset = 400
    model.subgraphs[0].operators[1].largeCustomOptionsSize = 8

  data = edited(edit)
  refused(lambda: ModelFile.open(data), "operator 1", "outside the flatbuffer")
