"""Tables become samples: a row each, or windows of rows in time."""

import numpy as np
import pytest

from tests.files.test_files import sparse
from tflm_fg import limits
from tflm_fg.samples.tables import read_table
from tflm_fg.samples.wanted import Wanted
from tflm_fg.types import TflmFgError

ROWS = Wanted(shape=(3,), outputs=2)
TIME = Wanted(shape=(1, 4, 2), outputs=2)


def table(tmp_path, text, name="a.csv"):
  (tmp_path / name).write_bytes(text.encode())
  return str(tmp_path / name)


@pytest.mark.parametrize(
  "text",
  [
    "a,b,c,label\n1,2,3,0\n4,5.5,6,1\n",
    "label,a,b,c\n0,1,2,3\n1,4,5.5,6\n",
    "\ufeffa;b;c;Label\r\n1;2;3;0\r\n4;5,5;6;1\r\n",
    "a\tb\tc\ty\n1\t2\t3\t0.0\n4\t5.5\t6\t1.0\n\n",
    'time,a,b,c,class\n0.1,1,2,3,"no"\n0.2,4,5.5,6,"yes"\n',
  ],
)
def test_a_row_is_a_sample_however_it_was_saved(tmp_path, text):
  found = read_table(table(tmp_path, text), ROWS)
  assert found.x.tolist() == [[1, 2, 3], [4, 5.5, 6]]
  assert found.y.dtype == np.int64 and found.y.tolist() == [0, 1]


def test_real_targets_and_none_are_told_by_the_column(tmp_path):
  real = read_table(table(tmp_path, "a,b,c,y\n1,2,3,0.5\n4,5,6,2\n"), ROWS)
  assert real.y.tolist() == [0.5, 2.0]
  below = read_table(table(tmp_path, "a,b,c,y\n1,2,3,-1\n4,5,6,2\n"), ROWS)
  assert below.y.tolist() == [-1.0, 2.0]
  assert read_table(table(tmp_path, "a,b,c\n1,2,3\n4,5,6\n"), ROWS).y is None


def in_time(labels, columns=2):
  names = ",".join(["time", *"xyz"[:columns], "label"])
  rows = [
    ",".join([str(n / 10), *[str(n)] * columns, label])
    for n, label in enumerate(labels)
  ]
  return "\n".join([names, *rows])


def test_rows_in_time_are_cut_where_the_label_stays(tmp_path):
  text = in_time(["walk"] * 9 + ["run"] * 5 + ["walk"] * 3)
  # The x column would be a label's name of one letter only if it were y.
  text = text.replace("time,x,y", "time,ax,ay")
  found = read_table(table(tmp_path, text), TIME)
  assert found.x.shape == (3, 1, 4, 2)
  assert found.x[:, 0, 0, 0].tolist() == [0, 4, 9]
  assert found.y.tolist() == [1, 1, 0]
  assert found.names == ("run", "walk")
  assert "17 rows in time gave 3 windows of 4, one every 4" in found.notes[1]
  halves = Wanted(shape=(4, 2), outputs=2, stride=2)
  found = read_table(table(tmp_path, text), halves)
  assert found.x[:, 0, 0].tolist() == [0, 2, 4, 9]


def test_a_flat_input_takes_windows_of_a_named_length(tmp_path):
  text = in_time(["0"] * 8).replace("time,x,y", "time,ax,ay")
  path = table(tmp_path, text)
  found = read_table(path, Wanted(shape=(8,), window=4))
  assert found.x.tolist() == [
    [0, 0, 1, 1, 2, 2, 3, 3],
    [4, 4, 5, 5, 6, 6, 7, 7],
  ]
  with pytest.raises(TflmFgError, match=r"takes 8 .* and --window=4"):
    read_table(path, Wanted(shape=(8,)))
  with pytest.raises(TflmFgError, match=r"in windows of 3 rows, .* takes 8"):
    read_table(path, Wanted(shape=(8,), window=3))


def test_one_column_in_time_fills_an_input_of_one_channel(tmp_path):
  text = "audio,label\n" + "\n".join(f"{n},1" for n in range(7))
  found = read_table(table(tmp_path, text), Wanted(shape=(1, 3, 1)))
  assert found.x.reshape(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("a,b,c,label\n1,2,3,0\n4,x,6,1\n", "line 3, 'b' holds 'x'; need a number"),
    ("a,b,c,label\n1,2,,0\n", "line 2, 'c' holds ''; need a number"),
    ("a,b,c,label\n1,2,3\n", "line 2 has 3 values, .* names 4"),
    ("a,b,c,label\n1,2,3,\n", "line 2 has no 'label'"),
    ("1,2,3,0\n4,5,6,1\n", "first line holds numbers; name the columns"),
    ("a,b,c,label\n", "no rows below"),
    ("", "no rows below"),
    ("label\n1\n", "no column of numbers"),
    ("a,b,c,label,class\n1,2,3,0,0\n", "label, class may all be the label"),
    ("a,b,label\n1,2,0\n", "2 columns of numbers, and the model takes 3"),
    ("a,b,c,label\n1,2,3,cat\n", "1 classes .* --classes_file"),
  ],
)
def test_a_table_that_is_wrong_is_refused_with_its_place(
  tmp_path, text, message
):
  with pytest.raises(TflmFgError, match=message):
    read_table(table(tmp_path, text), ROWS)


def test_too_few_rows_for_a_window_are_refused(tmp_path):
  text = in_time(["0", "1"] * 8).replace("time,x,y", "time,ax,ay")
  with pytest.raises(TflmFgError, match="16 rows, and no 4 that follow"):
    read_table(table(tmp_path, text), TIME)


def test_bytes_that_are_no_text_are_refused(tmp_path):
  (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
  with pytest.raises(TflmFgError, match="save it as CSV in UTF-8"):
    read_table(str(tmp_path / "a.csv"), ROWS)


@pytest.mark.parametrize("name", ["window", "stride"])
def test_windows_of_nothing_are_refused(name):
  with pytest.raises(TflmFgError, match=f"{name}=0: need at least 1"):
    Wanted(shape=(3,), **{name: 0})


def test_a_table_larger_than_memory_is_refused_by_its_size(tmp_path):
  path = sparse(tmp_path / "x.csv", 8 << 30)
  with limits.at_most("1GB"), pytest.raises(TflmFgError) as told:
    read_table(path, Wanted(shape=(4,)))
  assert "x.csv: 8.0 GB, which takes about 128 GB of memory" in str(told.value)
  assert "give fewer rows" in str(told.value)
