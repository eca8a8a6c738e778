"""Arrays that are not what the model takes are refused; odd ones are taken."""

from __future__ import annotations

import io
import pathlib
import re
import zipfile
from typing import Any

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import MODEL, X, Y, adapt, refused
from tflm_fg.samples import load_npz
from tflm_fg.types import TflmFgError


def npz(folder: pathlib.Path, **arrays: Any) -> str:
  path = folder / "clips.npz"
  np.savez(path, **arrays)
  return str(path)


def _npz_bytes() -> bytes:
  content = io.BytesIO()
  np.savez(content, x=X, y=Y)
  return content.getvalue()


def _npy(value: Any) -> bytes:
  content = io.BytesIO()
  np.save(content, value)
  return content.getvalue()


def _zip(**members: bytes) -> bytes:
  content = io.BytesIO()
  with zipfile.ZipFile(content, "w") as archive:
    for name, held in members.items():
      archive.writestr(name.replace("_npy", ".npy"), held)
  return content.getvalue()


def _encrypted(content: bytes) -> bytes:
  return re.sub(
    rb"(PK\x01\x02.{4})(.)",
    lambda m: m[1] + bytes([m[2][0] | 1]),
    content,
    flags=re.DOTALL,
  )


def _unknown_compression(content: bytes) -> bytes:
  return re.sub(rb"(PK\x01\x02.{6}).", rb"\1c", content, flags=re.DOTALL)


def _huge_header(samples: int) -> bytes:
  content = io.BytesIO()
  header = {"descr": "<f4", "fortran_order": False, "shape": (samples, 1960)}
  np.lib.format.write_array_header_1_0(content, header)
  return _zip(x_npy=content.getvalue() + b"abc", y_npy=_npy(Y))


GOOD = _npz_bytes()
UNREADABLE = {
  "empty": b"",
  "text": b"hello\n" * 9,
  "a model": MODEL,
  "half": GOOD[: len(GOOD) // 2],
  "without its end": GOOD[:-30],
  "an npy": _npy(X),
  "a text member": _zip(x=b"hello", y=b"hello"),
  "a broken member": _zip(x_npy=b"hello", y_npy=b""),
  "encrypted": _encrypted(GOOD),
  "unknown compression": _unknown_compression(GOOD),
  "a header of petabytes": _huge_header(10**12),
}


@pytest.mark.parametrize("kind", list(UNREADABLE))
def test_unreadable_npz_is_refused_by_name(kind, tmp_path):
  path = tmp_path / "clips.npz"
  path.write_bytes(UNREADABLE[kind])
  message = refused(lambda: load_npz(str(path)), "clips.npz")
  assert "allow_pickle" not in message  # no advice that runs foreign code


def test_npz_with_any_flipped_bit_loads_or_is_refused(tmp_path):
  path = tmp_path / "clips.npz"
  random = np.random.default_rng(0)
  ends = [*range(200), *range(len(GOOD) - 200, len(GOOD))]
  for place in random.choice(ends, 120, replace=False):
    broken = bytearray(GOOD)
    broken[place] ^= 1 << random.integers(8)
    path.write_bytes(broken)
    try:
      load_npz(str(path))
    except TflmFgError as fault:
      assert "clips.npz" in str(fault)


def test_missing_npz_and_folder_are_refused(tmp_path):
  refused(lambda: load_npz(str(tmp_path / "no.npz")), "no.npz", "no such")
  refused(lambda: load_npz(str(tmp_path)), str(tmp_path))


@pytest.mark.parametrize("key", ["x", "y"])
def test_missing_array_is_named(key, tmp_path):
  held = {k: v for k, v in {"x": X, "y": Y}.items() if k != key}
  path = npz(tmp_path, **held)
  refused(lambda: load_npz(path), repr(key))


@pytest.mark.parametrize("key", ["x", "y"])
def test_pickled_objects_are_never_loaded(key, tmp_path):
  arrays = {"x": X, "y": Y, key: np.array([object()] * 48, object)}
  refused(lambda: load_npz(npz(tmp_path, **arrays)), "clips.npz")


BAD_X = {
  "another width": X[:, :5],
  "one sample without its axis": X[0],
  "a scalar": np.float32(1),
  "no samples": X[:0],
  "int32": X.astype(np.int32),
  "uint8": X.astype(np.uint8),
  "bool": X > 0,
  "complex": X.astype(complex),
  "text": np.full(X.shape, "a"),
  "dates": np.zeros(X.shape, "datetime64[s]"),
  "records": np.zeros(X.shape, [("a", "f4")]),
  "NaN": np.where(X > 1, np.nan, X),
  "infinity": np.where(X > 1, -np.inf, X),
}


@pytest.mark.parametrize("kind", list(BAD_X))
def test_samples_that_do_not_fit_are_refused(kind):
  y = Y[: len(BAD_X[kind])] if np.ndim(BAD_X[kind]) > 1 else Y
  refused(lambda: adapt(x=BAD_X[kind], y=y), "train x")
  refused(lambda: tflm_fg.evaluate(MODEL, BAD_X[kind], y), "x")


BAD_Y = {
  "negative": Y - 1,
  "above the last class": Y + 1,
  "floats": Y.astype(float),
  "NaN": np.full(len(Y), np.nan),
  "too few": Y[:-1],
  "one-hot of another count": np.eye(5, dtype=int)[Y],
  "shares of classes": np.full((len(Y), 4), 0.25),
  "two columns": np.stack([Y, Y], 1),
  "a scalar": np.int64(1),
  "bool": Y > 1,
  "words": np.array(list("abcd"))[Y],
  "beyond 63 bits": np.full(len(Y), 2**64 - 1, np.uint64),
}


@pytest.mark.parametrize("kind", list(BAD_Y))
def test_classes_that_do_not_fit_are_refused(kind):
  refused(lambda: adapt(y=BAD_Y[kind]), "train y")
  refused(lambda: adapt(test=(X, BAD_Y[kind])), "test y")


FINE = {
  "one sample": (X[:1], Y[:1]),
  "two samples": (X[:2], Y[:2]),
  "one class": (X, Y * 0),
  "float16": (X.astype(np.float16), Y),
  "float64 beyond float32": (X.astype(float) * 1e300, Y),
  "long double": (X.astype(np.longdouble), Y),
  "another byte order": (X.astype(">f4"), Y.astype(">i4")),
  "column order": (np.asfortranarray(X), Y),
  "uint64 classes": (X, Y.astype(np.uint64)),
  "one axis too many": (X[..., None], Y),
  "one-hot": (X, np.eye(4)[Y]),
  "a column": (X, Y[:, None]),
  "the model's integers": (models.int8_samples((8,), 48), Y),
}


@pytest.mark.parametrize("kind", list(FINE))
def test_odd_but_sound_samples_are_taken(kind):
  x, y = FINE[kind]
  result = adapt(x=x, y=y)
  assert np.isfinite(result.report["loss_after"])


def test_batch_larger_than_the_set_is_the_whole_set():
  large = adapt(**options(method="sign-m-spsa", steps=3, batch_size=2**31 - 1))
  assert large.marked_model == adapt().marked_model
