"""What an app kept of get_weights is read back, or refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.export import kept_weights
from tflm_fg.types import TflmFgError

DETAILS = {
  "kernel": {"shape": np.int32([3, 4]), "dtype": np.int32},
  "bias": {"shape": np.int32([3]), "dtype": np.int32},
}
WEIGHTS = {
  "kernel": np.arange(12, dtype=np.int32).reshape(3, 4),
  "bias": np.int32([-1, 7, 1 << 20]),
}


def equal(found):
  return {*found} == {*WEIGHTS} and all(
    found[n].shape == w.shape and (found[n] == w).all()
    for n, w in WEIGHTS.items()
  )


def test_bytes_come_in_the_order_of_the_names(tmp_path):
  path = tmp_path / "weights.bin"
  path.write_bytes(WEIGHTS["bias"].tobytes() + WEIGHTS["kernel"].tobytes())
  assert equal(kept_weights.read(str(path), DETAILS))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_read_by_names(save, tmp_path):
  save(tmp_path / "weights.npz", **WEIGHTS)
  assert equal(kept_weights.read(str(tmp_path / "weights.npz"), DETAILS))


@pytest.mark.parametrize("count", [0, 5, 59, 61, 600])
def test_another_number_of_bytes_is_refused_with_what_is_wanted(
  count, tmp_path
):
  path = tmp_path / "weights.bin"
  path.write_bytes(b"x" * count)
  with pytest.raises(TflmFgError) as refusal:
    kept_weights.read(str(path), DETAILS)
  assert str(refusal.value) == (
    f"{path}: {count} bytes; the weights of this model have 60: bias int32 "
    "[3], kernel int32 [3, 4]"
  )


@pytest.mark.parametrize(
  "held",
  [
    {"kernel": WEIGHTS["kernel"]},
    {**WEIGHTS, "more": np.zeros(1)},
    {**WEIGHTS, "bias": np.int32([1, 2])},
    {**WEIGHTS, "bias": np.float32([1, 2, 3])},
  ],
  ids=["one is missing", "one too many", "another size", "another type"],
)
def test_arrays_of_another_model_are_refused(held, tmp_path):
  np.savez(tmp_path / "weights.npz", **held)
  with pytest.raises(TflmFgError, match="not the weights of this model"):
    kept_weights.read(str(tmp_path / "weights.npz"), DETAILS)


@given(st.integers(0, 2000), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_damaged_npz_is_refused_or_holds_what_was_kept(
  tmp_path_factory, at, flip
):
  path = tmp_path_factory.getbasetemp() / "damaged.npz"
  np.savez(path, **WEIGHTS)
  data = bytearray(path.read_bytes())
  data[at % len(data)] ^= flip
  path.write_bytes(data)
  try:
    assert equal(kept_weights.read(str(path), DETAILS))
  except TflmFgError as refusal:
    assert "\n" not in str(refusal)
