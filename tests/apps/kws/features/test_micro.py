"""The micro front end's features equal those of pymicro-features."""

import numpy as np
import pymicro_features
import pytest

from apps.kws.features import micro
from tflm_fg.types import TflmFgError


def _clip(seed: int, amplitude: float = 3000.0) -> np.ndarray:
  noise = np.random.default_rng(seed).standard_normal(16_000)
  return (noise * amplitude).astype(np.int16)


def _direct_features(clip: np.ndarray) -> np.ndarray:
  """Feeds the library itself, 10 ms at a time, and keeps every other frame."""
  library = pymicro_features.MicroFrontend()
  library.process_samples(_clip(99).tobytes()[:320])
  library.reset()
  frames = []
  for chunk in clip.reshape(100, 160):
    frame = library.process_samples(chunk.tobytes()).features
    if frame:
      frames.append(frame)
  return np.array(frames, np.float32)[::2, :, None]


def test_features_are_float32_of_the_declared_shape():
  """A clip becomes [49, 40, 1], as the parameters say."""
  features = micro.features(_clip(0))
  assert features.shape == (49, 40, 1) == micro.PARAMETERS.shape
  assert features.dtype == np.float32


def test_features_equal_the_library_after_a_reset():
  """Bit for bit: nothing is added to what pymicro-features computes."""
  clip = _clip(1)
  assert np.array_equal(micro.features(clip), _direct_features(clip))


def test_features_do_not_depend_on_the_clip_before():
  """The frontend's noise estimate starts afresh for every clip."""
  first = micro.features(_clip(2))
  micro.features(_clip(3, amplitude=9000.0))
  assert np.array_equal(micro.features(_clip(2)), first)


def test_feature_values_are_pinned():
  """A library update that changes a feature cannot go unnoticed."""
  tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
  features = micro.features(tone.astype(np.int16))
  steps = features / micro.PARAMETERS.unit
  assert np.array_equal(steps, np.rint(steps))
  assert steps[0].argmax() == 12
  assert (steps[0, 12, 0], steps[24, 12, 0]) == (665, 274)


@pytest.mark.parametrize(
  "clip",
  [
    np.zeros(15_999, np.int16),
    np.zeros(16_000, np.float32),
    np.zeros((1, 16_000), np.int16),
  ],
)
def test_a_wrong_clip_is_refused_with_the_cure(clip):
  """Another length, dtype or rank is named, with what to do."""
  with pytest.raises(TflmFgError, match=r"clip: need int16 \[16000\].*cut it"):
    micro.features(clip)
