"""What stands behind a file stands behind all that is made of it."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

import tflm_fg
from converters.to_float import to_float
from tests import models
from tests.options import options
from tests.test_nothing_else import off_boundaries
from tests.tflite.test_outside import with_labels
from tflm_fg.runtimes import is_installed
from tflm_fg.tflite import model_file
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.surgery.class_outputs import add_rows, new_rows
from tflm_fg.tflite.surgery.fold import fold_input_offset

NAMES = b"yes\nno\nperhaps\n"
SIGNED = b"signed by us, sixteen bytes and more: \0\1\2"
DEEP = models.deep_model()
LEGACY = models.uint8_model(models.dense_model(per_channel=False))
X, Y = models.separable(samples=48)


def marked(data, trainable="head", **graph):
  given = GraphOptions(**graph)
  return tflm_fg.mark_trainable(data, trainable, graph_options=given).data


def rewritten_by_others(data):
  """Marked, and written again as other tools do, with the archive behind."""
  file = ModelFile.open(marked(data))
  return file.repacked(file.unpack())


WAYS = {
  "prompt": (DEEP, lambda d: marked(d, "prompt", gain=True)),
  "wide head": (DEEP, lambda d: marked(d, "wide-head")),
  "gains": (DEEP, lambda d: marked(d, "gain")),
  "all": (DEEP, lambda d: marked(d, "all")),
  "room": (DEEP, lambda d: marked(d, "head", head_room=2)),
  "int16 weights": (DEEP, lambda d: marked(d, "head", weights="int16")),
  "two bytes": (DEEP, lambda d: marked(d, "head", weights="int8x2")),
  "boundaries": (off_boundaries(DEEP), marked),
  "no bias": (models.dense_model(bias=False), marked),
  "legacy uint8": (LEGACY, marked),
  "legacy uint8, prompt": (LEGACY, lambda d: marked(d, "prompt", uint8="keep")),
  "a pooled head": (models.shaped_head_model("pooled"), marked),
  "constants outside": (models.outside(DEEP), lambda d: marked(d, "prompt")),
  "marked twice": (DEEP, lambda d: marked(marked(d, "prompt"), "bias")),
  "a mark inside": (DEEP, rewritten_by_others),
  "a mark inside, off": (DEEP, lambda d: tflm_fg.strip(rewritten_by_others(d))),
  "more outputs": (DEEP, lambda d: add_rows(d, 2)),
  "more outputs of a marked file": (DEEP, lambda d: add_rows(marked(d), 2)),
  "new outputs": (DEEP, lambda d: new_rows(d, 3)),
  "a folded prompt": (
    DEEP,
    lambda d: fold_input_offset(tflm_fg.strip(marked(d, "prompt"))),
  ),
  "a float twin": (models.dense_model(), to_float),
}


@pytest.mark.parametrize("way", WAYS)
def test_labels_and_other_bytes_are_behind_what_was_made(way):
  data, make = WAYS[way]
  for made in (make(with_labels(data, NAMES)), make(data + SIGNED)):
    ModelFile.open(made)
    for content in (made, tflm_fg.strip(made)):
      if SIGNED in made:
        assert content.endswith(SIGNED)
      else:
        archive = zipfile.ZipFile(io.BytesIO(content))
        assert archive.read("labels.txt") == NAMES
        assert archive.testzip() is None


@pytest.mark.parametrize("trainable", ["head", "prompt", "wide-head"])
def test_an_adapted_file_has_them_in_every_form_it_comes_in(
  trainable, tmp_path
):
  data = with_labels(DEEP, NAMES)
  result = tflm_fg.adapt(
    data, X, Y, trainable=trainable, **options(steps=4, seed=1)
  )
  result.save(tmp_path / "plain.tflite")
  result.save(tmp_path / "marked.tflite", marked=True)
  again = tflm_fg.replay(result.journal, data)
  for content in (
    result.model,
    result.marked_model,
    result.start,
    again,
    tflm_fg.strip(again),
    (tmp_path / "plain.tflite").read_bytes(),
    (tmp_path / "marked.tflite").read_bytes(),
  ):
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.read("labels.txt") == NAMES
    assert archive.namelist() == ["labels.txt", "more.txt"]
  if trainable == "head":  # no byte behind the file has moved
    assert result.model[len(DEEP) :] == data[len(DEEP) :]


@pytest.mark.skipif(not is_installed("tflm"), reason="needs tflm")
def test_they_stay_where_constants_move_inside_for_tflm():
  data = with_labels(models.outside(DEEP), NAMES)
  made = tflm_fg.mark_trainable(data, target="tflm").data
  assert zipfile.ZipFile(io.BytesIO(made)).read("labels.txt") == NAMES


def test_metadata_inside_and_its_bytes_stay():
  model = model_file.read(DEEP)
  for name in (b"TFLITE_METADATA", b"min_runtime_version"):
    entry = models.schema.MetadataT()
    entry.name, entry.buffer = name, len(model.buffers)
    buffer = models.schema.BufferT()
    buffer.data = np.frombuffer(name * 5, np.uint8)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
  data = model_file.pack(model)
  for trainable in ("head", "prompt", "wide-head", "gain"):
    made = model_file.read(tflm_fg.strip(marked(data, trainable)))
    held = {e.name: bytes(made.buffers[e.buffer].data) for e in made.metadata}
    assert held == {
      name: name * 5 for name in (b"TFLITE_METADATA", b"min_runtime_version")
    }
