"""Copies of a clip: near to it, at the stated noise, and the same every run."""

import numpy as np
import pytest

from apps.kws.audio.augment import Augment
from tests.apps.kws.corpora import tone
from tflm_fg.types import TflmFgError


def test_a_copy_comes_from_its_address_alone():
  augment = Augment(copies=2, seed=3)
  first = augment.copy(tone(), 5, 1)
  augment.copy(tone(), 6, 0)
  assert np.array_equal(augment.copy(tone(), 5, 1), first)
  assert not np.array_equal(augment.copy(tone(), 5, 0), first)
  assert not np.array_equal(augment.copy(tone(), 6, 1), first)
  assert not np.array_equal(Augment(copies=2, seed=4).copy(tone(), 5, 1), first)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
@pytest.mark.parametrize("own", [False, True])
def test_noise_is_mixed_at_the_stated_ratio(snr_db, own):
  augment = Augment(shift_ms=0, gain_db=0, snr_db=(snr_db, snr_db))
  noises = [np.random.default_rng(1).integers(-9, 9, 40_000).astype(np.int16)]
  clip = tone()
  noise = augment.copy(clip, 0, 0, noises if own else []).astype(float) - clip
  ratio = 10 * np.log10((clip.astype(float) ** 2).sum() / (noise**2).sum())
  assert ratio == pytest.approx(snr_db, abs=0.3)


def test_shift_and_gain_stay_in_their_ranges():
  augment = Augment(shift_ms=50, gain_db=6, snr_db=(100, 100))
  peaks, places = [], []
  for number in range(40):
    copy = augment.copy(tone(), number, 0).astype(float)
    peaks.append(20 * np.log10(np.abs(copy).max() / 8000))
    energy = np.cumsum(copy**2)
    places.append(np.searchsorted(energy, energy[-1] / 2) - 8000)
  assert -6.1 < min(peaks) < -3 < 3 < max(peaks) < 6.1
  assert -810 < min(places) < -300 < 300 < max(places) < 810


def test_silence_stays_quiet():
  copy = Augment(snr_db=(0, 0)).copy(np.zeros(16_000, np.int16), 0, 0)
  assert np.abs(copy).max() == 0


@pytest.mark.parametrize(
  "wrong",
  [
    {"copies": -1},
    {"shift_ms": 900},
    {"gain_db": -3},
    {"snr_db": (20, 10)},
    {"snr_db": (float("nan"), 10)},
  ],
  ids=str,
)
def test_a_number_out_of_range_is_refused(wrong):
  with pytest.raises(TflmFgError):
    Augment(**wrong)
