"""The synthetic speech is the same PCM for the same utterance, in any order."""

import hashlib
import itertools
import subprocess
import sys
import time

import pytest

from apps.kws.synthetic import speech
from tflm_fg.types import TflmFgError

_UTTERANCES = [
  speech.Utterance(text=text, voice=voice, pitch=pitch)
  for text in ("yes", "stop")
  for voice in ("en-us+f3", "en-us+whisper", "hu")
  for pitch in (30, 70)
]
_DIGEST_IN_A_NEW_PROCESS = """
import hashlib
from tests.apps.kws.synthetic.test_speech import _UTTERANCES
from apps.kws.synthetic import speech
from tflm_fg.types import TflmFgError
pcm = b"".join(speech.synthesize(_UTTERANCES))
print(hashlib.sha256(pcm).hexdigest())
"""


def test_two_processes_speak_the_same_bytes():
  """An utterance is its audio, whichever process asks, and whenever."""
  pcm = b"".join(speech.synthesize(_UTTERANCES))
  # Left to itself, espeak-ng seeds its noise from the clock's second.
  time.sleep(1.1)
  path = ":".join(entry for entry in sys.path if entry)
  other = subprocess.run(
    [sys.executable, "-c", _DIGEST_IN_A_NEW_PROCESS],
    capture_output=True,
    check=True,
    text=True,
    env={"PYTHONPATH": path},
  )
  assert other.stdout.strip() == hashlib.sha256(pcm).hexdigest()


def test_a_clip_does_not_depend_on_the_clips_before():
  """The same utterance is the same bytes in any order and any batch."""
  forwards = list(speech.synthesize(_UTTERANCES))
  backwards = list(speech.synthesize(_UTTERANCES[::-1]))[::-1]
  alone = list(speech.synthesize(_UTTERANCES[4:5]))
  assert forwards == backwards
  assert forwards[4] == alone[0]


def test_every_utterance_sounds_different():
  """Text, voice and pitch all reach espeak-ng."""
  clips = list(speech.synthesize(_UTTERANCES))
  assert len(set(clips)) == len(_UTTERANCES)
  seconds = [len(pcm) / 2 / speech.SAMPLE_RATE_HZ for pcm in clips]
  assert min(seconds) > 0.15
  assert max(seconds) < 1.0


def test_stopping_early_leaves_no_error():
  """A caller may take the first clip and go."""
  spoken = speech.synthesize(_UTTERANCES)
  assert len(list(itertools.islice(spoken, 1))) == 1
  spoken.close()


@pytest.mark.parametrize("voice", ["en-us+nobody", "xx"])
def test_an_unknown_voice_is_refused_in_one_line(voice):
  """espeak-ng itself would speak on with another voice."""
  utterance = speech.Utterance(text="yes", voice=voice)
  with pytest.raises(TflmFgError) as caught:
    list(speech.synthesize([utterance]))
  assert f"no espeak-ng voice '{voice}'" in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_rate_out_of_range_is_refused():
  """espeak-ng would clamp it without a word."""
  with pytest.raises(TflmFgError, match="rate_wpm: need 80 to 450, got 20"):
    speech.Utterance(text="yes", rate_wpm=20)


def test_a_missing_package_names_the_cure(monkeypatch):
  """Without espeakng-loader the error says what to install."""
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(TflmFgError, match=r"pip install 'tflm-fg\[kws\]'"):
    list(speech.synthesize(_UTTERANCES))
