"""The stock: what is shipped, what is made, and that both are of a kind."""

import lzma
import pathlib
import types

import numpy as np
import pytest

from apps.kws.synthetic import speech
from apps.wake.data import (
  features,
  micro_frames,
  noises,
  phrases,
  speaking,
  stock,
  stock_file,
  voices,
)
from apps.wake.data.manifest import Manifest
from tflm_fg.types import TflmFgError

LEAD_FRAMES = round(speaking.LEAD_SECONDS * 100) - 3


def frontend(*shape, rule=features.ESPHOME):
  model = types.SimpleNamespace(
    step_shape=shape,
    input_dtype="int8",
    input_scale=0.10196078568696976,
    input_zero_point=-128,
  )
  return features.of_model(model, Manifest(path="M.tflite"), rule=rule)


def frames_of(sound):
  return micro_frames.esphome(micro_frames.raw(sound))


def test_the_stock_has_minutes_of_many_voices_in_less_than_2_mb():
  path = pathlib.Path(stock.__file__).parent / stock.FILE
  assert path.stat().st_size <= 2_000_000
  spoken = [s for s in stock.shipped() if s.kind == stock.NEGATIVE]
  assert len({s.voice for s in spoken}) >= 24
  assert {s.manner for s in spoken} == set(speaking.MANNERS)
  assert sum(len(s.sound) for s in spoken) >= 14 * 6000


@pytest.mark.parametrize("word", phrases.COMMON)
def test_every_common_word_has_16_keepers_or_more(word):
  found = stock.keepers(word)
  assert len({s.voice for s in found}) == len(found) >= 16
  assert all(s.texts == (phrases.said(word),) for s in found)


def test_no_negative_holds_the_wake_word_or_most_of_it():
  usual = stock.negatives()
  assert any("hey jarvis" in s.texts for s in usual)
  for word in ("Hey Jarvis", "computer", "Okay Nabu", "hey computer"):
    core = phrases.content(word)
    for s in stock.negatives(word):
      held = core if s.kind == stock.KEEPER else word
      assert not any(phrases.holds(text, held) for text in s.texts)


def test_wordless_sound_is_among_the_negatives():
  found = [s for s in stock.negatives("alexa") if s.kind == stock.NOISE]
  assert {s.voice.split()[0] for s in found} == set(noises.KINDS)
  for s in found:
    assert s.sound.dtype == np.int16
    assert np.abs(s.sound.astype(int)).max() > 0


def test_noise_is_the_same_in_every_run():
  one, two = (next(noises.streams(1, seed=5)) for _ in range(2))
  np.testing.assert_array_equal(one[1], two[1])


def test_shipped_and_made_streams_are_of_a_kind():
  """Two keepers spoken here, beside those in the file."""
  plans = stock.keeper_plans("hey jarvis")[:2]
  shipped = stock.keepers("hey jarvis")[:2]
  for plan, sound, kept in zip(plans, speaking.spoken(plans), shipped):
    made = frames_of(sound)
    assert (plan.voice, plan.manner) == (kept.voice, kept.manner)
    assert abs(len(made) - len(kept.sound)) <= 10
    speech_made = made[LEAD_FRAMES:].astype(float)
    speech_kept = kept.sound[LEAD_FRAMES:].astype(float)
    size = min(len(speech_made), len(speech_kept))
    apart = np.abs(speech_made[:size] - speech_kept[:size]).mean()
    assert apart < 0.1 * speech_kept.std()


def test_a_wake_word_that_nobody_shipped_is_spoken_here(monkeypatch):
  monkeypatch.setattr(voices, "KEEPERS", voices.KEEPERS[:2])
  found = stock.keepers("Zebra Pumpkin", made=True)
  assert [s.texts for s in found] == [("zebra pumpkin",)] * 2
  assert all(s.made and s.sound.dtype == np.int16 for s in found)
  assert stock.keepers("Zebra Pumpkin") == []


def test_keepers_need_a_wake_word():
  with pytest.raises(TflmFgError, match="--wake_word"):
    stock.keepers(" ")


def quick(monkeypatch):
  """A stock of which little is made."""
  monkeypatch.setattr(voices, "KEEPERS", voices.KEEPERS[:1])
  monkeypatch.setattr(voices, "NEGATIVES", voices.NEGATIVES[:1])
  monkeypatch.setattr(voices, "ALIKE", voices.ALIKE[:1])
  monkeypatch.setattr(noises, "SECONDS", 1)
  monkeypatch.setattr(stock, "_ORDINARY", 2)
  monkeypatch.setattr(stock, "_CONFUSED", 1)
  usual = phrases.alike
  monkeypatch.setattr(phrases, "alike", lambda word, count=2: usual(word, 2))


def test_a_known_word_gets_shipped_keepers_and_made_phrases(monkeypatch):
  quick(monkeypatch)
  manifest = Manifest(path="m.json", wake_word="Hey Jarvis")
  found = stock.steps(manifest, frontend(3, 40))
  assert len(found.keepers) == len(stock.keepers("hey jarvis"))
  usual = stock.negatives("Hey Jarvis")
  words = [s for s in usual if s.kind == stock.KEEPER]
  assert len(found.negatives) == len(usual) - len(words)
  assert len(found.alike) == len(words) + 1
  assert found.notes == ()
  assert found.keepers[0].shape[1:] == (3, 40)
  assert len(found.negatives) == len(found.negative_names)
  assert len(found.alike) == len(found.alike_names)
  assert len(found.keepers) == len(set(found.keeper_names))


