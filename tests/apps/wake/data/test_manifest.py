"""ESPHome's manifests: read, refused in one line, changed in two places."""

import dataclasses
import json

import pytest

from apps.wake.data import manifest
from tflm_fg.types import TflmFgError

V2 = """{
  "type": "micro",
  "wake_word": "Hey Jarvis",
  "author": "J\\u00e4rvi & Sons",
  "website": "https://example.com/",
  "model": "hey_jarvis.tflite",
  "trained_languages": ["en",   "sv"],
  "zeta": {"model": "inner", "probability_cutoff": 1.50},
  "version": 2,
  "micro": {
    "probability_cutoff": 0.97, "alpha": [1.0, 2e3],
    "feature_step_size": 10,
    "sliding_window_size": 5,
    "tensor_arena_size": 22860,
    "minimum_esphome_version": "2024.7.0"
  }
}
"""
V1 = """{"type": "micro", "wake_word": "okay nabu", "author": "a",
 "website": "https://example.com", "model": "okay.tflite", "version": 1,
 "micro": {"probability_cutoff": 0.5, "sliding_window_average_size": 10,
 "minimum_esphome_version": "2024.2.0"}}"""


def changed(path, value):
  """The second version with one key changed, or left out for None."""
  content = json.loads(V2)
  *outer, key = path
  place = content
  for name in outer:
    place = place[name]
  if value is None:
    del place[key]
  else:
    place[key] = value
  return json.dumps(content)


def test_version_two_gives_cutoff_window_step_and_languages():
  found = manifest.Manifest.parse(V2, "m.json")
  assert (found.cutoff, found.window, found.feature_step_ms) == (0.97, 5, 10)
  assert (found.wake_word, found.languages) == ("Hey Jarvis", ("en", "sv"))


def test_version_one_has_another_name_for_the_window_and_steps_of_20_ms():
  found = manifest.Manifest.parse(V1, "m.json")
  assert (found.cutoff, found.window, found.feature_step_ms) == (0.5, 10, 20)
  assert found.languages == ("en",)


@pytest.mark.parametrize("text", [V1, V2])
def test_only_the_file_and_the_cutoff_change_in_the_text(text):
  found = manifest.Manifest.parse(text, "m.json")
  edited = found.edited(model="mine.tflite", cutoff=0.912345)
  usual = json.loads(text)
  back = edited.replace('"mine.tflite"', json.dumps(usual["model"]), 1)
  assert back.replace("0.912", json.dumps(found.cutoff), 1) == text
  again = manifest.Manifest.parse(edited, "n.json")
  assert again.cutoff == 0.912


def test_a_cutoff_is_rounded_to_the_digits_that_are_asked_for():
  found = manifest.Manifest.parse(V2, "m.json")
  kept = manifest.Manifest.parse(
    found.edited(model="a.tflite", cutoff=0.98765, digits=2), "n.json"
  )
  assert kept.cutoff == 0.99
  least = found.edited(model="a.tflite", cutoff=0.0001, digits=2)
  assert manifest.Manifest.parse(least, "n.json").cutoff == 0.01


def test_what_is_written_is_read_again(tmp_path):
  path = str(tmp_path / "mine.json")
  manifest.Manifest.parse(V2, "m.json").write(
    path, model="mine.tflite", cutoff=0.8
  )
  assert manifest.Manifest.read(path).cutoff == 0.8


