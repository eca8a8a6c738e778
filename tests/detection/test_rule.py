"""The rule by which a stream of outputs counts as a detection."""

import numpy as np
import pytest

from tflm_fg.detection import (
  Rule,
  cutoff_of,
  det_curve,
  detections,
  point,
  probabilities,
)
from tflm_fg.types import TflmFgError


def told_step_by_step(outputs, rule):
  """The rule as a device runs it: a ring of probabilities and a counter."""
  ring, ignored, found = [0] * rule.window, -rule.warm_up, []
  for step, value in enumerate(outputs):
    ring = [*ring[1:], int(value)]
    if value < rule.threshold:
      ignored = min(ignored + 1, 0)
    if ignored == 0 and sum(ring) > rule.threshold * rule.window:
      found.append(step)
      ring, ignored = [0] * rule.window, -rule.refractory
  return found


def test_detections_are_those_of_a_device_step_by_step():
  random = np.random.default_rng(0)
  fired = 0
  for _ in range(400):
    window, warm_up, refractory = (int(n) for n in random.integers(1, 6, 3))
    threshold = int(random.integers(0, 255))
    rule = Rule(cutoff_of(threshold), window, warm_up - 1, refractory - 1)
    outputs = random.integers(0, 256, random.integers(0, 60)).astype(np.uint8)
    found = list(detections(outputs, rule))
    assert found == told_step_by_step(outputs, rule)
    fired += len(found)
  assert fired > 400


def test_a_sum_that_is_equal_to_the_cutoff_is_not_above_it():
  rule = Rule(cutoff_of(100), 2, 0, 0)
  assert not len(detections(np.uint8([100, 100]), rule))
  assert list(detections(np.uint8([100, 101]), rule)) == [1]


def test_a_long_word_is_heard_once():
  rule = Rule(0.5, 2, 2, 2)
  outputs = np.uint8([0, 0] + [250] * 50 + [0, 0, 250, 250])
  assert list(detections(outputs, rule)) == [3, 55]


def test_nothing_is_heard_before_the_warm_up():
  outputs = np.uint8([0] * 10 + [250] * 3 + [0] * 30)
  assert not len(detections(outputs, Rule(0.5, 2, 30, 0)))
  assert list(detections(outputs, Rule(0.5, 2, 10, 20))) == [11]


def test_a_device_with_esphome_scores_nothing_for_a_second():
  assert Rule.of_manifest(0.97, 5, 0.03).warm_up == 34
  assert Rule.of_manifest(0.97, 5, 0.02).refractory == 50


def test_every_threshold_of_a_device_has_a_cutoff_that_gives_it_back():
  for threshold in range(255):
    assert Rule(cutoff_of(threshold)).threshold == threshold
    assert int(cutoff_of(threshold) * 255) == threshold
  assert Rule(0.97).threshold == 247
  assert Rule(0.85).threshold == 216  # 216.75, cut off


def test_int8_outputs_count_from_their_zero_point():
  wide = np.int8([[-128, 127], [0, 5]])
  assert list(probabilities(wide, 0)) == [0, 128]
  assert list(probabilities(wide, 1)) == [255, 133]


@pytest.mark.parametrize(
  "changed, text",
  [
    ({"cutoff": 1.0}, "cutoff=1.0: need 0 <= cutoff < 1"),
    ({"cutoff": float("nan")}, "cutoff=nan: need"),
    ({"window": 0}, "window=0: need a whole number of steps, 1"),
    ({"warm_up": -1}, "warm_up=-1: need a whole number of steps, 0"),
    ({"step_seconds": 0.0}, "step_seconds=0.0: need a length above 0"),
    ({"output": -1}, "output=-1: need an index"),
  ],
)
def test_a_rule_that_cannot_be_is_refused(changed, text):
  with pytest.raises(TflmFgError, match=text):
    Rule(**({"cutoff": 0.5} | changed))


@pytest.mark.parametrize(
  "outputs, output, text",
  [
    (np.zeros(3, np.float32), 0, "outputs of float32"),
    (np.zeros((3, 1, 1), np.uint8), 0, "outputs of uint8"),
    (np.zeros((3, 2), np.uint8), 2, "the model has 2 outputs"),
  ],
)
def test_outputs_that_are_no_models_are_refused(outputs, output, text):
  with pytest.raises(TflmFgError, match=text):
    probabilities(outputs, output)


def test_the_curve_counts_at_every_cutoff_what_the_rule_counts():
  random = np.random.default_rng(1)
  streams = [random.integers(0, 256, 200).astype(np.uint8) for _ in range(4)]
  rule = Rule(0.6, 3, 5, 4, 0.03)
  curve = det_curve(streams[:2], streams[2:], rule)
  for threshold in (100, 128, 153, 200):
    at = rule.at(threshold)
    heard = [len(detections(s, at)) for s in streams]
    assert curve.heard[threshold] == sum(n > 0 for n in heard[:2])
    assert curve.events[threshold] == sum(heard[2:])
    assert curve.point(at) == point(streams[:2], streams[2:], at)
  assert curve.hours == pytest.approx(2 * 195 * 0.03 / 3600)
  assert curve.an_hour[153] == curve.events[153] / curve.hours


def test_a_curve_of_nothing_has_no_shares():
  curve = det_curve([], [], Rule(0.5))
  assert np.isnan(curve.recall).all()
  assert np.isnan(curve.an_hour).all()
  empty = det_curve([np.zeros((0, 1), np.uint8)], [], Rule(0.5))
  assert not empty.heard.any()
