"""The page learns words, keeps what it learned, and sends nothing away."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

from tests import node, webdriver

WORDS = ("lamp", "kitchen", "yes", "no")
LEARNED, TESTED = 8, 4

pytest.importorskip("pymicro_features")
pytest.importorskip("espeakng_loader")


def recordings(folder: pathlib.Path, split: str, clips: int):
  """WAV files of words that are new and words that are known, by a child."""
  from tests.apps.kws.corpora import speech

  root = speech(WORDS, clips, "child", split)
  found = []
  for word in WORDS:
    for number, path in enumerate(sorted((root / word).glob("*.wav"))):
      copy = folder / f"{word}_{split}_{number}.wav"
      copy.write_bytes(path.read_bytes())
      found.append(copy)
  return found


def chosen(page, role, paths):
  """Gives files to the page, which reads the words from their names."""
  page.run(
    "const s = document.getElementById('role'); s.value = arguments[0];", role
  )
  page.choose_files("#files", paths)
  ready(page)
  assert page.text("#state") == f"{len(paths)} samples added."


def ready(page):
  page.wait("document.body.dataset.busy === 'no'")


def clicked(page, selector):
  page.click(selector)
  ready(page)
  return page.text("#state")


def share(text):
  """How many of how many."""
  right, everything = re.search(r"\((\d+) of (\d+)\)", text).groups()
  return int(right) / int(everything)


def checksum(text):
  return re.search(r"checksum ([0-9a-f]{8})", text)[1]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  """One browser for all tests here: each has a server, so a place, of its own.

  Starting one takes longer than what is tested.
  """
  with webdriver.page(tmp_path_factory.mktemp("browser")) as opened:
    yield opened


def site(folder):
  from apps.samples.web import prepare

  made = node.site(folder)
  (made / "model").mkdir()
  for name, content in prepare.made(None, 2, clips=4).items():
    (made / "model" / name).write_bytes(content)
  return made


def test_the_page_learns_and_keeps_and_sends_nothing(page, tmp_path):
  """The steps of a user, one after the other."""
  folder = site(tmp_path)
  train = recordings(tmp_path, "adapt", LEARNED)
  test = recordings(tmp_path, "test", TESTED)
  with webdriver.served(folder) as url:
    page.requests()
    page.open(url)
    ready(page)
    assert "has learned nothing here yet" in page.text("#state")
    assert page.run("return document.documentElement.scrollWidth") <= 390
    loaded = page.requests()
    assert all(r["url"].startswith(url) for r in loaded)
    assert any(r["url"].endswith("spotter.tflite") for r in loaded)

    names_new_words(page)
    chosen(page, "learn", train)
    chosen(page, "test", test)
    assert "Learned from 32 samples" in clicked(page, "#learn")
    before, after = share(page.text("#before")), share(page.text("#after"))
    assert before <= 0.5 < 0.7 < after

    assert "One more sample" in recorded(page)
    kept = checksum(clicked(page, "#save"))
    assert page.requests() == []  # nothing since it was loaded

    page.open(url)
    ready(page)
    assert "knows what you taught it before" in page.text("#state")
    assert checksum(page.text("#state")) == kept
    chosen(page, "test", test)
    assert right_at_first(page) == after * len(test)

    assert "as it came" in clicked(page, "#forget")
    page.open(url)
    ready(page)
    assert "has learned nothing here yet" in page.text("#state")
    assert all(
      r["method"] == "GET" and not r.get("hasPostData") for r in page.requests()
    )
    assert not [f for f in page.faults() if "Content Security Policy" in f]


def names_new_words(page):
  page.run(
    "document.querySelectorAll('#new-words input').forEach((field, number) => {"
    "field.value = arguments[0][number];"
    "field.dispatchEvent(new Event('change'));});"
    "",
    WORDS[:2],
  )


def recorded(page):
  """Records the tone of the browser's own microphone for tests."""
  page.run("document.getElementById('word').value = '9'")
  said = clicked(page, "#record")
  page.run("document.getElementById('word').value = ''")
  return said


def right_at_first(page):
  cells = page.run(
    "return [...document.querySelectorAll('#samples tr')]"
    ".map(row => Number(row.children[3].textContent))"
  )
  return sum(cells)


def test_what_is_wrong_is_said_in_the_page(page, tmp_path):
  """No model, then a file that is no sound."""
  folder = node.site(tmp_path)
  with webdriver.served(folder) as url:
    page.open(url)
    page.wait("document.querySelector('#state.fault')")
    assert "spotter.json: 404" in page.text("#state")
    assert "prepare.py" in page.text("#state")
    (folder / "model").mkdir()
    (folder / "model/spotter.json").write_text(
      json.dumps({"classes": ["a"], "new": [], "steps": 1, "rate": 0.1})
    )
    (folder / "model/spotter.tflite").write_bytes(b"no model")
    page.open(url)
    page.wait("document.querySelector('#state.fault')")
    assert page.text("#state").startswith("That did not work: ")
    assert page.run("return document.getElementById('learn').disabled")
