"""What a report tells: counts, changed bytes, and JSON that others can read."""

import json

import numpy as np
import pytest

from apps import cli
from apps.wake import report, scores
from apps.wake.scores import FalseAccept, Heard, Played
from tflm_fg.detection import Rule

RULE = Rule(cutoff=0.5, window=1, warm_up=0, refractory=2)


def test_rows_of_recall_count_what_is_heard_before_and_after():
  before = [Heard("a", 0.2, False), Heard("b", 0.9, True)]
  after = [Heard("a", 0.8, True), Heard("b", 0.9, True)]
  row = report.recall_row("your recordings", after, before)
  assert (row["recordings"], row["heard_before"], row["heard_after"]) == (
    2,
    1,
    2,
  )
  assert "heard_before" not in report.recall_row("others", after)
  first, _ = report.recording_rows(after, before)
  assert first == {
    "file": "a",
    "probability_before": 0.2,
    "heard_before": False,
    "probability_after": 0.8,
    "heard_after": True,
  }


def test_a_false_accept_of_before_that_stays_is_told_once():
  before = [FalseAccept("tv", 3.0), FalseAccept("tv", 9.0)]
  after = [FalseAccept("tv", 3.3), FalseAccept("radio", 1.0)]
  assert report.event_rows(after, before) == [
    {"file": "radio", "seconds": 1.0, "when": "after"},
    {"file": "tv", "seconds": 3.3, "when": "before and after"},
    {"file": "tv", "seconds": 9.0, "when": "before"},
  ]


def test_two_false_accepts_do_not_hide_behind_one_of_before():
  before = [FalseAccept("tv", 3.0)]
  after = [FalseAccept("tv", 2.5), FalseAccept("tv", 3.5)]
  told = [row["when"] for row in report.event_rows(after, before)]
  assert sorted(told) == ["after", "before and after"]


def test_the_changed_bytes_make_the_old_file_again():
  rng = np.random.default_rng(0)
  before = rng.integers(0, 256, 200, np.uint8).tobytes()
  after = bytearray(before)
  for place in (3, 4, 5, 50, 199):
    after[place] ^= 255
  runs = report.changed_bytes(before, bytes(after))
  assert [run["offset"] for run in runs] == [3, 50, 199]
  undone = bytearray(after)
  for run in runs:
    old = bytes.fromhex(run["before"])
    assert undone[run["offset"] :][: len(old)] == bytes.fromhex(run["after"])
    undone[run["offset"] : run["offset"] + len(old)] = old
  assert undone == before


def outputs(*values):
  return np.array(values, np.uint8)[:, None]


def test_the_det_curve_is_told_as_plain_json_and_as_a_table():
  positives = [Played("a", outputs(0, 200)), Played("b", outputs(0, 100))]
  negatives = [Played("tv", outputs(*[0] * 1000))]
  curve = scores.curve(positives, negatives, RULE)
  told = {"det": report.det([("now", curve, RULE)], "others")}
  json.loads(cli.to_json(told), parse_constant=pytest.fail)
  assert told["det"]["curves"][0]["at_cutoff"]["recall"] == 0.5
  head, first, *rest = report.det_csv(told).decode().splitlines()
  assert head.split(",")[0] == "cutoff" and len(rest) == 254
  assert first.split(",")[3:] == ["2", "0"]


def test_without_sound_that_is_not_the_word_there_is_no_det_curve():
  curve = scores.curve([Played("a", outputs(0, 200))], [], RULE)
  assert report.det([("now", curve, RULE)], "others") is None


def test_a_trace_begins_where_the_recording_does():
  one = Played("a.wav", outputs(0, 255, 0), lead_seconds=0.06)
  told = report.trace([("before", one, RULE), ("after", one, RULE)], "missed")
  assert told["first_second"] == pytest.approx(-0.03)
  assert [c["name"] for c in told["curves"]] == ["before", "after"]
  assert told["curves"][0]["probability"] == [0.0, 1.0, 0.0]
