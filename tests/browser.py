"""Look at pages in a headless browser, as narrow as a phone."""

from __future__ import annotations

import html
import json
import pathlib
import re
import shutil
import subprocess
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

_SWITCHES = (
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
  "--disable-background-networking --disable-component-update --disable-sync "
  "--virtual-time-budget=3000 --dump-dom"
).split()

_LOOK = """
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const all = [...page.body.querySelectorAll("*")];
    const free = all.filter(e => !e.closest(".scroll"));
    const letters = e => {
      const svg = e.closest("svg");
      const scale = svg ?
        svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
      const style = frame.contentWindow.getComputedStyle(e);
      return scale * parseFloat(style.fontSize);
    };
    return {
      title: page.title,
      width: frame.clientWidth,
      needed: root.scrollWidth,
      outside: free.filter(e =>
        e.getBoundingClientRect().right > frame.clientWidth + 1).length,
      smallest: Math.min(...all.map(letters)),
      tracks: all.filter(e => e.matches(".track") &&
        e.getBoundingClientRect().width > 100).length,
      graphs: page.querySelectorAll("svg").length,
      scripts: page.querySelectorAll("script").length,
      loaded: frame.contentWindow.performance
        .getEntriesByType("resource").length,
    };
  });
  document.body.innerHTML = "<pre>" + JSON.stringify(found) + "</pre>";
});
"""


def looked_at(
  folder: pathlib.Path, pages: list[tuple[str, int]]
) -> list[dict[str, Any]]:
  """What a browser makes of pages; skips where there is no browser.

  Args:
    folder: for its profile and for the page around them.
    pages: HTML, and the width in pixels that it is shown in.

  Returns:
    For each its title, the width given and the width that it needs, how many
    elements stand outside, the size of the smallest letters, and counts.
  """
  browser = next(filter(None, map(shutil.which, BROWSERS)), None)
  if browser is None:
    pytest.skip("no Chromium on PATH")
  frames = "".join(
    f'<iframe style="width:{width}px;height:900px;border:0" '
    f'srcdoc="{html.escape(page)}"></iframe>'
    for page, width in pages
  )
  around = folder / "around.html"
  around.write_text(
    f"<!DOCTYPE html><meta charset=utf-8><body>{frames}"
    f"<script>{_LOOK}</script></body>",
    encoding="utf-8",
  )
  done = subprocess.run(
    [
      browser, *_SWITCHES, f"--user-data-dir={folder / 'profile'}",
      "--window-size=1600,1000", around.as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )  # fmt: skip
  found = re.search(r"<pre>(\[.*\])</pre>", done.stdout, re.S)
  assert found, done.stderr[-500:]
  return json.loads(html.unescape(found.group(1)))
