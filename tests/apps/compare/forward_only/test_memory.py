"""Counts of memory are what the rules say, by hand and beside the paper."""

import pytest

from apps.compare.forward_only import METHODS, memory, named
from tflm_fg.types import TflmFgError

PAPER = (2000, 2000, 2000, 2000, 10)


def test_counts_of_a_small_network_are_those_by_hand():
  # 4 -> 6 -> 3: 24 + 6 and 18 + 3 numbers, 51 in all, 42 without biases.
  assert named("backprop").memory((4, 6, 3)) == (
    4 * (51 + 10),  # the widest layer reads 4 and gives 6
    4 * (51 + 4 + 6 + 3),
    4 * 2 * 51,
  )
  assert named("pepita").memory((4, 6, 3)) == (
    4 * (42 + 10),
    4 * (42 + 13),
    4 * 42,
  )
  assert named("forward-forward").memory((4, 6, 3)) == (
    4 * (30 + 10),  # one layer
    4 * (30 + 2 * 10),  # two passes are kept
    4 * 2 * 51,
  )
  # A block is 2 x 3 of the first kernel, with 3 of its biases.
  assert named("tinyfoa").memory((4, 6, 3)) == (
    24 / 8 + 4 * 6 + 10 / 8,
    4 * 9 + 4 / 8 + 4 * 6,
    4 * 2 * 9,
  )
  assert named("tinyfoa-float").memory((4, 6, 3)) == (
    4 * (24 + 6 + 10),
    4 * (9 + 4 + 6),
    4 * 2 * 9,
  )


def test_counts_are_the_papers_where_its_table_can_be_followed():
  """MB of three layers of 2,000 units: 0.50 / 4.01 / 8.00, and 48 and 96."""
  tiny = named("tinyfoa").memory(PAPER)
  assert [round(count / 1e6, 2) for count in tiny] == [0.51, 4.01, 8.01]
  full = named("backprop").memory(PAPER)
  assert round(full.forward / 1e6) == 48
  assert round(full.update / 1e6) == 96


def test_binary_numbers_take_a_bit_where_they_are_binary():
  one, two, three, four = (
    named(f"tinyfoa{end}").memory(PAPER).forward
    for end in ("", "-weights", "-activations", "-float")
  )
  assert two - one == 4000 * (4 - 1 / 8)
  assert three - one == 4_000_000 * (4 - 1 / 8)
  assert four - three == two - one


def test_the_total_is_all_three():
  assert memory.Bytes(1, 2, 3).total == 6


def test_an_unknown_method_is_refused_with_the_known_ones():
  with pytest.raises(
    TflmFgError, match="'hebb' is unknown; choose of backprop"
  ):
    named("hebb")
  assert set(METHODS) >= {"backprop", "pepita", "forward-forward", "tinyfoa"}
