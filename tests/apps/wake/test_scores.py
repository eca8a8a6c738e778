"""What counts as heard, what as a false accept, and where it was."""

import numpy as np
import pytest

from apps.wake import scores
from apps.wake.scores import Played
from tflm_fg.detection import Rule

RULE = Rule(cutoff=0.5, window=2, warm_up=3, refractory=3, step_seconds=0.03)


def played(values, name="a.wav", lead=0.0):
  return Played(name, np.array(values, np.uint8)[:, None], lead)


def test_a_recording_is_heard_where_the_window_passes_the_cutoff_once():
  quiet, loud = [0] * 6, [0, 0, 0, 0, 200, 200]
  found = scores.heard([played(quiet, "q"), played(loud, "l")], RULE)
  assert [one.heard for one in found] == [False, True]
  assert [one.name for one in found] == ["q", "l"]


def test_the_probability_of_a_recording_is_the_highest_cutoff_that_hears_it():
  low, high = scores.heard(
    [played([0] * 6), played([0, 0, 0, 0, 200, 200])], RULE
  )
  assert low.probability == 0.0
  assert high.probability == pytest.approx(200 / 255)
  at = Rule(high.probability - 1e-3, 2, 3, 3)
  above = Rule(high.probability, 2, 3, 3)
  sound = [played([0, 0, 0, 0, 200, 200])]
  assert scores.heard(sound, at)[0].heard
  assert not scores.heard(sound, above)[0].heard


def test_false_accepts_are_named_with_the_time_in_the_sound_itself():
  values = [0] * 40 + [255] * 3 + [0] * 40 + [255] * 3
  found = scores.false_accepts([played(values, "tv.wav", lead=0.6)], RULE)
  assert [one.name for one in found] == ["tv.wav"] * 2
  # It fires at the end of the first loud step: 255 + 0 is above 2 * 127.
  assert found[0].seconds == pytest.approx(41 * 0.03 - 0.6)
  assert found[1].seconds == pytest.approx(84 * 0.03 - 0.6)


def test_a_trace_is_the_mean_over_the_window_as_a_share_of_one():
  assert scores.trace(played([0, 255, 255, 0]), RULE) == [0.0, 0.5, 1.0, 0.5]


def test_the_curve_counts_recordings_and_events_at_every_cutoff():
  loud, quiet = played([0, 0, 0, 0, 200, 200]), played([0] * 50)
  curve = scores.curve([loud, quiet], [quiet], RULE)
  assert curve.positives == 2
  assert curve.point(RULE).heard == 1
  assert curve.point(RULE).events == 0
  assert curve.hours == pytest.approx(47 * 0.03 / 3600)
