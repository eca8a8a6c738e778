"""The bar tells what runs, how far it is and how long it will take."""

from __future__ import annotations

import io

import pytest

import tflm_fg
from tests import models
from tflm_fg.callbacks import Callback, ProgbarLogger
from tflm_fg.callbacks.progress import Pace, in_words


class Parts(Callback):
  """Keeps what it is told of the plan and of phases."""

  def __init__(self):
    self.plans, self.begun, self.ended = [], [], []

  def on_plan(self, logs):
    self.plans.append([(p["candidate"], p["work"]) for p in logs["plan"]])

  def on_phase_begin(self, logs):
    self.begun.append((logs["candidate"], logs["work"]))

  def on_phase_end(self, logs):
    self.ended.append((logs["candidate"], logs["work"]))


def parts_of(**given):
  parts = Parts()
  x, y = models.separable(samples=20)
  tflm_fg.adapt(models.dense_model(), x, y, **given, callbacks=[parts])
  return parts


SPSA = tflm_fg.methods.SignSPSA(
  steps=4, validate_every=2, learning_rate_lsb=1.0
)


@pytest.mark.parametrize(
  "given",
  [
    {},
    {"labels": "none"},
    {"trainable": "head"},
    {"trainable": "bias,head"},
    {"trainable": "auto", "method": SPSA},
    {"trainable": "head", "method": SPSA},
  ],
  ids=str,
)
def test_what_runs_was_in_the_plan_and_the_plan_ends_with_the_scores(given):
  parts = parts_of(**given)
  planned = [part for plan in parts.plans for part in plan]
  assert set(parts.begun) <= set(planned)
  assert all(plan[-1] == ("before and after", "scores") for plan in parts.plans)
  assert parts.begun[-1] == ("before and after", "scores")
  assert sorted(parts.begun) == sorted(parts.ended)


def test_a_part_ends_also_where_it_fails():
  parts = Parts()
  x, y = models.separable(samples=32)

  class Fails(Callback):
    def on_train_begin(self, state, logs):
      raise RuntimeError("on purpose")

  with pytest.raises(RuntimeError, match="on purpose"):
    tflm_fg.adapt(
      models.dense_model(), x, y, trainable="head", method=SPSA,
      callbacks=[parts, Fails()],
    )  # fmt: skip
  assert parts.begun == parts.ended != []


def test_the_bar_is_never_wider_than_80_columns_and_names_what_runs(
  monkeypatch,
):
  monkeypatch.setenv("COLUMNS", "200")
  shown = io.StringIO()
  x, y = models.separable(samples=32)
  bar = ProgbarLogger("x" * 100, file=shown)
  tflm_fg.adapt(models.dense_model(), x, y, trainable="head", callbacks=[bar])
  lines = shown.getvalue().replace("\n", "\r").split("\r")
  assert max(map(len, lines)) <= 80
  assert any("head: closed-form" in line for line in lines)
  assert any("before and after: scores" in line for line in lines)
  assert any("100%" in line for line in lines)


def test_a_bar_that_is_no_terminal_is_silent(capsys):
  x, y = models.separable(samples=32)
  tflm_fg.adapt(
    models.dense_model(), x, y, trainable="head", callbacks=[ProgbarLogger()]
  )
  assert "scores" not in capsys.readouterr().err


def test_what_is_left_takes_as_long_as_the_same_took_before():
  pace = Pace()
  parts = [("a", "folds"), ("b", "spsa"), ("c", "folds"), ("d", "spsa")]
  pace.plan(parts)
  assert pace.seconds() is None  # nobody knows yet
  pace.begin(parts[0])
  pace.end("folds", 2.0)
  assert pace.seconds() == 3 * 2.0  # of spsa nothing is known but this
  pace.begin(parts[1])
  pace.end("spsa", 10.0)
  assert pace.seconds() == 2.0 + 10.0
  pace.begin(parts[3])  # c was left out
  assert pace.seconds() == 0


@pytest.mark.parametrize(
  ("seconds", "words"),
  [(0.2, "1 s"), (59, "59 s"), (61, "1 min"), (3700, "1 h 2 min")],
)
def test_seconds_are_said_as_people_do(seconds, words):
  assert in_words(seconds) == words