def test_another_front_end_gets_everything_made(monkeypatch):
  quick(monkeypatch)
  manifest = Manifest(path="m.json", wake_word="Marvin")
  found = stock.steps(manifest, frontend(30, 1, 40))
  assert len(found.keepers) == 1
  assert found.keepers[0].shape[1:] == (30, 1, 40)
  assert len(found.negatives) > 1


def test_without_speech_the_shipped_part_serves_and_the_cure_is_said(
  monkeypatch,
):
  def missing(*_):
    raise TflmFgError("speech needs: pip install 'tflm-fg[kws]'")

  monkeypatch.setattr(speech, "synthesize", missing)
  known = Manifest(path="m.json", wake_word="Alexa")
  found = stock.steps(known, frontend(3, 40))
  assert len(found.keepers) >= 16
  assert "pip install" in found.notes[0]
  other = Manifest(path="m.json", wake_word="Zebra Pumpkin")
  found = stock.steps(other, frontend(3, 40))
  assert found.keepers == []
  assert "no keepers" in found.notes[0]
  with pytest.raises(TflmFgError, match="pip install"):
    stock.steps(other, frontend(30, 1, 40))


def test_a_model_without_a_word_is_told_to_name_it():
  found = stock.steps(Manifest(path="M.tflite"), frontend(3, 40))
  assert found.keepers == found.alike == []
  assert "--wake_word" in found.notes[0]


def test_the_other_rule_differs_from_its_own_by_one_step():
  """What the wheel would round, from what ESPHome rounded."""
  (plan,) = stock.keeper_plans("alexa")[:1]
  (sound,) = speaking.spoken([plan])
  wheel = frontend(3, 40, rule=features.WHEEL)
  back = wheel.steps(frames_of(sound)).astype(int)
  apart = np.abs(back - wheel.steps(sound))
  assert apart.max() <= 1
  assert apart.mean() < 0.15


@pytest.mark.parametrize("coarseness", [1, 4])
def test_frames_are_packed_to_the_coarseness(coarseness):
  rng = np.random.default_rng(0)
  entries = [
    ({"kind": "k", "texts": ["a", "b"]}, rng.integers(-128, 128, (n, 40)))
    for n in (3, 7)
  ]
  entries = [(about, frames.astype(np.int8)) for about, frames in entries]
  found = stock_file.read(stock_file.pack(entries, coarseness), "s.bin")
  assert found[0][0] == {"kind": "k", "texts": ("a", "b")}
  for (_, frames), (_, back) in zip(entries, found):
    apart = np.abs(frames.astype(int) - back)
    assert apart.max() <= coarseness // 2


@pytest.mark.parametrize(
  "damage",
  [
    lambda data: data[:-9],
    lambda data: b"",
    lambda data: lzma.compress(b"{}\n"),
    lambda data: lzma.compress(b"[]\n"),
    lambda data: lzma.compress(b'{"version": 9}\n'),
    lambda data: lzma.compress(lzma.decompress(data)[:-1]),
  ],
)
def test_a_damaged_file_is_refused_in_one_line(damage):
  frames = np.zeros((5, 40), np.int8)
  data = stock_file.pack([({"kind": "k", "texts": []}, frames)])
  with pytest.raises(TflmFgError, match="install the package again"):
    stock_file.read(damage(data), "stock.bin")


def test_voices_of_the_stock_are_none_of_the_numbered_ones():
  """Tests and benchmarks speak with m1 to m8, f1 to f5, Annie and whispers."""
  others = {f"m{n}" for n in range(9)} | {f"f{n}" for n in range(6)}
  assert not voices.VARIANTS & (others | {"Annie", "whisper", "whisperf"})


def test_voices_take_the_languages_of_the_model():
  given = ["en-us+rob", "en+linda", "en-029+max"]
  assert voices.of_languages(given, ["en"]) == given
  assert voices.of_languages(given, ["de-CH"]) == [
    "de+rob",
    "de+linda",
    "de+max",
  ]
  mixed = voices.of_languages(given, ["en", "no"])
  assert mixed == ["en-us+rob", "nb+linda", "en-029+max"]
  assert voices.of_languages(given, ["klingon"]) == given


def test_a_stream_depends_on_its_plan_alone():
  plan = speaking.Plan(texts=("one", "two"), voice="en+linda")
  assert (
    plan.utterances()
    == speaking.Plan(texts=("one", "two"), voice="en+linda").utterances()
  )
  other = speaking.Plan(texts=("one", "two"), voice="en+linda", seed=1)
  assert plan.utterances() != other.utterances()


def test_streams_begin_with_noise_and_every_manner_is_heard():
  plans = [
    speaking.Plan(texts=("hello there",), voice="en+linda", manner=manner)
    for manner in speaking.MANNERS
  ]
  lead = round(speaking.LEAD_SECONDS * speaking.RATE_HZ)
  for sound in speaking.spoken(plans):
    before, said = sound[: lead - 800], sound[lead : lead + 16000]
    assert 0 < before.std() < 0.7 * said.std()


def test_a_whisper_has_no_tone():
  time = np.arange(16000) / 16000
  tone = np.sin(2 * np.pi * 200 * time) + np.sin(2 * np.pi * 400 * time)
  made = speaking.whispered(tone, np.random.default_rng(0))
  assert made.shape == tone.shape
  power = np.abs(np.fft.rfft(made)) ** 2
  assert power.max() < 0.1 * power.sum()


def test_no_negative_says_the_wake_word_as_voices_are_asked_to_say_it():
  """Voices say "okay naboo" where the manifest says "Okay Nabu"."""
  for word, said in (("Okay Nabu", "okay naboo"), ("Hey Jarvis", "hey jarvis")):
    texts = {text for s in stock.negatives(word) for text in s.texts}
    assert said not in texts
    assert "alexa" in texts
