"""MFCCs and log-mel energies are what their parameters say."""

import dataclasses

import numpy as np
import pytest
from scipy import fft

from apps.kws.features import mel
from apps.kws.features.registry import NAMES, from_json, named
from tflm_fg.types import TflmFgError


def _noise() -> np.ndarray:
  rng = np.random.default_rng(0)
  return (rng.standard_normal(16_000) * 3000).astype(np.int16)


def test_mfccs_have_the_shape_of_mlperf_tinys_spotter():
  assert mel.features(_noise()).shape == (49, 10, 1) == mel.MFCC.shape
  assert mel.features(_noise(), mel.LOGMEL).shape == (49, 40, 1)


def test_mfccs_are_the_cosine_transform_of_the_log_energies():
  """Against SciPy's, whose first coefficient is smaller by sqrt(2)."""
  whole = dataclasses.replace(mel.MFCC, coefficients=0)
  energies = mel.features(_noise(), whole)[..., 0].astype(np.float64)
  expected = fft.dct(energies, norm="ortho")[:, :10]
  expected[:, 0] *= np.sqrt(2)
  found = mel.features(_noise())[..., 0]
  np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.tensorflow
def test_mfccs_equal_tensorflows():
  import tensorflow as tf

  clip = tf.cast(_noise(), tf.float32)
  clip = clip / tf.reduce_max(clip)
  spectrum = tf.abs(tf.signal.stft(clip, 480, 320, None, tf.signal.hann_window))
  weights = tf.signal.linear_to_mel_weight_matrix(40, 257, 16_000, 20.0, 4000.0)
  energies = tf.math.log(tf.matmul(spectrum, weights) + 1e-6)
  expected = tf.signal.mfccs_from_log_mel_spectrograms(energies)[:, :10]
  found = mel.features(_noise())[..., 0]
  np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_a_tone_is_in_its_own_filter_and_no_constant_is_heard():
  tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
  energies = mel.features(tone.astype(np.int16), mel.LOGMEL)[24, :, 0]
  edges = np.linspace(
    1127 * np.log1p(20 / 700), 1127 * np.log1p(7600 / 700), 42
  )
  centres = 700 * np.expm1(edges[1:-1] / 1127)
  assert abs(centres[energies.argmax()] - 1000) < 100
  still = mel.features(np.full(16_000, 9000, np.int16), mel.LOGMEL)
  assert still[:, 5:].max() < energies.max() - 6


def test_a_clip_at_its_peak_is_one_that_was_scaled_to_it():
  """Only the wave's own peak counts: a tenth of it gives the same features."""
  loud = _noise().astype(np.int16)
  loud[loud.argmax()] = 30_000
  soft = (loud / 10).round().astype(np.int16)
  energies = dataclasses.replace(mel.MFCC, coefficients=0)
  difference = mel.features(loud, energies) - mel.features(soft, energies)
  assert np.abs(difference).max() < 0.2
  bare = dataclasses.replace(energies, to_peak=False)
  difference = mel.features(loud, bare) - mel.features(soft, bare)
  assert np.median(difference) > 2  # ln 10 is 2.3


def test_loudness_does_not_matter_where_clips_are_scaled_to_their_peak():
  loud, soft = _noise(), (_noise() // 2).astype(np.int16)
  difference = np.abs(mel.features(loud) - mel.features(soft))
  assert difference[:, 1:].max() < 0.05
  assert np.all(np.isfinite(mel.features(np.zeros(16_000, np.int16))))


@pytest.mark.parametrize("name", NAMES)
def test_a_front_end_goes_to_json_and_back(name):
  chosen = named(name)
  assert from_json(chosen.to_json(), "m") == chosen
  assert chosen.features(_noise()).shape == chosen.shape


@pytest.mark.parametrize(
  "change",
  [
    {"name": "wavelets"},
    {"bogus": 1},
    {"channels": "40"},
    {"channels": 0},
    {"channels": True},
    {"coefficients": 41},
    {"step_ms": 0},
    {"window_ms": 2000},
    {"sample_rate_hz": 8000},
    {"high_hz": 9000.0},
    {"low_hz": float("nan")},
    {"log_floor": 0.0},
    {"to_peak": 1},
    {"name": "micro"},
  ],
  ids=str,
)
def test_a_front_end_that_cannot_be_computed_is_refused(change):
  with pytest.raises(TflmFgError, match=r"m\.tflite: its front end"):
    from_json({**named("mfcc").to_json(), **change}, "m.tflite")


def test_an_unknown_front_end_is_refused():
  with pytest.raises(TflmFgError, match="choose of micro, mfcc, logmel"):
    named("fft")


def test_a_clip_of_another_length_is_refused():
  with pytest.raises(TflmFgError, match=r"need int16 \[16000\]"):
    mel.features(np.zeros(9, np.int16))
