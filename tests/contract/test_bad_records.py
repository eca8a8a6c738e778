"""Marks and journals that were edited or cut off are refused."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import MARKED, MODEL, X, Y, adapt, refused
from tflm_fg import journal, replaying
from tflm_fg.placement.phase_record import write_masters
from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.model_file import ModelFile

# The mark.

TEXT = json.loads(MARKED[MARKED.index(b'{"version"') :].split(b"\0")[0])


def remarked(content: bytes | dict[str, Any]) -> bytes:
  if isinstance(content, dict):
    content = json.dumps(content).encode()
  return training_metadata.prepend_metadata(MODEL, "tflm_fg", content)


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
  assert tflm_fg.evaluate(broken, X, Y)["clips"] == len(X)


@pytest.mark.parametrize(
  ("changed", "words"),
  [
    ({"version": 2}, "mark version 2"),
    ({"trainable": TEXT["trainable"][:1] * 2}, "no tensor, or one twice"),
    ({"trainable": []}, "no tensor, or one twice"),
  ],
)
def test_a_whole_mark_that_says_too_much_is_refused_by_its_cause(
  changed, words
):
  refused(lambda: training_metadata.read_mark(remarked(TEXT | changed)), words)


def test_broken_mark_comes_off():
  assert tflm_fg.strip(remarked(b"{")) == MODEL
  assert tflm_fg.mark_trainable(remarked(b"{")).data == MARKED


# The journal.

RECORDED = adapt(
  **options(
    method="spsa", learning_rate_lsb=5.0, steps=6, validation_fraction=0.0
  )
)
LINES = RECORDED.journal.to_bytes().decode().splitlines()
EXACT = adapt(**options(method="closed-form", steps=3, momentum=0.5))
EXACT_LINES = EXACT.journal.to_bytes().decode().splitlines()


def replayed(lines: list[str], model: bytes = RECORDED.start) -> bytes:
  content = "\n".join(lines).encode("utf-8", "surrogateescape")
  return tflm_fg.replay(journal.parse(content, "j.jsonl"), model, "m.tflite")


def _head(lines: list[str] = LINES, **changes: Any) -> list[str]:
  return [json.dumps({**json.loads(lines[0]), **changes}), *lines[1:]]


def _phase(lines: list[str] = LINES, **changes: Any) -> list[str]:
  (phase,) = json.loads(lines[0])["phases"]
  return _head(lines, phases=[{**phase, **changes}])


def _without(key: str) -> list[str]:
  (phase,) = json.loads(LINES[0])["phases"]
  return _head(phases=[{k: v for k, v in phase.items() if k != key}])


def _settings(**changes: Any) -> list[str]:
  (phase,) = json.loads(LINES[0])["phases"]
  return _phase(settings={**phase["settings"], **changes})


def _line(number: int, text: str) -> list[str]:
  lines = list(LINES)
  lines[number] = text
  return lines


def test_replay_gives_the_same_bytes():
  assert replayed(LINES) == RECORDED.marked_model
  assert RECORDED.marked_model != RECORDED.start
  assert replayed(EXACT_LINES, EXACT.start) == EXACT.marked_model
  assert EXACT.marked_model != EXACT.start


def test_a_journal_from_before_newer_settings_replays_with_their_defaults():
  known = {
    "method", "labels", "directions", "num_directions", "epsilon_lsb",
    "learning_rate_lsb", "decay", "momentum", "steps", "batch_size", "seed",
    "validation_fraction", "validate_every", "patience", "anchor",
  }  # fmt: skip
  own = PHASE["settings"]
  assert known < set(own)
  old = _phase(settings={k: v for k, v in own.items() if k in known})
  assert replayed(old) == RECORDED.marked_model


(PHASE,) = json.loads(LINES[0])["phases"]
KERNEL, BIAS = PHASE["tensors"]
(CENTRE,) = (p["centre"] for p in json.loads(EXACT_LINES[0])["phases"])

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
  "a step missing, the tail amended": [*LINES[:2], *LINES[3:-1], '{"steps":5}'],
  "a step twice": [*LINES[:2], *LINES[1:]],
  "steps swapped": [LINES[0], LINES[2], LINES[1], *LINES[3:]],
  "the version before": _head(tflm_fg_journal=1),
  "a later version": _head(tflm_fg_journal=4),
  "model not a string": _head(model_sha256=3),
  "model null": _head(model_sha256=None),
  "no phases": _head(phases=[]),
  **{f"phases {v}": _head(phases=v) for v in (None, 5, "x", [None], [5], [[]])},
  **{f"no {key}": _without(key) for key in PHASE},
  "settings null": _phase(settings=None),
  "settings a list": _phase(settings=[]),
  **{f"batch_size {v}": _phase(batch_size=v) for v in (0, -1, "x", None, 1e30)},
  **{
    f"settings {c}": _settings(**c)
    for c in (
      {"method": "zz"}, {"method": None}, {"method": ["spsa"]},
      {"method": "auto"}, {"labels": "some"}, {"labels": 1},
      {"directions": 3}, {"num_directions": 0}, {"num_directions": 1.0},
      {"epsilon_lsb": None}, {"epsilon_lsb": "2"}, {"epsilon_lsb": 1e400},
      {"learning_rate_lsb": "x"}, {"decay": 5}, {"momentum": "much"},
      {"momentum": [1]}, {"steps": 2.5}, {"steps": None}, {"seed": 1.5},
      {"seed": "a"}, {"seed": True}, {"bogus": 1}, {"steps": 5},
      {"guidance": 0.5}, {"kernel_wise": 1}, {"sparsity": 1}, {"blocks": 0},
      {"sparse_by": "size"}, {"optimizer": "adam"}, {"rounding": True},
      {"precision": "8w"}, {"rho_lsb": None}, {"decay": "steps"},
    )
  },
  **{
    f"slopes {s}": _line(1, f'{{"phase":0,"step":0,"slopes":{s}}}')
    for s in (
      "[1e400]", "[NaN]", f"[{2**63 - 1}]", f"[{2**70}]", '["1"]', "[]",
      "5", "null", "[null]", "[1.5]", "[true]", str([1] * 1025),
    )
  },
  **{
    f"a row of phase {p}": _line(1, f'{{"phase":{p},"step":0,"slopes":[1]}}')
    for p in ("1", "-1", "null", '"0"', "[0]")
  },
  "a row without a phase": _line(1, '{"step":0,"slopes":[1]}'),
  "a row that is a list": _line(1, "[0,0,[1]]"),
  "a deep nest": _line(1, "[" * 100_000),
  **{
    f"kept_step {k}": _phase(kept_step=k)
    for k in (-1, 7, float("inf"), "a", None, True, 1.5)
  },
  **{
    f"tail {t}": _line(-1, t)
    for t in ("{}", '{"steps":7}', '{"steps":6,"more":1}', "[6]", "6", "null")
  },
  **{
    f"tensors {t}": _phase(tensors=t)
    for t in (
      [], None, 5, "ab", ["a"], [None], [1.0], [True], [10**6], [-1], [2**70],
      [KERNEL, 10**6], [0], [[KERNEL, BIAS]],
    )
  },
  **{
    f"a centre {c} without a head": _phase(centre=c)
    for c in ([1], [1, 2, 3], [0] * len(CENTRE) * 2)
  },
}  # fmt: skip


@pytest.mark.parametrize("slope", [2**31 + 1, -(2**31) - 1, 1.0, True])
def test_a_slope_is_an_integer_of_32_bits(slope):
  row = json.dumps({"phase": 0, "step": 0, "slopes": [slope]})
  content = "\n".join(_line(1, row)).encode()
  refused(lambda: journal.parse(content), "not an integer of 32 bits")


PYTHONS_WORDS = re.compile(
  "unpack|subscript|indices|iterable|NoneType|attribute|hashable|keyword|"
  "Expecting|recursion|decode|char 0|__|[Kk]ey ?[Ee]rror|'int'|'str'|'list'"
)


@pytest.mark.parametrize("kind", list(BAD_JOURNALS))
def test_broken_journal_is_refused_by_name_in_plain_words(kind):
  message = refused(lambda: replayed(BAD_JOURNALS[kind]), "j")
  assert not PYTHONS_WORDS.search(message)
  assert not re.search(r"\('\w+'\)$", message)  # a missing key, bare


@pytest.mark.parametrize(
  ("lines", "cause"),
  [
    ([], "it is empty"),
    (LINES[:1], "all but line 1 is gone"),
    ([*LINES[:3], LINES[3][:9]], "line 4 is not JSON"),
    (LINES[:-1], "the last line has no 'adapted_sha256'"),
    (_head(phases=5), "line 1: 'phases' is not a list"),
    (_head(phases=[[]]), "phase 0 is not a JSON object"),
    (_head(model_sha256=None), "line 1: 'model_sha256' is not a text"),
    (_without("centre"), "phase 0 has no 'centre'"),
    (_settings(bogus=1), "phase 0: there is no setting 'bogus'"),
    (_settings(method=["spsa"]), "phase 0: 'method' is not a text"),
    (_line(2, "[]"), "line 3 is not a JSON object"),
    (_line(2, '{"phase":0,"step":1}'), "line 3 has no 'slopes'"),
    (_head(grown=5), "'grown' is not a JSON object"),
    (_phase(drawn_as=5), "phase 0: 'drawn_as' is not a list"),
    (_phase(drawn_as=[-1, 3]), "a random number drawn for no tensor"),
    (_phase(drawn_as=[3]), "a tensor without the index it was drawn for"),
  ],
)
def test_a_broken_journal_is_told_where_it_is_broken(lines, cause):
  refused(lambda: replayed(lines), f"j.jsonl: not a whole journal ({cause})")


@pytest.mark.parametrize(
  "same", [MODEL, tflm_fg.mark_trainable(MODEL, "bias").data, RECORDED.start]
)
def test_a_journal_replays_on_its_model_marked_or_plain(same):
  assert replayed(LINES, same) == RECORDED.marked_model


@pytest.mark.parametrize(
  "other", [models.dense_model(seed=1), RECORDED.marked_model]
)
def test_journal_of_another_model_is_refused(other):
  cure = (
    "not the file this journal was recorded on; give the --model that was "
    "adapted"
  )
  refused(lambda: replayed(LINES, other), "m.tflite", cure)


# Of a closed form: one slope a number, and a centre as long as the input.

BAD_EXACT: dict[str, list[str]] = {
  **{
    f"centre {name}": _phase(EXACT_LINES, centre=c)
    for name, c in {
      "null": None, "5": 5, "text": ["a"], "floats": [0.5] * len(CENTRE),
      "bools": [True] * len(CENTRE), "too large": [1 << 20] * len(CENTRE),
      "one": [1], "too short": CENTRE[:-1], "too long": [*CENTRE, 0],
      "half": CENTRE[: len(CENTRE) // 2], "twice": CENTRE * 2,
      "nested": [CENTRE],
    }.items()
  },
  **{
    f"a phase by {method}": _phase(
      EXACT_LINES,
      centre=[],
      settings={**json.loads(EXACT_LINES[0])["phases"][0]["settings"],
                "method": method},
    )
    for method in ("statistics",)
  },
  "the kernel alone": _phase(EXACT_LINES, tensors=[KERNEL]),
  "the bias alone": _phase(EXACT_LINES, tensors=[BIAS]),
  "a slope too few": [
    *EXACT_LINES[:1],
    json.dumps({"phase": 0, "step": 0, "slopes": [1] * 67}),
    *EXACT_LINES[2:],
  ],
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BAD_EXACT))
def test_broken_journal_of_a_head_is_refused_by_name(kind):
  refused(lambda: replayed(BAD_EXACT[kind], EXACT.start))


def test_a_journal_of_no_phase_replays_to_the_marked_file():
  """What auto writes where nothing helped."""
  tail = {"steps": 0, "adapted_sha256": journal.sha256(RECORDED.start)}
  lines = [_head(phases=[])[0], json.dumps(tail)]
  assert replayed(lines) == RECORDED.start


def test_rows_of_different_length_replay_where_directions_grow():
  rows = [json.loads(line) for line in LINES[1:-1]]
  rows[-1]["slopes"] = [65536, -65536]
  lines = [LINES[0], *map(json.dumps, rows), LINES[-1]]
  start = ModelFile.open(RECORDED.start)
  mark = training_metadata.read_mark(start)
  masters = replaying._replay_phases(
    journal.parse("\n".join(lines).encode()).records, start, mark
  )
  written = write_masters(start, mark, masters).data
  assert written not in (RECORDED.start, RECORDED.marked_model)


@pytest.mark.parametrize("change", [{"seed": 99}, {"decay": "constant"}])
def test_a_journal_that_makes_another_file_than_it_made_then_is_refused(change):
  head = json.loads(LINES[0])
  head["phases"][0]["settings"].update(change)
  refused(
    lambda: replayed([json.dumps(head), *LINES[1:]]),
    "the journal makes another file",
  )


# How the file grew: needed where the file is given plain.

DEEP = models.deep_model()
WIDE = tflm_fg.adapt(
  DEEP,
  X,
  Y,
  trainable="wide-head",
  **options(steps=3, validation_fraction=0.0),
)
WIDE_LINES = WIDE.journal.to_bytes().decode().splitlines()
GROWN = json.loads(WIDE_LINES[0])["grown"]
(POOLED,) = GROWN["pooled"]


def _plan(**changes: Any) -> list[str]:
  return _head(WIDE_LINES, grown={**GROWN, **changes})


def _pooled(**changes: Any) -> list[str]:
  return _plan(pooled=[{**POOLED, **changes}])


ODD: tuple[Any, ...] = (
  None, "a", 5, -1, {}, [], [None], ["a"], [[1]], [0.5], float("nan"),
  float("inf"), [float("nan")] * 16, [1e400] * 16, [2**70] * 16, [-1] * 16,
  [1] * 15, [1] * 17, True,
)  # fmt: skip

BAD_GROWN: dict[str, list[str]] = {
  **{f"grown {v}": _head(WIDE_LINES, grown=v) for v in (5, "x", [], {}, True)},
  "not grown": _head(WIDE_LINES, grown=None),
  **{f"no {key}": _head(
    WIDE_LINES, grown={k: v for k, v in GROWN.items() if k != key}
  ) for key in GROWN if key != "weights"},
  **{f"weights {v}": _plan(weights=v) for v in ("int16", "x", None, 5, [])},
  **{
    f"trainable {v}": _plan(trainable=v)
    for v in ("", "zzz", "(", "head", None, 5, [], "prompt,wide-head", ["head"])
  },
  **{f"layers {v}": _plan(layers=v) for v in ("(", "zzz", None, 5, [])},
  **{f"pooled {v}": _plan(pooled=v) for v in (None, 5, "a", [], [5], [[]])},
  "pooled twice": _plan(pooled=[POOLED] * 2),
  **{f"{key} {v}": _pooled(**{key: v}) for key in POOLED for v in ODD},
}  # fmt: skip


def test_a_journal_lets_a_plain_file_grow_again():
  assert replayed(WIDE_LINES, DEEP) == WIDE.marked_model
  older = {k: v for k, v in GROWN.items() if k != "weights"}
  assert replayed(_head(WIDE_LINES, grown=older), DEEP) == WIDE.marked_model


@pytest.mark.parametrize("kind", list(BAD_GROWN))
def test_a_journal_whose_file_grew_otherwise_is_refused(kind):
  refused(lambda: replayed(BAD_GROWN[kind], DEEP))


# Of node perturbation: slopes of whole layers.

NODE = adapt(trainable="head", **options(method="node", steps=3))
NODE_LINES = NODE.journal.to_bytes().decode().splitlines()
WIDTH = len(json.loads(NODE_LINES[1])["slopes"])


@pytest.mark.parametrize("length", [0, 1, WIDTH - 1, WIDTH + 1, 1025 * WIDTH])
def test_a_row_that_is_no_whole_layer_is_refused(length):
  row = {"phase": 0, "step": 0, "slopes": [1] * length}
  lines = [NODE_LINES[0], json.dumps(row), *NODE_LINES[2:]]
  refused(lambda: replayed(lines, NODE.start))


def test_a_layer_without_its_bias_is_refused():
  lines = _phase(NODE_LINES, tensors=[KERNEL])
  refused(lambda: replayed(lines, NODE.start))
