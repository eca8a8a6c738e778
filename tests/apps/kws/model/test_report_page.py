"""The report is one page that a browser shows whole, and its numbers agree."""

import dataclasses
import functools
import json
import re
import shutil
import subprocess

import pytest

from apps.kws.features import examples
from apps.kws.model import adaptation, report_page
from apps.kws.model.spotter import load
from tests.apps.kws import corpora

pytest.importorskip("espeakng_loader", reason="needs the extra kws")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@functools.cache
def _outcome() -> adaptation.SpotterResult:
  spotter = load(None)
  found = examples.read(
    str(corpora.speech()), spotter.frontend, spotter.classes, progress=False
  )
  train, test = found.parted(0.4, 0)
  job = adaptation.Job(
    spotter=spotter,
    train=train,
    test=test,
    method=adaptation.method_of(None, steps=20),
    trainable="head",
  )
  result = adaptation.adapt(job)
  result.report["notes"].append("<script>alert(1)</script> & more")
  return result


def test_the_report_is_one_page_its_pictures_and_its_numbers(tmp_path):
  result = _outcome()
  report_page.write(str(tmp_path), result)
  assert {p.name for p in tmp_path.iterdir()} == {
    "index.html",
    "report.json",
    "curves.png",
    "confusion.png",
    "words.png",
  }
  page = (tmp_path / "index.html").read_text()
  assert not re.search(r'(src|href)="(?!data:)', page)
  assert "<script>" not in page
  report = json.loads((tmp_path / "report.json").read_bytes())
  before, after = result.scores["test"]
  assert report["scores"]["test"]["after"]["accuracy"] == after.accuracy
  assert f"{100 * after.accuracy:.1f} %" in page
  assert sum(map(sum, report["scores"]["test"]["before"]["confusion"])) == (
    before.clips
  )
  assert str(report["forward_passes"]) in page


def test_a_headless_browser_shows_every_picture(tmp_path):
  browser = next(filter(None, map(shutil.which, BROWSERS)), None)
  if browser is None:
    pytest.skip("no Chromium on PATH")
  report_page.write(str(tmp_path), _outcome())
  alone = tmp_path / "alone" / "page.html"  # without its PNGs beside it
  alone.parent.mkdir()
  page = (tmp_path / "index.html").read_text()
  look = """<script>addEventListener("load", () => {
    const shown = [...document.images].filter(i => i.naturalWidth > 200);
    const cells = document.querySelectorAll("td").length;
    document.title = "shown " + shown.length + " cells " + cells;
  })</script>"""
  alone.write_text(page.replace("</html>", look + "</html>"))
  done = subprocess.run(
    [
      browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
      f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000",
      alone.as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )  # fmt: skip
  found = re.search(r"<title>shown (\d+) cells (\d+)", done.stdout)
  assert found, done.stderr[-500:]
  assert found.group(1) == "3"
  assert int(found.group(2)) > 50


def test_a_word_with_dollars_is_drawn(tmp_path):
  result = _outcome()
  words = ("us$ca$h", "a$\\frac$b", "$$")
  spotter = result.job.spotter
  spotter = dataclasses.replace(
    spotter, classes=(*words, *spotter.classes[len(words) :])
  )
  job = dataclasses.replace(result.job, spotter=spotter)
  named = dataclasses.replace(result, job=job)
  report_page.write(str(tmp_path), named)
  assert (tmp_path / "confusion.png").exists()
