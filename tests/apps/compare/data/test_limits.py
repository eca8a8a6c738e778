"""Files of data sets that ask for more memory than there is are one line."""

from __future__ import annotations

import gzip
import pickle
import struct

import numpy as np
import pytest

from apps.compare.data import idx, image_folders, pickled
from tests.samples.test_pictures import huge_png
from tflm_fg import limits
from tflm_fg.types import TflmFgError


def small(monkeypatch):
  """A machine that has 64 MB left."""
  monkeypatch.setattr(limits, "resident", lambda: 0)
  return limits.at_most("64MB")


@pytest.mark.parametrize(
  "content",
  [
    b"\x80\x02}r\xff\xff\xff\x7f.",
    b"\x80\x02}p2147483647\n.",
    b"\x80\x02}r\xff\xff\xff\xff.",
    b"\x80\x02}r\x00\x00\x00\x01.",
  ],
  ids=["binary", "text", "the last", "millions"],
)
def test_a_pickle_that_asks_for_an_endless_table_is_refused(content):
  """Python would make a table of 16 GB for five bytes."""
  with pytest.raises(TflmFgError, match="notes something under the number"):
    pickled.load(content, "batch")


def test_what_honest_pickles_note_is_read():
  held = {"data": np.arange(6, dtype=np.uint8), "labels": list(range(300))}
  for protocol in (0, 2, 3, 4):
    if protocol < 5:
      found = pickled.load(pickle.dumps(held, protocol), "batch")
      assert np.array_equal(found["data"], held["data"])
      assert found["labels"] == held["labels"]


def test_a_pickle_that_copies_what_it_holds_many_times_is_refused():
  text = b"X" + struct.pack("<I", 1000) + b"a" * 1000
  start = b"\x80\x02}q\x00(" + text + b"q\x01"
  again = b"c_codecs\nencode\nh\x01U\x06latin1\x86R"
  pairs = b"".join(b"K%c" % n + again for n in range(100))
  content = start + b"0" + pairs + b"u."
  with pytest.raises(TflmFgError, match="copies what it holds many times"):
    pickled.load(content, "batch")
  array = np.zeros(1000, np.uint8)
  many = {str(n): array for n in range(100)}
  with pytest.raises(TflmFgError, match="copies what it holds many times"):
    pickled.load(pickle.dumps(many, 2), "batch")


def test_a_gzip_that_unpacks_to_more_than_memory_is_refused(
  tmp_path, monkeypatch
):
  path = tmp_path / "images.gz"
  path.write_bytes(gzip.compress(bytes(24 << 20), 1))
  with small(monkeypatch), pytest.raises(TflmFgError) as told:
    idx.array(str(path))
  assert "that unpack to more than 21 MB; give fewer images" in str(told.value)
  assert "--max_memory" in str(told.value)


def test_a_drawing_of_endless_size_is_refused(tmp_path, monkeypatch):
  pytest.importorskip("matplotlib")
  path = tmp_path / "a.png"
  path.write_bytes(huge_png(8000, 8000))
  with small(monkeypatch), pytest.raises(TflmFgError) as told:
    image_folders.grey(str(path))
  assert "8000 x 8000 pixels, which takes about 4.8 GB" in str(told.value)
