"""The front end in JavaScript gives what TFLM's own gives."""

from __future__ import annotations

import base64
import hashlib
import re

import numpy as np
import pytest

from apps.kws.audio import files
from apps.kws.features import micro
from tests import node

HERE = node.ROOT / "tests/apps/samples/web"
SECOND = np.arange(16_000) / 16_000


def clips():
  """int16 [n, 16000]: silence, noise, tones that stay or go, the loudest."""
  random = np.random.default_rng(0)
  found = [np.zeros(16_000), np.full(16_000, -32768)]
  found.append(np.where(np.arange(16_000) % 2, 32767, -32768))
  found.append(2e4 * np.sin(2 * np.pi * 1000 * SECOND))  # noise, by its end
  for loudness in (3, 300, 30_000):
    found.append(random.normal(0, loudness, 16_000))
    tone = np.sin(2 * np.pi * random.uniform(100, 7000) * SECOND)
    tone = loudness * tone * np.exp(-3 * SECOND)
    found.append(tone + random.normal(0, 20, 16_000))
  return np.clip(np.rint(found), -32768, 32767).astype("<i2")


def test_features_equal_those_of_pymicro_features(tmp_path):
  pytest.importorskip("pymicro_features")
  sound = clips()
  sound.tofile(tmp_path / "sound.bin")
  node.run(
    HERE / "frontend_run.mjs", tmp_path / "sound.bin", tmp_path / "features.bin"
  )
  found = np.fromfile(tmp_path / "features.bin", "<f4").reshape(-1, 49, 40, 1)
  wanted = np.stack([micro.features(clip) for clip in sound])
  np.testing.assert_array_equal(found, wanted)


def test_a_recording_becomes_the_clip_that_python_makes_of_it(tmp_path):
  """Cut, padded, and as it is, with a word early, late and in the middle."""
  random = np.random.default_rng(0)
  sounds = []
  for length in (4_000, 15_999, 16_000, 16_001, 19_200, 40_000):
    for place in (0.1, 0.5, 0.9):
      around = np.arange(length) - place * length
      shaped = np.exp(-((around / 2_000) ** 2)) * random.normal(0, 9e3, length)
      sounds.append(np.clip(shaped, -32768, 32767).astype(np.int16))
  for number, sound in enumerate(sounds):
    files.write(str(tmp_path / f"{number}.wav"), sound)
  node.run(HERE / "audio_run.mjs", tmp_path, len(sounds))
  for number, sound in enumerate(sounds):
    found = np.fromfile(tmp_path / f"{number}.bin", "<i2")
    np.testing.assert_array_equal(found, files.one_clip(sound, 16_000))


def test_the_page_forbids_scripts_but_its_own():
  text = (node.SAMPLE / "index.html").read_text()
  policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
  own = re.search(r'<script type="importmap">(.*?)</script>', text, re.S)[1]
  digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
  rules = dict(r.split(" ", 1) for r in policy.split("; "))
  assert rules["default-src"] == "'none'"
  assert rules["connect-src"] == "'self'"
  assert rules["script-src"].split() == [
    "'self'", "'wasm-unsafe-eval'", f"'sha256-{digest}'",
  ]  # fmt: skip


def test_files_are_short_and_name_no_other_host():
  for path in node.SAMPLE.glob("*"):
    if path.suffix in (".js", ".mjs", ".html", ".css", ".json"):
      text = path.read_text()
      assert len(text.splitlines()) < 350, path
      assert not re.search(r"https?://", text), path
