"""Drive a page in headless Chromium, as a user does, through chromedriver."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest

from tests.browser import BROWSERS

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # as the standard names it

_SWITCHES = (
  "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
  "--disable-background-networking --disable-component-update --disable-sync "
  "--disable-dev-shm-usage --use-fake-ui-for-media-stream "
  "--use-fake-device-for-media-stream "
  "--autoplay-policy=no-user-gesture-required"
).split()

_PHONE = {"width": 390, "height": 844, "pixelRatio": 1, "touch": True}


class Page:
  """One browser with one page."""

  def __init__(self, address: str) -> None:
    self._address = address

  def _asked(self, method: str, path: str, body: Any = None) -> Any:
    data = None if method == "GET" else json.dumps(body or {}).encode()
    request = urllib.request.Request(
      self._address + path,
      data,
      {"Content-Type": "application/json"},
      method=method,
    )
    try:
      with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]
    except urllib.error.HTTPError as fault:
      said = json.load(fault)["value"]
      raise AssertionError(f"{path}: {said['message']}") from None

  def open(self, url: str) -> None:
    """Goes to an address and waits until it is loaded."""
    self._asked("POST", "/url", {"url": url})

  def run(self, script: str, *arguments: Any) -> Any:
    """Runs the body of a function in the page; what it returns."""
    body = {"script": script, "args": list(arguments)}
    return self._asked("POST", "/execute/sync", body)

  def _element(self, selector: str) -> str:
    body = {"using": "css selector", "value": selector}
    return str(self._asked("POST", "/element", body)[_ELEMENT])

  def click(self, selector: str) -> None:
    """Clicks, as with a finger: what lies over it is hit in its place."""
    self._asked("POST", f"/element/{self._element(selector)}/click")

  def choose_files(self, selector: str, paths: Sequence[pathlib.Path]) -> None:
    """Gives files to a field for files."""
    body = {"text": "\n".join(map(str, paths))}
    self._asked("POST", f"/element/{self._element(selector)}/value", body)

  def text(self, selector: str) -> str:
    """What stands in an element."""
    return str(self._asked("GET", f"/element/{self._element(selector)}/text"))

  def wait(self, script: str, seconds: float = 60) -> None:
    """Waits until an expression of the page is true."""
    end = time.monotonic() + seconds
    while not self.run(f"return Boolean({script})"):
      assert time.monotonic() < end, self.run("return document.body.innerText")
      time.sleep(0.1)

  def requests(self) -> list[dict[str, Any]]:
    """What web pages asked of the network since the last call."""
    entries = self._asked("POST", "/se/log", {"type": "performance"})
    messages = [json.loads(e["message"])["message"] for e in entries]
    return [
      m["params"]["request"]
      for m in messages
      if m["method"] == "Network.requestWillBeSent"
      and m["params"]["documentURL"].startswith("http")
    ]

  def faults(self) -> list[str]:
    """Errors of the page's console since the last call."""
    entries = self._asked("POST", "/se/log", {"type": "browser"})
    return [e["message"] for e in entries if e["level"] == "SEVERE"]


@contextlib.contextmanager
def page(folder: pathlib.Path, switches: Sequence[str] = ()) -> Iterator[Page]:
  """A browser that has opened nothing yet; skips where there is none.

  Args:
    folder: for its profile.
    switches: further ones of the browser.
  """
  browser = next(filter(None, map(shutil.which, BROWSERS)), None)
  driver = shutil.which("chromedriver")
  if browser is None or driver is None:
    pytest.skip("no Chromium with chromedriver on PATH")
  options = {
    "binary": browser,
    "mobileEmulation": {"deviceMetrics": _PHONE},
    "args": [*_SWITCHES, f"--user-data-dir={folder / 'profile'}", *switches],
  }
  wanted = {
    "browserName": "chrome",
    "goog:chromeOptions": options,
    "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
  }
  process = subprocess.Popen(
    [driver, "--port=0"], stdout=subprocess.PIPE, text=True
  )
  try:
    found = None
    while not found and (line := process.stdout.readline()):
      found = re.search(r"started successfully on port (\d+)", line)
    if found is None:
      pytest.skip("chromedriver did not start")
    root = f"http://127.0.0.1:{found[1]}/session"
    made = Page(root)._asked(
      "POST", "", {"capabilities": {"alwaysMatch": wanted}}
    )
    opened = Page(f"{root}/{made['sessionId']}")
    try:
      yield opened
    finally:
      opened._asked("DELETE", "")
  finally:
    process.terminate()
    process.wait(10)


class _Handler(http.server.SimpleHTTPRequestHandler):
  """Serves files in silence, with the types that browsers want."""

  extensions_map: ClassVar = {
    "": "application/octet-stream",
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
  }

  def log_message(self, *unused: object) -> None:
    del unused


@contextlib.contextmanager
def served(folder: pathlib.Path) -> Iterator[str]:
  """Serves a folder on this machine alone; the address, ending in a slash."""

  def handler(*arguments: Any) -> _Handler:
    return _Handler(*arguments, directory=str(folder))

  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield f"http://127.0.0.1:{server.server_port}/"
  finally:
    server.shutdown()
    thread.join()
    server.server_close()
