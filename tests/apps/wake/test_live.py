"""A stream that comes in pieces is heard as one that comes at once."""

import numpy as np
import pytest

from apps.wake.data.features import Frontend
from apps.wake.live import Listening, LiveSteps
from tflm_fg.detection import Rule, detections


def pieces(array, rng):
  """An array in pieces of any lengths, some of them empty."""
  cuts = np.sort(rng.integers(0, len(array) + 1, 25))
  return np.split(array, cuts)


@pytest.mark.parametrize("seed", range(8))
def test_detections_do_not_depend_on_how_a_stream_is_cut(seed):
  rng = np.random.default_rng(seed)
  outputs = rng.integers(0, 256, (600, 1)).astype(np.uint8)
  outputs[rng.random(600) < 0.7] = 0
  rule = Rule(
    cutoff=0.3,
    window=int(rng.integers(1, 5)),
    warm_up=int(rng.integers(0, 40)),
    refractory=int(rng.integers(0, 40)),
  )
  listening = Listening(rule)
  found = [hit for one in pieces(outputs, rng) for hit in listening.push(one)]
  assert [step for step, _ in found] == detections(outputs, rule).tolist()
  assert len(found) > 3
  assert all(mean > rule.threshold / 255 for _, mean in found)


def test_a_long_stream_keeps_no_more_than_a_window():
  listening = Listening(Rule(cutoff=0.5, window=4, warm_up=5, refractory=5))
  for _ in range(20):
    listening.push(np.zeros((50, 1), np.uint8))
  assert len(listening._held) == 3


@pytest.mark.parametrize("rule", ["esphome", "wheel"])
def test_steps_do_not_depend_on_how_the_sound_is_cut(rule):
  pytest.importorskip("pymicro_features", reason="needs the extra kws")
  frontend = Frontend(
    name="micro", step_shape=(1, 3, 40), step_seconds=0.06, scale=0.10196079,
    zero_point=-128, rule=rule, stride=3, frame_step=2,
  )  # fmt: skip
  rng = np.random.default_rng(0)
  sound = rng.normal(0, 3000, 16_000).astype(np.int16)
  live = LiveSteps(frontend)
  found = [live.push(piece) for piece in pieces(sound, rng)]
  assert np.array_equal(np.concatenate(found), frontend.steps(sound))
