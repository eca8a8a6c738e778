"""Sound files are read as int16 at 16 kHz, or refused."""

import io
import tracemalloc
import wave

import numpy as np
import pytest
import soundfile

from apps.kws.audio import files
from tests.apps.kws.corpora import tone
from tflm_fg import limits
from tflm_fg.types import TflmFgError

pytest.importorskip("soundfile", reason="needs the extra kws")


def _file(path, samples, rate=16_000, **options):
  soundfile.write(path, samples, rate, **options)
  return str(path)


def test_a_16_bit_mono_file_at_16_khz_comes_back_as_it_is(tmp_path):
  sound = tone()
  files.write(str(tmp_path / "a.wav"), sound)
  with wave.open(str(tmp_path / "a.wav")) as file:  # another reader's view
    assert file.getparams()[:3] == (1, 2, 16_000)
  assert np.array_equal(files.read(str(tmp_path / "a.wav")), sound)


@pytest.mark.parametrize(
  ("rate", "channels", "subtype", "name"),
  [
    (16_000, 1, "PCM_U8", "8-bit.wav"),
    (16_000, 1, "PCM_24", "24-bit.wav"),
    (16_000, 1, "FLOAT", "float.wav"),
    (16_000, 2, "PCM_16", "stereo.wav"),
    (44_100, 2, "PCM_24", "44 kHz, ünïcode.wav"),
    (8_000, 1, "PCM_16", "8 kHz.wav"),
    (48_000, 6, "PCM_16", "surround.flac"),
  ],
)
def test_any_rate_width_and_channels_give_the_same_tone(
  tmp_path, rate, channels, subtype, name
):
  times = np.arange(rate) / rate
  mono = 0.25 * np.sin(2 * np.pi * 440 * times)
  path = _file(
    tmp_path / name, np.tile(mono[:, None], channels), rate, subtype=subtype
  )
  found = files.read(path)
  assert found.dtype == np.int16
  assert len(found) == 16_000
  heard = np.abs(np.fft.rfft(found[1000:-1000] * np.hanning(14_000)))
  assert heard.argmax() == pytest.approx(440 * 14_000 / 16_000, abs=1)
  assert np.abs(found).max() == pytest.approx(0.25 * 32768, rel=0.03)


@pytest.mark.parametrize(
  ("content", "words"),
  [
    (b"", "not a sound file"),
    (b"RIFF\0\0\0\0WAVEfmt ", "not a sound file"),
    (b"hello\n" * 99, "not a sound file"),
    (None, "holds no sound"),
  ],
  ids=["empty", "cut off", "text", "of no length"],
)
def test_what_is_no_sound_is_refused_by_its_name(tmp_path, content, words):
  path = tmp_path / "bad.wav"
  if content is None:
    held = io.BytesIO()
    soundfile.write(held, np.zeros(0), 16_000, format="WAV")
    content = held.getvalue()
  path.write_bytes(content)
  with pytest.raises(TflmFgError, match=words) as caught:
    files.read(str(path))
  assert str(path) in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_missing_file_and_nan_and_odd_rates_are_refused(tmp_path):
  with pytest.raises(TflmFgError, match="no such file"):
    files.read(str(tmp_path / "none.wav"))
  nan = _file(tmp_path / "nan.wav", np.full(9, np.nan), subtype="FLOAT")
  with pytest.raises(TflmFgError, match="NaN"):
    files.read(nan)
  slow = _file(tmp_path / "slow.wav", np.zeros(9), 1000)
  with pytest.raises(TflmFgError, match="1000 samples a second"):
    files.read(slow)


def test_without_soundfile_the_cure_is_named(monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
  with pytest.raises(TflmFgError, match=r"pip install 'tflm-fg\[kws\]'"):
    files.read("any.wav")


@pytest.mark.parametrize("seconds", [0.2, 0.7, 1.0, 1.3, 1.9])
def test_a_clip_is_one_second_with_its_sound_in_the_middle(seconds):
  clip = files.one_clip(tone(seconds), 16_000)
  energy = np.cumsum(clip.astype(float) ** 2)
  middle = np.searchsorted(energy, energy[-1] / 2)
  assert len(clip) == 16_000
  assert abs(int(middle) - 8000) < 20


def test_a_sound_at_the_edge_stays_whole():
  sound = np.concatenate([tone(0.4), np.zeros(20_000, np.int16)])
  clip = files.one_clip(sound, 16_000)
  assert (clip.astype(float) ** 2).sum() == (sound.astype(float) ** 2).sum()


def test_a_long_recording_is_cut_into_its_words():
  pause = np.zeros(16_000, np.int16)
  words = [tone(0.6, hertz) for hertz in (300, 500, 800)]
  noise = np.random.default_rng(0).integers(-20, 20, 3 * 16_000 + 28_800 + 0)
  long = np.concatenate([p for w in words for p in (pause, w)])
  long = (long + noise[: len(long)]).astype(np.int16)
  clips = files.clips_of(long, 16_000)
  assert [len(c) for c in clips] == [16_000] * 3
  for clip, hertz in zip(clips, (300, 500, 800)):
    assert np.abs(np.fft.rfft(clip)).argmax() == pytest.approx(hertz, abs=3)


def test_a_long_recording_of_noise_alone_is_one_clip():
  noise = np.random.default_rng(0).integers(-99, 99, 50_000).astype(np.int16)
  assert len(files.clips_of(noise, 16_000)) == 1
  assert len(files.clips_of(np.zeros(50_000, np.int16), 16_000)) == 1


def test_an_odd_rate_takes_no_endless_filter(tmp_path):
  """383,987 Hz made a filter of 7.7 million numbers for any recording."""
  times = np.arange(40_000) / 383_987
  path = _file(
    tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * times), 383_987
  )
  tracemalloc.start()
  try:
    found = files.read(path)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert abs(len(found) - 40_000 / 383_987 * 16_000) <= 1
  middle = found[300:-300]
  wanted = 0.5 * np.sin(
    2 * np.pi * 440 * np.arange(300, len(found) - 300) / 16e3
  )
  assert np.abs(middle / 32768 - wanted).max() < 0.02
  assert peak < 24 << 20


def test_hours_of_sound_are_refused_before_they_are_decoded(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(limits, "resident", lambda: 0)
  path = str(tmp_path / "long.wav")
  with wave.open(path, "wb") as made:
    made.setparams((1, 1, 8000, 0, "NONE", ""))
    made.writeframes(bytes(8000 * 60 * 10))
  with limits.at_most("64MB"), pytest.raises(TflmFgError) as told:
    files.read(path)
  assert "10 minutes of sound at 8000 Hz, which takes about 201 MB" in str(
    told.value
  )
  assert "cut it into shorter recordings" in str(told.value)
