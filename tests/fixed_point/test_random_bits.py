"""Random bits are an address, and the published ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import models
from tflm_fg.fixed_point import random_bits
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.tflite.select_trainable import mark_file

# Random123's known-answer file, threefry2x32 with 20 rounds.
PUBLISHED = [
  ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
  ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
  (
    (0x13198A2E, 0x03707344),
    (0x243F6A88, 0x85A308D3),
    (0xC4923A9C, 0x483DF7A0),
  ),
]


@pytest.mark.parametrize(("key", "counter", "expected"), PUBLISHED)
def test_threefry_gives_the_published_vectors(key, counter, expected):
  words = random_bits.threefry_2x32(key, tuple(np.uint32(c) for c in counter))
  assert tuple(int(w) for w in words) == expected


@pytest.mark.parametrize(("key", "counter", "expected"), PUBLISHED)
def test_a_seed_is_the_key_and_step_then_direction_the_counter(
  key, counter, expected
):
  words = random_bits.key_of(key[0] | key[1] << 32, *counter)
  assert tuple(int(w) for w in words) == expected


@pytest.mark.parametrize(("key", "counter", "expected"), PUBLISHED)
def test_bytes_are_the_words_of_tensor_and_block_in_little_endian(
  key, counter, expected
):
  tensor, block = ([c] for c in counter)
  drawn = random_bits.random_bytes(
    tuple(np.uint32(k) for k in key), tensor, block
  )
  assert drawn.tobytes() == b"".join(w.to_bytes(4, "little") for w in expected)


def test_a_tensors_blocks_count_from_zero():
  layout = Layout(mark_file(models.conv_model(), "head").mark.trainable)
  key = random_bits.key_of(5, 6, 7)
  drawn = random_bits.Addresses(layout.tensors, 8).draw(key, lambda raw: raw)
  kernel = next(t for t in layout.tensors if t.has_master)
  blocks = np.arange(-(-kernel.size // 8))
  alone = random_bits.random_bytes(
    key, np.full_like(blocks, kernel.index), blocks
  )
  assert np.array_equal(drawn[: kernel.size], alone[: kernel.size])


def test_threefry_of_arrays_equals_threefry_of_their_elements():
  counters = np.arange(50, dtype=np.uint32)
  together = random_bits.threefry_2x32(
    (1, 2), (counters, counters + np.uint32(7))
  )
  for i in range(50):
    alone = random_bits.threefry_2x32(
      (1, 2), (counters[i], counters[i] + np.uint32(7))
    )
    assert (int(together[0][i]), int(together[1][i])) == tuple(map(int, alone))


def test_each_part_of_an_address_changes_the_bits():
  def draw(seed=1, step=2, direction=3, tensor=4, block=5):
    key = random_bits.key_of(seed, step, direction)
    return random_bits.random_bytes(key, [tensor], [block]).tobytes()

  others = [
    draw(seed=2),
    draw(seed=1 + 2**32),
    draw(step=3),
    draw(direction=4),
    draw(tensor=5),
    draw(block=6),
  ]
  assert len({draw(), *others}) == 7
  assert draw() == draw()


@given(st.integers(0, 2**64 - 1), st.integers(0, 100), st.integers(1, 300))
def test_permutation_holds_every_sample_once(seed, epoch, size):
  order = random_bits.permutation(seed, epoch, size)
  assert sorted(order) == list(range(size))
  assert np.array_equal(order, random_bits.permutation(seed, epoch, size))


def test_bits_are_balanced():
  blocks = np.arange(10_000)
  drawn = random_bits.random_bytes(
    random_bits.key_of(0, 0, 0), np.zeros_like(blocks), blocks
  )
  ones = np.unpackbits(drawn).mean()
  assert abs(ones - 0.5) < 5 * 0.5 / (drawn.size * 8) ** 0.5


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
def test_probe_input_has_shape_and_dtype_and_varies(dtype):
  probe = random_bits.probe_input((5, 3), dtype, 0)
  assert probe.shape == (8, 5, 3)
  assert probe.dtype == dtype
  assert len(np.unique(probe)) > 20
