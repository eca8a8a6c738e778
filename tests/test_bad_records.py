"""Marks and journals that were edited or cut off are refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

import tflm_fg
from tests.refusals import MARKED, MODEL, X, Y, adapt, refused
from tflm_fg import flatbuffer, journal

# The mark.

TEXT = json.loads(MARKED[MARKED.index(b'{"version"') :].split(b"\0")[0])


def remarked(content: bytes | dict[str, Any]) -> bytes:
  if isinstance(content, dict):
    content = json.dumps(content).encode()
  return flatbuffer.prepend_metadata(MODEL, "tflm_fg", content)


def _bad_marks() -> dict[str, bytes | dict[str, Any]]:
  bad: dict[str, bytes | dict[str, Any]] = {
    repr(text): text
    for text in (
      b"", b"{", b"[]", b"5", b'"x"', b"null", b"\xff\xfe", b"{}",
      b'{"version":1}', b'{"version":2}', b'{"version":1e999}',
    )
  }  # fmt: skip
  bad["a deep nest"] = b"[" * 100_000
  bad["no tensors"] = {**TEXT, "trainable": []}
  bad["no list of tensors"] = {**TEXT, "trainable": None}
  bad["a tensor twice"] = {**TEXT, "trainable": TEXT["trainable"][:1] * 2}
  wrong = (None, "a", -1, 10**6, 1.5, True, [1], 2**70, float("nan"))
  for key in ("logits", "head_input"):
    bad |= {f"{key}={v}": {**TEXT, key: v} for v in wrong}
  bad["logits a kernel"] = {**TEXT, "logits": 4}
  for key in ("index", "operator", "subgraph", "role", "name"):
    for value in (*wrong, "bias", "x", {}):
      changed = copy.deepcopy(TEXT)
      changed["trainable"][0][key] = value
      bad[f"{key}={value}"] = changed
  return bad


BAD_MARKS = _bad_marks()


@pytest.mark.parametrize("kind", list(BAD_MARKS))
def test_broken_mark_is_refused(kind):
  broken = remarked(BAD_MARKS[kind])
  refused(lambda: adapt(broken))
  # Nothing is trained, so the mark is not read: the file scores as before.
  assert tflm_fg.evaluate_model(broken, X, Y)["clips"] == len(X)


def test_broken_mark_comes_off():
  assert tflm_fg.strip(remarked(b"{")) == MODEL
  assert tflm_fg.mark(remarked(b"{")).data == MARKED


# The journal.

RECORDED = adapt(settings=tflm_fg.Settings(steps=6, validation_fraction=0.0))
LINES = RECORDED.journal.to_bytes().decode().splitlines()


def replayed(lines: list[str], model: bytes = RECORDED.marked) -> bytes:
  content = "\n".join(lines).encode("utf-8", "surrogateescape")
  return tflm_fg.replay(journal.parse(content, "j.jsonl"), model, "m.tflite")


def _head(**changes: Any) -> list[str]:
  return [json.dumps({**json.loads(LINES[0]), **changes}), *LINES[1:]]


def _settings(**changes: Any) -> list[str]:
  return _head(settings={**json.loads(LINES[0])["settings"], **changes})


def _line(number: int, text: str) -> list[str]:
  lines = list(LINES)
  lines[number] = text
  return lines


def test_replay_gives_the_same_bytes():
  assert replayed(LINES) == RECORDED.model
  assert RECORDED.model != RECORDED.marked


BAD_JOURNALS: dict[str, list[str]] = {
  "empty": [],
  "one line": LINES[:1],
  "text": ["hello", "world"],
  "numbers": ["1", "2"],
  "lists": ["[]", "[]"],
  "objects": ["{}", "{}"],
  "not UTF-8": ["\udcff\udcfe", *LINES],
  "cut off": LINES[:-1],
  "cut in the middle": [*LINES[:3], LINES[3][:9]],
  "a step missing": [*LINES[:2], *LINES[3:]],
  "a step twice": [*LINES[:2], *LINES[1:]],
  "steps swapped": [LINES[0], LINES[2], LINES[1], *LINES[3:]],
  "another version": _head(tflm_fg_journal=2),
  "model not a string": _head(model_sha256=3),
  "model null": _head(model_sha256=None),
  "settings null": _head(settings=None),
  "settings a list": _head(settings=[]),
  **{f"batch_size {v}": _head(batch_size=v) for v in (0, -1, "x", None, 1e30)},
  **{
    f"settings {c}": _settings(**c)
    for c in (
      {"method": "zz"}, {"method": None}, {"method": ["spsa"]},
      {"directions": 3}, {"num_directions": 0}, {"num_directions": 1.0},
      {"epsilon_lsb": None}, {"epsilon_lsb": "2"}, {"epsilon_lsb": 1e400},
      {"learning_rate_lsb": "x"}, {"decay": 5}, {"momentum": "much"},
      {"momentum": [1]}, {"steps": 2.5}, {"steps": None}, {"seed": 1.5},
      {"seed": "a"}, {"seed": True}, {"bogus": 1},
    )
  },
  **{
    f"slopes {s}": _line(1, f'{{"step":0,"slopes":{s}}}')
    for s in (
      "[1e400]", "[NaN]", f"[{2**63 - 1}]", f"[{2**70}]", '["1"]', "[1,2]",
      "5", "null", "[null]", "[1.5]", "[true]",
    )
  },
  "a deep nest": _line(1, "[" * 100_000),
  **{
    f"kept_step {k}": _line(-1, f'{{"kept_step":{k}}}')
    for k in ("-1", "7", "1e400", '"a"', "null", "true", "1.5")
  },
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BAD_JOURNALS))
def test_broken_journal_is_refused_by_name(kind):
  refused(lambda: replayed(BAD_JOURNALS[kind]), "j")


@pytest.mark.parametrize(
  "other", [MODEL, tflm_fg.mark(MODEL, "bias").data, RECORDED.model]
)
def test_journal_of_another_model_is_refused(other):
  refused(lambda: replayed(LINES, other), "m.tflite", "journal")
