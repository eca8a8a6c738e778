"""Steps of sound equal what the devices and the packages compute."""

import types

import numpy as np
import pytest

from apps.kws.features import micro, registry
from apps.wake.data import features, filterbank, micro_frames
from apps.wake.data.manifest import Manifest
from tflm_fg.types import TflmFgError

SCALE = 0.10196078568696976
PLAIN = Manifest(path="M.tflite")


def model(*shape, scale=SCALE, zero_point=-128, dtype="int8"):
  return types.SimpleNamespace(
    step_shape=shape,
    input_dtype=dtype,
    input_scale=scale,
    input_zero_point=zero_point,
  )


def sound(seconds, level=3000.0):
  rng = np.random.default_rng(0)
  time = np.arange(int(seconds * 16000)) / 16000
  tone = np.sin(2 * np.pi * 300 * time) * (np.sin(9 * time) > 0)
  noise = rng.normal(0, 0.05, len(time))
  return np.clip(level * (tone + noise), -32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def raw():
  return micro_frames.raw(sound(2))


def test_a_frame_comes_every_10_ms_after_the_first_30(raw):
  assert raw.shape == (198, 40)
  assert raw.dtype == np.int32


def test_frames_equal_those_of_the_keyword_spotters(raw):
  clip = micro.features(sound(2)[:16000])[..., 0]
  np.testing.assert_array_equal(raw[:98:2] * micro_frames.UNIT, clip)


def test_esphomes_rule_rounds_to_the_nearest_and_clips():
  numbers = np.array([[0, 1, 2, 333, 665, 666, 700, 65535]], np.int32)
  wide = np.floor((numbers * 256 + 333) / 666) - 128
  np.testing.assert_array_equal(
    micro_frames.esphome(numbers), np.clip(wide, -128, 127)
  )


def test_the_wheels_rule_wraps_above_127():
  numbers = np.array([[663, 664, 666, 668]], np.int32)
  wide = np.rint(numbers * 0.0390625 / np.float32(SCALE) - 128)
  found = micro_frames.wheel(numbers, SCALE, -128)
  assert wide.max() > 127
  assert found.min() == -128
  assert found[0, 0] == 126


def test_the_rules_differ_by_one_step_in_about_a_tenth(raw):
  one, other = micro_frames.esphome(raw), micro_frames.wheel(raw, SCALE, -128)
  apart = np.abs(one.astype(int) - other)
  assert apart.max() == 1
  assert 0.02 < apart.mean() < 0.2


def test_rounded_frames_give_back_numbers_that_round_to_the_same():
  every = np.arange(-128, 128, dtype=np.int8)[None]
  back = micro_frames.raw_of_esphome(every)
  np.testing.assert_array_equal(micro_frames.esphome(back), every)
  middle = np.rint(np.arange(256) * 666 / 256 + 1e-9)
  np.testing.assert_array_equal(back[0], middle)


def test_steps_are_frames_without_overlap_and_a_rest_is_left_out(raw):
  frontend = features.of_model(model(1, 3, 40), PLAIN)
  steps = frontend.steps(sound(2))
  assert steps.shape == (66, 1, 3, 40)
  assert frontend.step_seconds == pytest.approx(0.03)
  np.testing.assert_array_equal(
    steps.reshape(-1, 40), micro_frames.esphome(raw)[:198]
  )


def test_frames_of_a_stock_and_their_sound_give_the_same_steps(raw):
  frames = micro_frames.esphome(raw)
  esphome = features.of_model(model(1, 3, 40), PLAIN)
  np.testing.assert_array_equal(esphome.steps(frames), esphome.steps(sound(2)))
  wheel = features.of_model(model(1, 3, 40), PLAIN, rule=features.WHEEL)
  apart = wheel.steps(frames).astype(int) - wheel.steps(sound(2))
  assert np.abs(apart).max() <= 1


def test_a_manifest_with_20_ms_keeps_every_second_frame(raw):
  old = Manifest(path="m.json", feature_step_ms=20)
  frontend = features.of_model(model(1, 1, 40), old)
  assert frontend.step_seconds == pytest.approx(0.02)
  np.testing.assert_array_equal(
    frontend.steps(sound(2)).reshape(-1, 40), micro_frames.esphome(raw)[::2]
  )
  assert "twice as fast" in frontend.note


def test_mlperfs_windows_move_by_one_frame_of_32_ms():
  frontend = features.of_model(model(1, 30, 1, 40, scale=0.0037), PLAIN)
  steps = frontend.steps(sound(2))
  frames = (32000 - 1024) // 512 + 1
  assert steps.shape == (frames - 29, 1, 30, 1, 40)
  assert frontend.step_seconds == pytest.approx(0.032)
  np.testing.assert_array_equal(steps[1, 0, :-1], steps[0, 0, 1:])
  assert len(frontend.steps(sound(0.5))) == 0
  assert len(frontend.steps(sound(0.01))) == 0


def test_energies_of_mlperf_are_those_of_its_formula():
  """One window, computed step by step."""
  window = sound(0.064).astype(np.float64) / 32768
  bent = window - 0.96875 * np.concatenate([[0.0], window[:-1]])
  n = np.arange(1024)
  hamming = 0.54 - 0.46 * np.cos(2 * np.pi * n / 1023)
  power = np.abs(np.fft.rfft(bent * hamming)) ** 2 / 1024
  mels = 1127 * np.log(1 + np.arange(513) * 8000 / 512 / 700)
  edges = np.linspace(0, 1127 * np.log(1 + 8000 / 700), 42)
  found = filterbank.features(sound(0.064))
  assert found.shape == (1, 40)
  for channel in (0, 7, 39):
    low, middle, high = edges[channel : channel + 3]
    up = (mels - low) / (middle - low)
    down = (high - mels) / (high - middle)
    weights = np.maximum(0, np.minimum(up, down))
    weights[0] = 0
    decibel = 10 * np.log10(weights @ power)
    assert found[0, channel] == pytest.approx(
      np.clip((decibel + 52) / 64, 0, 1), abs=1e-6
    )


def test_mlperfs_rounding_cuts_fractions_off():
  frames = np.array([[0.0, 0.0045, 0.5, 1.0]], np.float32)
  np.testing.assert_array_equal(
    filterbank.rounded(frames, 0.01, -128), [[-128, -127, -78, -28]]
  )


def test_long_sound_is_taken_in_parts_with_the_same_values(monkeypatch):
  whole = filterbank.features(sound(1))
  monkeypatch.setattr(filterbank, "_FRAMES_AT_A_TIME", 7)
  np.testing.assert_array_equal(filterbank.features(sound(1)), whole)


def test_a_keyword_spotter_is_fed_whole_seconds():
  frontend = features.of_model(model(49, 40, 1, scale=0.1), PLAIN)
  clip = sound(1.5)
  steps = frontend.steps(clip)
  assert steps.shape == (6, 49, 40, 1)
  values = micro.features(clip[1600:17600])
  wide = np.rint(values / np.float32(0.1)) - 128
  np.testing.assert_array_equal(steps[1], np.clip(wide, -128, 127))


def test_a_spotters_front_end_can_be_named_and_must_fit():
  mfcc = registry.named("mfcc")
  found = features.of_model(model(1, 49, 10, 1), PLAIN, window=mfcc)
  assert found.name == "clips of mfcc"
  with pytest.raises(TflmFgError, match="name the right one"):
    features.of_model(model(1, 3, 40), PLAIN, window=mfcc)


@pytest.mark.parametrize("shape", [(1, 3, 41), (1, 2, 3, 40), ()])
def test_an_input_of_no_known_front_end_is_named(shape):
  with pytest.raises(TflmFgError, match=r"M\.tflite.*known are"):
    features.of_model(model(*shape), PLAIN)


def test_a_step_that_the_front_end_cannot_make_is_named():
  with pytest.raises(TflmFgError, match=r"feature_step_size=30.*10 or 20"):
    features.of_model(
      model(1, 3, 40), Manifest(path="m.json", feature_step_ms=30)
    )


def test_an_unknown_rule_and_sound_of_another_kind_are_refused():
  with pytest.raises(TflmFgError, match="esphome or wheel"):
    features.of_model(model(1, 3, 40), PLAIN, rule="floor")
  frontend = features.of_model(model(1, 3, 40), PLAIN)
  with pytest.raises(TflmFgError, match="need int16"):
    frontend.steps(sound(1).astype(np.float32))
  mlperf = features.of_model(model(1, 30, 1, 40), PLAIN)
  with pytest.raises(TflmFgError, match="give sound"):
    mlperf.steps(np.zeros((5, 40), np.int8))


@pytest.mark.parametrize(
  ("shape", "said"), [((16, 96), "openWakeWord model"), ((76, 32, 1), "share")]
)
def test_openwakewords_files_are_named_and_refused_with_a_cure(shape, said):
  with pytest.raises(TflmFgError, match=rf"M\.tflite.*{said}.*verifier") as e:
    features.of_model(model(*shape, dtype="float32"), PLAIN)
  assert "\n" not in str(e.value)


def test_a_model_that_takes_floats_is_refused():
  with pytest.raises(TflmFgError, match=r"takes float32.*tflm-fg-convert"):
    features.of_model(model(3, 40, dtype="float32"), PLAIN)


def test_a_warm_up_is_the_steps_that_hear_nothing_else():
  micro_frontend = features.of_model(model(3, 40), PLAIN)
  assert micro_frontend.warm_up(1.5) == 49
  assert features.of_model(model(30, 1, 40), PLAIN).warm_up(1.5) == 16
  assert micro_frontend.warm_up(0.0) == 0
