"""Names packed behind a file are read, carried, and told where they fail."""

import io
import zipfile

import pytest

from apps.kws.model import adaptation, enrolment
from apps.kws.model.spotter import load
from converters.to_float import to_float
from tests import models
from tests.apps.kws.model.test_needs import job
from tests.tflite.test_outside import with_labels
from tflm_fg.tflite import carried_note, with_tail_of
from tflm_fg.tflite.contents.labels import packed_lists, unnamed_note
from tflm_fg.tflite.model_file import ModelFile, read
from tflm_fg.tflite.select_trainable import mark_file

MODEL = models.dense_model()
LABELLED = with_labels(MODEL, b"a\nb\n\n c \nd\n")


def opened(data):
  return ModelFile.open(data)


def names_in(data):
  return zipfile.ZipFile(io.BytesIO(data)).namelist()


def test_lists_are_read_from_a_file_and_from_a_marked_one():
  lists = {"labels.txt": ("a", "b", "c", "d"), "more.txt": ("more",)}
  assert packed_lists(opened(LABELLED)) == lists
  assert packed_lists(mark_file(LABELLED, "head").file) == lists
  assert packed_lists(opened(MODEL)) == {}


@pytest.mark.parametrize(
  "tail", [b"signed", b"PK\5\6" + bytes(18), b"PK\5\6" + bytes(range(40))]
)
def test_bytes_that_are_no_archive_hold_no_lists(tail):
  assert packed_lists(opened(MODEL + tail)) == {}


def test_a_list_that_unpacks_to_too_much_is_not_read(monkeypatch):
  monkeypatch.setattr("tflm_fg.tflite.contents.labels.MOST_BYTES", 5)
  assert set(packed_lists(opened(LABELLED))) == {"more.txt"}


def test_classes_that_a_list_does_not_name_are_said():
  file = opened(LABELLED)
  (note,) = unnamed_note(file, 4, ["A", "b", "c", "d", "lamp"])
  assert "labels.txt" in note and "4 names and none for lamp" in note
  assert unnamed_note(file, 4, ["a", "b", "c", "D"]) == []
  assert unnamed_note(file, 5, ["lamp"]) == []  # of something else


def test_an_enrolment_tells_that_a_packed_list_does_not_have_the_new_word():
  known = load(None)
  lines = "\n".join(known.classes).encode()
  labelled = known.__class__(
    known.name, with_labels(known.model, lines), known.frontend, known.classes
  )
  room = enrolment.make_room(labelled, ["lamp"])
  result = adaptation.adapt(
    job(
      room.spotter,
      came=labelled,
      layer="head",
      method=enrolment.method(3, 0.0, 0),
    )
  )
  notes = [n for n in result.report["notes"] if "packed behind" in n]
  assert len(notes) == 1 and "none for lamp" in notes[0]
  assert names_in(result.spotter.model) == ["labels.txt", "more.txt"]
  unchanged = adaptation.adapt(job(labelled, trainable="head"))
  assert "packed behind" not in str(unchanged.report["notes"])
  assert names_in(unchanged.spotter.model) == ["labels.txt", "more.txt"]


def test_a_float_twin_has_what_stood_behind_the_file():
  assert packed_lists(opened(to_float(LABELLED)))["labels.txt"][0] == "a"


def test_a_converted_file_gets_what_stood_behind_the_float_one():
  made = with_tail_of(MODEL, opened(with_labels(models.float_model())))
  assert names_in(made) == ["labels.txt", "more.txt"]
  assert with_tail_of(MODEL, opened(models.float_model())) == MODEL
  assert "labels.txt, more.txt came over" in carried_note(opened(made))
  assert carried_note(opened(MODEL)) == ""


def test_metadata_of_a_float_file_is_named_where_it_came_over():
  model = read(MODEL)
  entry = models.schema.MetadataT()
  entry.name, entry.buffer = b"TFLITE_METADATA", 0
  model.metadata = [entry]
  data = models.model_file.pack(model)
  assert "the TFLite metadata" in carried_note(opened(data))
