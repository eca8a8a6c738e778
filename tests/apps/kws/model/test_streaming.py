"""Words in long recordings: reported once, at their peak, and counted."""

import sys
import types

import numpy as np
import pytest

from apps.kws.audio import live_input
from apps.kws.model import spotter, streaming
from apps.kws.model.streaming import Detector, Hearing, Hit, count
from apps.kws.synthetic.recordings import Spoken
from tests.apps.kws import corpora
from tflm_fg.types import TflmFgError

SPOTTER = spotter.load(None)
YES, GO = (SPOTTER.classes.index(w) for w in ("yes", "go"))
SILENCE = SPOTTER.classes.index("silence")


def _heard(peaks: dict[int, int], hearing: Hearing | None = None) -> list[Hit]:
  """Feeds 60 clips: at each key's clip, half a second of the value's word."""
  detector = Detector(SPOTTER, hearing or Hearing())
  hits = []
  for number in range(60):
    p = np.full(12, 0.001)
    near = [w for at, w in peaks.items() if abs(number - at) <= 2]
    p[near[0] if near else SILENCE] = 0.98
    hits.append(detector.push(number * 0.1, p))
  hits.append(detector.flush())
  return [h for h in hits if h is not None]


def test_a_word_is_reported_once_at_its_middle():
  (hit,) = _heard({20: YES})
  assert hit.word == "yes"
  assert hit.seconds == pytest.approx(2.0, abs=0.15)
  assert hit.confidence > 0.9


def test_two_words_apart_are_two_and_words_in_the_pause_are_none():
  assert [h.word for h in _heard({10: YES, 30: GO})] == ["yes", "go"]
  assert len(_heard({10: YES, 15: YES}, Hearing(pause_ms=2000))) == 1


def test_a_word_at_the_very_end_is_reported():
  assert [h.word for h in _heard({59: GO})] == ["go"]


def test_silence_unknown_and_doubt_are_no_words():
  assert _heard({20: SILENCE}) == []
  assert _heard({20: SPOTTER.classes.index("unknown")}) == []
  assert _heard({20: YES}, Hearing(threshold=0.99)) == []


def test_hits_misses_and_false_accepts_are_counted_once_each():
  said = [Spoken(1.0, "yes"), Spoken(5.0, "go"), Spoken(9.0, "cat")]
  heard = [
    Hit(1.1, "yes", 0.9),
    Hit(1.5, "yes", 0.9),
    Hit(5.1, "up", 0.9),
    Hit(9.0, "go", 0.9),
  ]
  found = count(heard, said, SPOTTER.words, 16_000 * 360)
  assert len(found.hits) == 1
  assert found.misses == (Spoken(5.0, "go"),)
  assert len(found.false_accepts) == 3
  assert found.false_accepts_an_hour == pytest.approx(30)
  assert "1 of 2 words heard, 1 missed, 3 false" in str(found)


def test_pieces_of_any_length_give_the_same_hits():
  sound = np.concatenate(
    [corpora.tone(1.0, 300), np.zeros(16_000, np.int16), corpora.tone(1.3)]
  )
  whole, cut = (
    list(streaming.hear(SPOTTER.open(), pieces, Hearing(threshold=0.1)))
    for pieces in ([sound], np.array_split(sound, 17))
  )
  assert whole == cut


def test_a_recording_shorter_than_a_clip_is_heard():
  hits = streaming.hear(
    SPOTTER.open(), streaming.pieces(corpora.tone(0.3)), Hearing()
  )
  assert isinstance(list(hits), list)


@pytest.mark.parametrize(
  "wrong", [{"hop_ms": 0}, {"threshold": 1.5}, {"smooth_ms": -1}], ids=str
)
def test_a_number_out_of_range_is_refused_by_its_flag(wrong):
  with pytest.raises(TflmFgError, match=f"--{next(iter(wrong))}"):
    Hearing(**wrong)


# A microphone.


class _Stream:
  """What sounddevice gives: counts up, so that order shows."""

  def __init__(self, **options):
    self.options = options
    self.at = 0

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    return None

  def read(self, samples):
    self.at += 1
    return np.full((samples, 1), self.at, np.int16), False


def _sounddevice(stream) -> types.ModuleType:
  module = types.ModuleType("sounddevice")
  module.InputStream = stream
  module.PortAudioError = type("PortAudioError", (Exception,), {})
  return module


def test_a_microphone_is_heard_for_the_seconds_asked(monkeypatch):
  monkeypatch.setitem(sys.modules, "sounddevice", _sounddevice(_Stream))
  pieces = list(live_input.microphone(0, 1600, 0.5))
  assert [int(p[0]) for p in pieces] == [1, 2, 3, 4, 5]


def test_control_c_ends_a_microphone_without_a_fault(monkeypatch):
  class Interrupted(_Stream):
    def read(self, samples):
      if self.at == 2:
        raise KeyboardInterrupt
      return super().read(samples)

  monkeypatch.setitem(sys.modules, "sounddevice", _sounddevice(Interrupted))
  assert len(list(live_input.microphone(-1, 1600, None))) == 2


def test_no_microphone_and_no_package_are_refused_with_the_cure(monkeypatch):
  module = _sounddevice(_Stream)

  def missing(**unused):
    raise module.PortAudioError("Error querying device 7")

  module.InputStream = missing
  monkeypatch.setitem(sys.modules, "sounddevice", module)
  with pytest.raises(TflmFgError, match="--device=7: Error querying device 7"):
    list(live_input.microphone(7, 1600, None))
  monkeypatch.setitem(sys.modules, "sounddevice", None)
  with pytest.raises(TflmFgError, match=r"pip install 'tflm-fg\[mic\]'"):
    list(live_input.microphone(0, 1600, None))