@pytest.mark.parametrize(
  ("path", "value", "said"),
  [
    (("version",), 3, "version: need 1 or 2, got 3"),
    (("version",), None, "'version' is missing"),
    (("version",), True, "got true"),
    (("type",), "openwakeword", 'need "micro", got "openwakeword"'),
    (("wake_word",), 7, "wake_word: need a text in quotes, got 7"),
    (("wake_word",), " ", "wake_word: need a text"),
    (("model",), None, "'model' is missing"),
    (("micro",), [1], "micro: need an object in braces, got [1]"),
    (("micro", "probability_cutoff"), "0.97", 'got "0.97"'),
    (("micro", "probability_cutoff"), 0, "above 0 and at most 1, got 0"),
    (("micro", "probability_cutoff"), 97, "at most 1, got 97"),
    (("micro", "probability_cutoff"), None, "'probability_cutoff' is missing"),
    (("micro", "sliding_window_size"), 0, "1 to 1000, got 0"),
    (("micro", "sliding_window_size"), 2.5, "whole number"),
    (("micro", "feature_step_size"), None, "'feature_step_size' is missing"),
    (("micro", "feature_step_size"), 99, "1 to 30, got 99"),
    (("trained_languages",), {"en": 1}, 'a list such as ["en"]'),
  ],
)
def test_what_a_key_cannot_hold_is_said_in_one_line(path, value, said):
  with pytest.raises(TflmFgError) as fault:
    manifest.Manifest.parse(changed(path, value), "m.json")
  assert said in str(fault.value)
  assert str(fault.value).startswith("m.json")
  assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("", "not a manifest that can be read"),
    ("[1, 2]", "an object in braces"),
    ('{"version": 2, "version": 1}', "'version' stands twice"),
    ('{"version": NaN}', "NaN is no number"),
    ("{" * 100_000, "not a manifest"),
  ],
)
def test_a_text_that_is_no_manifest_is_refused_in_one_line(text, said):
  with pytest.raises(TflmFgError, match=said) as fault:
    manifest.Manifest.parse(text, "m.json")
  assert "\n" not in str(fault.value)


def test_a_window_under_the_other_versions_name_is_named():
  text = V2.replace('"version": 2', '"version": 1')
  with pytest.raises(TflmFgError, match=r"'sliding_window_size'.*version 2"):
    manifest.Manifest.parse(text, "m.json")


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path):
  path = tmp_path / "m.json"
  with pytest.raises(TflmFgError, match=r"m\.json"):
    manifest.Manifest.read(str(path))
  path.write_bytes(b"\xff\xfe\x00")
  with pytest.raises(TflmFgError, match="text in UTF-8"):
    manifest.Manifest.read(str(path))


def test_the_manifest_of_the_models_name_is_found_and_flags_go_first(tmp_path):
  model = str(tmp_path / "M.tflite")
  with pytest.raises(TflmFgError, match=r"no manifest M\.json.*--manifest"):
    manifest.of_model(model, needed=True, cutoff=0.5)
  said = manifest.of_model(model, needed=True, cutoff=0.5, window=3)
  assert (said.cutoff, said.window, said.text) == (0.5, 3, "")
  assert manifest.of_model(model).cutoff == manifest.CUTOFF
  (tmp_path / "M.json").write_text(V2)
  found = manifest.of_model(model, window=7)
  assert (found.cutoff, found.window) == (0.97, 7)
  (tmp_path / "other.json").write_text(V1)
  other = manifest.of_model(model, str(tmp_path / "other.json"))
  assert other.wake_word == "okay nabu"


@pytest.mark.parametrize("cutoff", [0.0, 1.5, float("nan")])
def test_a_cutoff_out_of_its_range_is_refused_wherever_it_comes_from(cutoff):
  with pytest.raises(TflmFgError, match="cutoff"):
    manifest.of_model("M.tflite", cutoff=cutoff)


def test_a_model_without_a_manifest_has_none_to_change():
  with pytest.raises(TflmFgError, match="no manifest"):
    manifest.of_model("M.tflite").edited(model="a", cutoff=0.5)


@pytest.mark.parametrize(("text", "old"), [(V2, 5), (V1, 10)])
def test_a_window_that_a_flag_sets_is_written_too(text, old):
  found = dataclasses.replace(manifest.Manifest.parse(text, "m.json"), window=7)
  edited = found.edited(model="mine.tflite", cutoff=found.cutoff)
  again = manifest.Manifest.parse(edited, "n.json")
  assert again.window == 7
  as_it_was = dataclasses.replace(found, window=old)
  kept = as_it_was.edited(model="mine.tflite", cutoff=found.cutoff)
  assert kept.count(str(old)) == text.count(str(old))


def test_the_json_of_a_spotter_beside_it_is_no_manifest(tmp_path):
  (tmp_path / "kws.json").write_text('{"classes": ["yes"]}')
  path = str(tmp_path / "kws.tflite")
  assert manifest.of_model(path).text == ""
  with pytest.raises(TflmFgError, match="the key 'version' is missing"):
    manifest.of_model(path, needed=True)
  (tmp_path / "kws.json").write_text("{")
  with pytest.raises(TflmFgError, match="not a manifest that can be read"):
    manifest.of_model(path)
