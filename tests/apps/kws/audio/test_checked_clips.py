"""Recordings of phones are read; what cannot be learned from is named."""

import dataclasses
import re

import numpy as np
import pytest

from apps.kws.audio import checked_clips, decoding, files
from apps.kws.audio.folders import Take
from apps.kws.features import examples
from apps.kws.features.registry import named
from tests.apps.kws.corpora import tone
from tflm_fg.types import TflmFgError

pytest.importorskip("soundfile", reason="needs the extra kws")

KINDS = {
  "a.m4a": ("aac", 44_100, "ipod"),
  "a.mp3": ("libmp3lame", 44_100, None),
  "a.3gp": ("libopencore_amrnb", 8_000, "3gp"),
  "b.3gp": ("aac", 16_000, "3gp"),
  "a.ogg": ("libopus", 48_000, "ogg"),
  "a.opus": ("libopus", 48_000, "opus"),
  "a.flac": ("flac", 16_000, None),
  "a.aac": ("aac", 44_100, "adts"),
  "a.amr": ("libopencore_amrnb", 8_000, "amr"),
  "a.webm": ("libopus", 48_000, "webm"),
}
"""Name of a file -> what a phone encodes it with, its rate and its format."""


def encoded(path, kind, sound):
  """Writes a sound as a phone does."""
  av = pytest.importorskip("av", reason="needs the extra audio")
  codec, rate, form = kind
  with av.open(str(path), "w", format=form) as container:
    stream = container.add_stream(codec, rate=rate)
    stream.layout = "mono"
    wanted = stream.codec_context.format
    change = av.AudioResampler(format=wanted, layout="mono", rate=rate)
    frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
    frame.sample_rate = 16_000
    for piece in (*change.resample(frame), *change.resample(None)):
      container.mux(stream.encode(piece))
    container.mux(stream.encode(None))
  return str(path)


@pytest.mark.parametrize("name", list(KINDS))
def test_what_phones_record_is_read_as_the_tone_that_it_is(tmp_path, name):
  times = np.arange(16_000) / 16_000
  sound = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
  found = files.read(encoded(tmp_path / name, KINDS[name], sound))
  assert found.dtype == np.int16
  assert 15_500 < len(found) < 18_500
  middle = found[2000:14_000]
  heard = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
  assert heard.argmax() == pytest.approx(440 * len(middle) / 16_000, abs=1)
  assert np.sqrt(np.mean(middle.astype(float) ** 2)) == pytest.approx(
    8000 / np.sqrt(2), rel=0.25
  )
  assert files.is_sound(name)


def test_two_channels_are_mixed_whoever_decodes(tmp_path):
  av = pytest.importorskip("av", reason="needs the extra audio")
  soundfile = decoding.soundfile()
  both = np.stack([tone() / 32768.0, np.zeros(16_000)], axis=1)
  soundfile.write(tmp_path / "a.wav", both, 16_000)
  content = (tmp_path / "a.wav").read_bytes()
  mixed, rate = decoding._by_ffmpeg(av, "a.wav", content)
  assert rate == 16_000
  wav, _ = decoding.decode(str(tmp_path / "a.wav"))
  assert np.abs(mixed - wav).max() < 1e-3


def test_a_name_that_is_wrong_does_not_matter(tmp_path):
  path = encoded(tmp_path / "a.m4a", KINDS["a.m4a"], tone())
  (tmp_path / "a.m4a").rename(tmp_path / "b.wav")
  assert len(files.read(path.replace("a.m4a", "b.wav"))) > 15_000


@pytest.mark.parametrize("name", ["a.m4a", "a.wav", "a.3gp"])
def test_a_damaged_recording_is_refused_in_one_line(tmp_path, name, capfd):
  pytest.importorskip("av", reason="needs the extra audio")
  path = tmp_path / name
  path.write_bytes(b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + bytes(500))
  with pytest.raises(decoding.UnreadSound) as caught:
    files.read(str(path))
  assert re.fullmatch(
    r".*not a sound file that can be read \([^/\n]+\); record it again, as PCM "
    "WAV",
    str(caught.value),
  )
  assert capfd.readouterr() == ("", "")


def test_without_pyav_the_extra_and_the_command_are_named(
  tmp_path, monkeypatch
):
  monkeypatch.setitem(__import__("sys").modules, "av", None)
  (tmp_path / "my word.m4a").write_bytes(b"any")
  with pytest.raises(decoding.UnreadSound) as caught:
    files.read(str(tmp_path / "my word.m4a"))
  assert "pip install 'tflm-fg[audio]'" in str(caught.value)
  assert f"ffmpeg -i '{tmp_path}/my word.m4a' '{tmp_path}/my word.wav'" in (
    str(caught.value)
  )
  assert caught.value.needs_extra
  (tmp_path / "a.wav").write_bytes(b"any")
  with pytest.raises(decoding.UnreadSound, match="not a sound file"):
    files.read(str(tmp_path / "a.wav"))


