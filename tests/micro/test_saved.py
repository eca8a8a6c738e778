"""What a device has saved becomes the adapted file, or is refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.programs import run
from tflm_fg import micro
from tflm_fg.methods import ClosedForm, PerSample
from tflm_fg.placement.phase_record import masters_of, write_masters
from tflm_fg.tflite import GraphOptions, MarkedModel
from tflm_fg.types import TflmFgError


def as_saved(blob, marked, masters):
  """The bytes of fg_saved.c, put together anew."""
  body = b"".join(
    masters[t.index].astype("<i2" if t.has_master else "<i4").tobytes()
    for t in marked.mark.trainable
  )
  crc = struct.unpack_from("<I", blob, 12)[0]
  size = 28 + len(body) + 4
  head = b"FGJ1" + struct.pack("<IIIIII", 1, size, crc, 0, 4, 4)
  return head + body + struct.pack("<I", zlib.crc32(head + body))


def moved(marked, seed=0):
  """Masters somewhere else than the start."""
  random = np.random.default_rng(seed)
  start = masters_of(marked.file, marked.mark)
  return {
    i: np.clip(m + random.integers(-900, 900, m.shape), -32512, 32512).astype(
      m.dtype
    )
    for i, m in start.items()
  }


@pytest.fixture(name="device", params=["head", "prompt"])
def device_fixture(request) -> tuple[MarkedModel, bytes]:
  options = GraphOptions(gain=request.param == "prompt")
  marked = tflm_fg.mark_trainable(
    models.conv_model(), request.param, graph_options=options, name="small"
  )
  method = ClosedForm() if request.param == "head" else PerSample()
  return marked, micro.phase_blob(marked, method)


def test_saved_masters_become_the_adapted_file(device):
  marked, blob = device
  masters = moved(marked)
  saved = as_saved(blob, marked, masters)
  made = micro.read_saved(saved + b"\xff" * 40, blob, marked.file)
  assert made == write_masters(marked.file, marked.mark, masters).data
  assert made != marked.data


def test_a_changed_byte_or_a_cut_anywhere_is_refused(device):
  marked, blob = device
  saved = as_saved(blob, marked, moved(marked))
  for at in range(len(saved)):
    for wrong in (
      saved[:at],
      saved[:at] + bytes([saved[at] ^ 4]) + saved[at + 1 :],
    ):
      with pytest.raises(TflmFgError, match=r"board\.bin: "):
        micro.read_saved(wrong, blob, marked.file, "board.bin")


def test_another_blob_or_another_file_is_refused(device):
  marked, blob = device
  saved = as_saved(blob, marked, moved(marked))
  other = tflm_fg.mark_trainable(models.conv_model(seed=1), "head", name="two")
  another = micro.phase_blob(other, ClosedForm())
  theirs = as_saved(another, other, moved(other))
  with pytest.raises(TflmFgError, match="two: not the file that the blob"):
    micro.read_saved(saved, blob, other.file)
  with pytest.raises(TflmFgError, match="saved"):
    micro.read_saved(theirs, blob, marked.file)
  with pytest.raises(TflmFgError, match="small: not the file"):
    micro.read_saved(theirs, another, marked.file)
  with pytest.raises(TflmFgError, match="--blob: not a blob"):
    micro.read_saved(saved, blob[:-4], marked.file)
  with pytest.raises(TflmFgError, match="has no mark"):
    micro.read_saved(saved, blob, tflm_fg.strip(marked.file))


def test_a_saved_phase_of_another_method_is_refused():
  marked = tflm_fg.mark_trainable(models.conv_model(), "head", name="small")
  one, two = (micro.phase_blob(marked, ClosedForm(seed=s)) for s in (0, 1))
  saved = as_saved(one, marked, moved(marked))
  with pytest.raises(TflmFgError, match="saved for another blob"):
    micro.read_saved(saved, two, marked.file)


def test_adapt_takes_what_a_device_has_saved(tmp_path):
  marked = tflm_fg.mark_trainable(models.conv_model(), "head", name="small")
  blob = micro.phase_blob(marked, ClosedForm())
  masters = moved(marked)
  (tmp_path / "marked.tflite").write_bytes(marked.data)
  (tmp_path / "blob.bin").write_bytes(blob)
  (tmp_path / "saved.bin").write_bytes(as_saved(blob, marked, masters))
  flags = "--model=marked.tflite", "--blob=blob.bin", "--out=adapted.tflite"
  done = run(tmp_path, "apps.adapt", *flags, "--from_journal=saved.bin")
  assert done.returncode == 0, done.stderr
  wanted = write_masters(marked.file, marked.mark, masters).data
  assert (tmp_path / "adapted.tflite").read_bytes() == tflm_fg.strip(wanted)
  done = run(tmp_path, "apps.adapt", *flags)
  assert (done.returncode, "--from_journal" in done.stderr) == (1, True)
