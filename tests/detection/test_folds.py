"""Streams that belong together are in one part."""

from tests.detection import heads
from tflm_fg.detection.folds import split, split_both

STREAMS = heads.streams(9, None, seed=5)


def test_a_name_is_in_the_same_part_of_two_lists():
  first, second = STREAMS[:6], [*STREAMS[6:], STREAMS[5]]
  names = ["a", "b", "c", "a", "b", ""], ["b", "z", "", ""]
  one, other = split_both((first, second), names, 3, 0)
  assert one.part == split(first, names[0], 3, 0).part
  assert other.part[0] == one.part[1]
  assert other.part[3] == one.part[5]


def test_what_joins_no_group_is_split_by_itself():
  one, other = split_both((STREAMS[:6], STREAMS[6:]), (None, None), 3, 0)
  assert one.are_kept_aside
  assert sorted(other.part) == [0, 1, 2]


def test_what_is_kept_aside_is_not_trained_on_and_comes_once():
  parts = split(STREAMS, None, 3, 0)
  for fold in range(3):
    trained = {s.tobytes() for s in parts.trained(fold)}
    aside = [s for s, p in zip(STREAMS, parts.part) if p == fold]
    assert len(aside) == 3
    assert not trained & {s.tobytes() for s in aside}
    assert len(trained) == 6
  assert len(parts.trained(-2)) == 9


def test_the_seed_chooses_who_is_kept_aside_when():
  assert split(STREAMS, None, 3, 0).part != split(STREAMS, None, 3, 1).part
