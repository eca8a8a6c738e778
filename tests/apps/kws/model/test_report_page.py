"""The report is one page that a browser shows whole, and its numbers agree."""

import dataclasses
import functools
import hashlib
import html
import json
import pathlib
import re

import pytest

from apps.kws.features import examples
from apps.kws.model import adaptation, report_page
from apps.kws.model.spotter import load
from tests import browser
from tests.apps.kws import corpora

pytest.importorskip("espeakng_loader", reason="needs the extra kws")


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


def test_the_report_is_one_page_and_its_numbers(tmp_path):
  result = _outcome()
  for path, content in report_page.contents(str(tmp_path), result).items():
    pathlib.Path(path).write_bytes(content)
  assert {p.name for p in tmp_path.iterdir()} == {"index.html", "report.json"}
  page = (tmp_path / "index.html").read_text()
  assert not re.search(r"(src|href)=", page)
  assert "<script>" not in page
  report = json.loads((tmp_path / "report.json").read_bytes())
  written = hashlib.sha256(result.spotter.model).hexdigest()
  assert report["out_sha256"] == written and written in page
  before, after = result.scores["test"]
  assert report["scores"]["test"]["after"]["accuracy"] == after.accuracy
  assert f"{100 * after.accuracy:.1f} %" in page
  assert sum(map(sum, report["scores"]["test"]["before"]["confusion"])) == (
    before.clips
  )
  assert str(report["forward_passes"]) in page


def test_a_browser_shows_it_whole_on_a_phone(tmp_path):
  page = report_page.spotter_page(_outcome())
  (look,) = browser.looked_at(tmp_path, [(page, 390)])
  assert look["needed"] <= look["width"], look
  assert look["outside"] == 0, look
  assert look["tracks"] > 5, look
  assert look["scripts"] == look["loaded"] == 0, look


def test_a_word_with_dollars_is_written_as_it_is():
  result = _outcome()
  words = ("us$ca$h", "a$\\frac$b", "<b>&")
  spotter = result.job.spotter
  spotter = dataclasses.replace(
    spotter, classes=(*words, *spotter.classes[len(words) :])
  )
  job = dataclasses.replace(result.job, spotter=spotter)
  page = report_page.spotter_page(dataclasses.replace(result, job=job))
  for word in words:
    assert html.escape(word) in page
