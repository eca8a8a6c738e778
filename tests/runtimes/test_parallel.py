"""What is taken depends on clear differences; no test claims a speed."""

import types

import numpy as np
import pytest

import tflm_fg
from tests import models
from tflm_fg.placement.split_model import Graph
from tflm_fg.runtimes import parallel, registry
from tflm_fg.runtimes.registry import RuntimeOptions, installed, open_session
from tflm_fg.types import TflmFgError

MODEL = models.conv_model()
X = np.random.default_rng(0).normal(0, 1.5, (40, 6, 5, 2)).astype("f4")
Y = np.arange(40) % 3


class Stand:
  """A session that only has traits."""

  def __init__(self, strategy="in-place", parallel=True):
    self.traits = types.SimpleNamespace(
      in_place=strategy == "in-place", parallel=parallel
    )


def choose(monkeypatch, seconds, **options):
  """Chooses where a run of (strategy, sessions, passes) takes so long."""

  def of_a_pass(sessions, inputs, passes):
    strategy = "in-place" if sessions[0].traits.in_place else "rebuild"
    return seconds[strategy, len(sessions), passes]

  monkeypatch.setattr(parallel, "_of_a_pass", of_a_pass)
  monkeypatch.setattr(parallel, "_cores", lambda: 4)
  given = {"may_rebuild": False, "passes": 2, "workers": 1, **options}
  session = given.pop("session", Stand())
  return parallel.choose(session, Stand, (), **given)


@pytest.mark.parametrize(
  ("rebuilt", "taken"),
  [(1e-3, "rebuild"), (1.9e-3, "rebuild"), (2.1e-3, "in-place")],
)
def test_rebuild_is_taken_only_where_it_is_clearly_faster(
  monkeypatch, rebuilt, taken
):
  seconds = {("in-place", 1, 1): 3e-3, ("rebuild", 1, 1): rebuilt}
  choice = choose(monkeypatch, seconds, may_rebuild=True)
  assert choice.strategy == taken
  assert choice.seconds == {"in-place": 3e-3, "rebuild": rebuilt}


def test_a_short_pass_is_not_timed_against_a_new_interpreter(monkeypatch):
  choice = choose(monkeypatch, {("in-place", 1, 1): 1e-5}, may_rebuild=True)
  assert choice == ("in-place", {"in-place": 1e-5}, 1)


def test_a_model_that_cannot_be_rebuilt_stays_in_place(monkeypatch):
  def refuse(strategy):
    if strategy == "rebuild":
      raise TflmFgError("refused")
    return Stand(strategy)

  monkeypatch.setattr(parallel, "_of_a_pass", lambda *_: 1.0)
  choice = parallel.choose(
    Stand(), refuse, (), may_rebuild=True, passes=2, workers=1
  )
  assert choice == ("in-place", {"in-place": 1.0}, 1)


@pytest.mark.parametrize(
  ("alone", "together", "taken"),
  [(4e-3, 2e-3, 4), (4e-3, 3.9e-3, 1), (1e-4, 1e-5, 1)],
)
def test_threads_are_taken_where_they_pay(monkeypatch, alone, together, taken):
  seconds = {("in-place", 1, 2): alone, ("in-place", 2, 2): together}
  choice = choose(monkeypatch, seconds, passes=8, workers=None)
  assert choice.workers == taken


def test_workers_are_obeyed_up_to_the_passes_of_a_step(monkeypatch):
  assert choose(monkeypatch, {}, passes=8, workers=3).workers == 3
  assert choose(monkeypatch, {}, passes=2, workers=3).workers == 2
  held = Stand(parallel=False)
  assert choose(monkeypatch, {}, passes=8, workers=3, session=held).workers == 1
  with pytest.raises(TflmFgError, match="workers=0"):
    choose(monkeypatch, {}, workers=0)


def test_a_real_graph_settles_and_keeps_its_weights():
  marked = tflm_fg.mark_trainable(MODEL, "all")
  graph = Graph(marked.data, marked.mark, RuntimeOptions())
  before = graph.suffix.flatbuffer()
  choice = graph.settle((models.int8_samples((6, 5, 2), 8),), 4)
  assert choice.seconds["in-place"] > 0
  assert len(graph.helpers) == choice.workers - 1
  assert graph.forward_passes == 0
  assert graph.suffix.flatbuffer() == before


def prefix_of(runtime="litert", **options):
  marked = tflm_fg.mark_trainable(MODEL, "head")
  graph = Graph(
    marked.data, marked.mark, RuntimeOptions(runtime=runtime, **options)
  )
  return graph, graph.prefix.traits.runtime


@pytest.mark.parametrize("runtime", installed())
def test_frozen_layers_run_on_xnnpack_unless_told_otherwise(runtime):
  assert prefix_of(runtime)[1] == "litert-xnnpack"
  assert prefix_of(runtime, exact_prefix=True)[1] == runtime


def test_frozen_layers_fall_back_where_xnnpack_refuses(monkeypatch):
  real = open_session

  def refuse(name, *rest):
    if name == "litert-xnnpack":
      raise TflmFgError("refused")
    return real(name, *rest)

  monkeypatch.setattr(registry, "open_session", refuse)
  assert prefix_of("litert-reference")[1] == "litert-reference"


@pytest.mark.parametrize("exact", [False, True])
def test_features_are_the_same_every_time_and_close_to_the_reference(exact):
  x = models.int8_samples((6, 5, 2), 300)
  first, again = (
    prefix_of(exact_prefix=exact)[0].features(x)[0] for _ in range(2)
  )
  assert first.tobytes() == again.tobytes()
  reference = prefix_of("litert-reference", exact_prefix=True)[0]
  (want,) = reference.features(x)
  assert np.abs(first.astype(int) - want).max() <= (1 if exact else 6)


def test_the_report_says_what_was_chosen():
  report = tflm_fg.adapt(
    MODEL,
    X,
    Y,
    trainable="head",
    settings=tflm_fg.Settings(method="sign-m-spsa", steps=2),
    exact_prefix=True,
  ).report
  assert report["prefix_runtime"] == "litert"
  assert report["strategy"] in report["strategy_seconds"]
  assert report["workers"] >= 1
