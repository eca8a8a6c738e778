"""Arrays are looked at before they are read: sizes, headers, what is behind."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from tests.files.test_files import sparse
from tflm_fg import limits
from tflm_fg.samples import load_npz
from tflm_fg.samples.npz import load_npy
from tflm_fg.types import TflmFgError


def header(shape, descr="<f4"):
  """What stands in front of an array, as NumPy writes it."""
  held = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    held, {"descr": descr, "fortran_order": False, "shape": shape}
  )
  return held.getvalue()


def archive(path, **members):
  """An .npz of bytes as they are given."""
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
    for name, content in members.items():
      made.writestr(f"{name}.npy", content)
  return str(path)


def test_an_archive_that_unpacks_to_more_than_memory_is_refused(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(limits, "resident", lambda: 0)
  count = (33 << 20) // 4
  x = header((count // 16, 16)) + bytes(4 * count)
  path = archive(tmp_path / "bomb.npz", x=x, y=header((0,)))
  with limits.at_most("64MB"), pytest.raises(TflmFgError) as told:
    load_npz(path)
  line = str(told.value)
  assert "that unpack to 33 MB" in line
  assert "takes about 66 MB of memory" in line
  assert line.endswith("give fewer samples, or raise --max_memory")


@pytest.mark.parametrize(
  "shape", [(1 << 40,), (1 << 62, 1 << 62), (0, 7, 9), (3,)]
)
def test_a_header_that_lies_is_found_out_before_anything_is_taken(
  shape, tmp_path
):
  content = header(shape) + bytes(16)
  path = archive(tmp_path / "x.npz", x=content, y=content)
  with pytest.raises(TflmFgError, match=r"not a readable .npz"):
    load_npz(path)
  (tmp_path / "x.npy").write_bytes(content)
  with pytest.raises(
    TflmFgError, match=r"its header says .*16 bytes are there"
  ):
    load_npy(str(tmp_path / "x.npy"), labels=False)


@pytest.mark.parametrize(
  "content",
  [
    b"",
    b"\x93NUMPY",
    b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(20),
    b"\x93NUMPY\x09\x00\x10\x00" + bytes(20),
    b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16,
    b"\x93NUMPY\x01\x00\x00\x20" + b"[" * 0x2000,
    b"\x93NUMPY\x01\x00\x02\x00{}",
    header((2,), "|O") + bytes(16),
  ],
)
def test_a_damaged_header_is_one_line(content, tmp_path):
  path = archive(tmp_path / "x.npz", x=content, y=header((0,)))
  with pytest.raises(TflmFgError, match=r"not a readable .npz"):
    load_npz(path)
  (tmp_path / "x.npy").write_bytes(content)
  with pytest.raises(TflmFgError, match=r"not a readable .npy"):
    load_npy(str(tmp_path / "x.npy"), labels=False)


def test_an_archive_whose_directory_is_endless_is_refused(tmp_path):
  path = tmp_path / "x.npz"
  np.savez(path, x=np.ones(3), y=np.ones(3))
  content = bytearray(path.read_bytes())
  place = content.rfind(b"PK\5\6")
  content[place + 12 : place + 16] = b"\xff\xff\xff\x7f"
  path.write_bytes(content)
  with pytest.raises(TflmFgError, match=r"not a readable .npz"):
    load_npz(str(path))


def test_an_array_larger_than_memory_is_refused_by_its_size(tmp_path):
  start = header((1 << 30,))
  path = sparse(tmp_path / "x.npy", len(start) + (4 << 30))
  with open(path, "r+b") as file:
    file.write(start)
  with limits.at_most("1GB"), pytest.raises(TflmFgError) as told:
    load_npy(path, labels=False)
  assert "x.npy: 4.0 GB, which takes about 8.0 GB" in str(told.value)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_devices_are_no_samples(path):
  with pytest.raises(TflmFgError, match="it is a device"):
    load_npz(path)
