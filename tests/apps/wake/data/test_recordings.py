"""Recordings become streams that begin as a device hears them."""

import numpy as np
import pytest

from apps.kws.audio import files
from apps.wake.data import recordings
from tflm_fg.types import TflmFgError

RATE = 16000
LEAD = round(recordings.LEAD_SECONDS * RATE)
TRAIL = round(recordings.TRAIL_SECONDS * RATE)


def word(seconds=0.6, pitch=200.0, level=8000.0):
  time = np.arange(int(seconds * RATE)) / RATE
  return (
    level * np.sin(2 * np.pi * pitch * time) * np.sin(np.pi * time / seconds)
  )


def room(seconds, level=40.0, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(0, level, int(seconds * RATE))


def said(*parts, pause=0.3, seed=0):
  """A recording of parts, with pauses, in a room."""
  quiet = np.zeros(int(pause * RATE))
  clean = np.concatenate([quiet, *[x for p in parts for x in (p, quiet)]])
  sound = clean + room(len(clean) / RATE, seed=seed)[: len(clean)]
  return files.to_int16(sound / 32768)


def write(folder, **sounds):
  for name, sound in sounds.items():
    files.write(str(folder / f"{name}.wav"), sound)
  return str(folder)


def test_a_recording_stands_between_noise_of_its_own_room(tmp_path):
  sound = said(word())
  found = recordings.positives(write(tmp_path, a=sound))
  (stream,) = found.sounds
  assert len(stream) == LEAD + len(sound) + TRAIL
  inner = slice(LEAD + 400, LEAD + len(sound) - 400)
  np.testing.assert_array_equal(stream[inner], sound[400:-400])
  assert 20 < stream[:LEAD].std() < 60  # the room has 40
  assert 20 < stream[-TRAIL // 2 :].std() < 60
  assert found.seconds == pytest.approx(len(sound) / RATE)


def test_the_same_recording_gives_the_same_stream(tmp_path):
  path = write(tmp_path, a=said(word()))
  one, two = recordings.positives(path), recordings.positives(path)
  np.testing.assert_array_equal(one.sounds[0], two.sounds[0])


def test_noise_has_the_colour_of_the_room():
  hum = 300 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)
  sound = files.to_int16((hum + room(1, 3)) / 32768)
  lead = recordings.with_surroundings(sound, sound)[:LEAD].astype(float)
  power = np.abs(np.fft.rfft(lead * np.hanning(LEAD))) ** 2
  below = int(200 * LEAD / RATE)
  assert power[:below].sum() > 0.8 * power.sum()


def test_speech_throughout_gives_noise_20_db_below_it():
  loud = files.to_int16(word(1.0, level=9000) / 32768 + room(1, 6000) / 32768)
  lead = recordings.with_surroundings(loud, loud)[:LEAD]
  assert lead.std() < 0.2 * loud.std()


def test_a_recorders_zeros_become_faint_noise():
  sound = np.zeros(RATE, np.int16)
  sound[4000:9000] = files.to_int16(word(5000 / RATE) / 32768)
  lead = recordings.with_surroundings(sound, sound)[:LEAD]
  assert 0 < np.abs(lead[:-200]).max() < 10


def test_pauses_part_utterances_and_short_ones_do_not(tmp_path):
  three = said(word(), word(pitch=250), word(pitch=300), pause=1.2)
  phrase = said(word(0.3), word(0.5, 250), pause=0.35)
  found = recordings.positives(write(tmp_path, three=three, two=phrase))
  assert found.names == ["three.wav #1", "three.wav #2", "three.wav #3"] + [
    "two.wav"
  ]
  total = sum(len(s) - LEAD - TRAIL for s in found.sounds)
  assert total == len(three) + len(phrase)
  assert "three.wav (3)" in found.notes[0]


def test_a_click_between_pauses_is_no_utterance(tmp_path):
  sound = said(word(), word(0.1), word(pitch=300), pause=1.2)
  found = recordings.positives(write(tmp_path, a=sound))
  assert found.names == ["a.wav #1", "a.wav #3"]
  assert any("shorter than 0.2 s" in note for note in found.notes)


def test_what_is_wrong_is_named_once(tmp_path):
  path = write(
    tmp_path,
    good=said(word()),
    muted=np.zeros(RATE, np.int16),
    loud=said(word(level=60000), seed=3),
    twice=said(word()),
    long=said(word(6.0), seed=4),
  )
  (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
  found = recordings.positives(path)
  assert found.names == ["good.wav", "long.wav", "loud.wav"]
  said_of = " | ".join((*found.notes, *found.doubts))
  for part in ("bad.wav", "muted.wav", "cut off", "long.wav (7 s)"):
    assert part in said_of
  assert "exact duplicate" in said_of


def test_folders_in_a_folder_are_read_and_hidden_ones_are_not(tmp_path):
  for name in ("kitchen", ".trash"):
    (tmp_path / name).mkdir()
    write(tmp_path / name, a=said(word(), seed=len(name)))
  (tmp_path / "notes.txt").write_text("no sound")
  assert len(recordings.positives(str(tmp_path))) == 1


def test_one_file_can_be_named(tmp_path):
  write(tmp_path, a=said(word()))
  assert len(recordings.positives(str(tmp_path / "a.wav"))) == 1


def test_long_sound_is_cut_so_that_each_part_is_judged_once(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(recordings, "NEGATIVE_SECONDS", 2)
  sound = files.to_int16(room(5.5, 500) / 32768)
  found = recordings.negatives(write(tmp_path, day=sound))
  assert found.names == ["day.wav #1", "day.wav #2", "day.wav #3"]
  judged = np.concatenate([stream[LEAD:] for stream in found.sounds])
  np.testing.assert_array_equal(judged[200:], sound[200:])
  before = found.sounds[1][:LEAD]
  np.testing.assert_array_equal(before, sound[2 * RATE - LEAD : 2 * RATE])
  assert found.seconds == 5.5


def test_nothing_to_read_is_refused_in_one_line(tmp_path):
  for path in (tmp_path, tmp_path / "none"):
    with pytest.raises(TflmFgError, match=r"1\.wav") as fault:
      recordings.positives(str(path))
    assert "\n" not in str(fault.value)
  (tmp_path / "bad.wav").write_bytes(b"no sound")
  with pytest.raises(TflmFgError, match="none of 1 recording"):
    recordings.negatives(str(tmp_path))


def test_strict_stops_at_a_recording_that_cannot_be_read(tmp_path):
  write(tmp_path, good=said(word()))
  (tmp_path / "bad.wav").write_bytes(b"no sound")
  with pytest.raises(TflmFgError, match=r"bad\.wav"):
    recordings.positives(str(tmp_path), strict=True)