@pytest.mark.parametrize(
  ("sound", "silent"),
  [
    (np.zeros(16_000), True),
    (np.full(16_000, 500), True),  # a microphone's constant
    (np.random.default_rng(0).integers(-3, 4, 16_000), True),
    (np.random.default_rng(0).integers(-20, 21, 16_000), False),
    (tone() // 300, False),  # a whisper far away
    (np.tile([-32768, 32767], 8000), False),  # as loud as can be
  ],
)
def test_silence_is_what_no_microphone_that_hears_gives(sound, silent):
  assert files.is_silent(sound.astype(np.int16)) == silent


def recording(folder, name, sound):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  files.write(str(path), sound)
  return str(path)


def cut(takes, **options):
  found = checked_clips.Findings("mine", **options)
  taken = [take for take, _ in checked_clips.clips(takes, 16_000, found)]
  return taken, found


@pytest.fixture
def takes(tmp_path):
  """A word, its copy, silence, damage; another word, and a copy across."""
  sounds = {
    "no/1.wav": tone(1, 300),
    "no/2.wav": tone(1, 300),
    "no/3.wav": np.zeros(16_000, np.int16),
    "no/4.wav": None,
    "no/5.wav": tone(1, 800),
    "yes/1.wav": tone(1, 500),
    "yes/2.wav": tone(1, 800),
  }
  made = []
  for name, sound in sounds.items():
    path = recording(tmp_path, name, tone() if sound is None else sound)
    if sound is None:
      (tmp_path / name).write_bytes(b"RIFF")
    made.append(Take(path, int(name[0] == "y"), name.split("/")[0]))
  return made


def test_each_kind_of_recording_is_told_of_once(takes):
  taken, found = cut(takes)
  assert [t.path[-8:] for t in taken] == [
    "no/1.wav",
    "no/5.wav",
    "es/1.wav",
  ]
  assert list(found.torn) == [1]
  unread, silent, torn, copies = found.doubts()
  assert "1 recording cannot be read" in unread and "no/4.wav (" in unread
  assert "1 clip is silent" in silent and "no/3.wav" in silent
  assert "1 clip is left out, whose exact duplicates lie in" in torn
  assert torn.endswith("yes/2.wav")
  assert "1 clip is an exact duplicate" in copies and "no/2.wav" in copies
  assert not found.remarks()


def test_strict_stops_at_the_first_recording_that_cannot_be_read(takes):
  with pytest.raises(TflmFgError, match=r"no/4.wav: not a .* leave out --stri"):
    cut(takes, strict=True)


def test_silence_may_be_silent_and_windows_of_noise_alike(takes):
  noise = dataclasses.replace(takes[2], start=5)
  taken, found = cut([takes[2], noise, noise], silence=0)
  assert len(taken) == 3
  assert not found.doubts()


def test_noise_that_cannot_be_read_is_named_once(takes):
  noise = dataclasses.replace(takes[3], start=5)
  _, found = cut([noise, noise, takes[0]])
  assert len(found.unread) == 1


def test_a_few_duplicates_are_a_remark(tmp_path):
  made = [
    Take(recording(tmp_path, f"{n}.wav", tone(1, 200 + n)), 0, "no")
    for n in range(50)
  ]
  taken, found = cut([*made, made[7]])
  assert len(taken) == 50 and not found.doubts()
  assert "1 clip is an exact duplicate of others" in found.remarks()[0]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"RIFF", "none of 2 recordings can be read, first .*1.wav: not a sound"),
    (None, "no clip is left to learn from: .*: 2 clips are silent"),
  ],
)
def test_a_folder_of_nothing_that_can_be_heard_is_one_line(
  tmp_path, content, message
):
  for name in ("no/1.wav", "no/2.wav"):
    path = recording(tmp_path, name, np.zeros(16_000, np.int16))
    if content:
      (tmp_path / name).write_bytes(content)
    assert path
  with pytest.raises(TflmFgError, match=message):
    examples.read(str(tmp_path), named("micro"), ("no", "yes"), progress=False)


def test_clips_that_are_trained_on_and_scored_are_told_of(tmp_path):
  for number in range(3):
    recording(tmp_path, f"a/no/{number}.wav", tone(1, 300 + number))
  for number in range(2):
    recording(tmp_path, f"b/no/{number}.wav", tone(1, 302 + number))
  train, test = (
    examples.read(str(tmp_path / part), named("micro"), ("no",), progress=False)
    for part in "ab"
  )
  with pytest.warns(UserWarning, match="b: 1 of 2 clips are trained on too"):
    told = test.told_apart(train, "b")
  assert len(told.doubts) == 1
  one, other = train.parted(0.34, seed=0)
  assert other.told_apart(one, "c").doubts == ()


def test_clips_of_two_words_are_learned_as_neither(tmp_path):
  for name, hertz in (("no/1", 300), ("no/2", 400), ("yes/1", 300)):
    recording(tmp_path, f"{name}.wav", tone(1, hertz))
  with pytest.warns(UserWarning, match="duplicates lie in folders of other"):
    found = examples.read(
      str(tmp_path), named("micro"), ("no", "yes"), progress=False
    )
  assert found.y.tolist() == [0] and len(found.doubts) == 1
