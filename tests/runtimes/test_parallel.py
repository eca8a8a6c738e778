"""How a part runs depends on what it holds; no test claims a speed."""

import pathlib
import types

import numpy as np
import pytest

import apps.kws
import tflm_fg
from tests import models
from tests.options import options
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes import parallel, registry
from tflm_fg.runtimes.registry import RuntimeOptions, installed, open_session
from tflm_fg.types import TflmFgError

MODEL = models.conv_model()
X = np.random.default_rng(0).normal(0, 1.5, (40, 6, 5, 2)).astype("f4")
Y = np.arange(40) % 3


BATCH = (np.zeros((4, 1), np.int8),)


class Stand:
  """A session that only has traits."""

  def __init__(self, strategy="in-place", parallel=True):
    self.traits = types.SimpleNamespace(
      in_place=strategy == "in-place", parallel=parallel
    )


def choose(monkeypatch, seconds, **more):
  """Chooses where a run of (strategy, sessions, passes) takes so long."""

  def of_a_pass(sessions, inputs, passes):
    strategy = "in-place" if sessions[0].traits.in_place else "rebuild"
    return seconds[strategy, len(sessions), passes]

  monkeypatch.setattr(parallel, "_of_a_pass", of_a_pass)
  monkeypatch.setattr(parallel, "_cores", lambda: 4)
  given = {"work": None, "passes": 2, "workers": 1, **more}
  session = given.pop("session", Stand())
  return parallel.choose(session, Stand, BATCH, **given)


MUCH = -(-parallel.WORTH_REBUILDING // len(BATCH[0]))
"""Work of a sample from which a batch of this size is rebuilt."""


def test_rebuild_is_taken_where_a_batch_is_much_work(monkeypatch):
  for work, strategy in ((MUCH, "rebuild"), (MUCH - 1, "in-place")):
    choice = choose(monkeypatch, {}, work=work)
    assert choice.strategy == strategy
    assert f"work of {work * len(BATCH[0])} convolution" in choice.reason
    assert choice.seconds == {}


def test_what_was_asked_for_is_kept(monkeypatch):
  for strategy in ("in-place", "rebuild"):
    choice = choose(monkeypatch, {}, session=Stand(strategy))
    assert choice.strategy == strategy


def test_a_model_that_cannot_be_rebuilt_stays_in_place():
  def refuse(strategy):
    if strategy == "rebuild":
      raise TflmFgError("refused")
    return Stand(strategy)

  choice = parallel.choose(
    Stand(), refuse, BATCH, work=MUCH, passes=2, workers=1
  )
  assert choice.strategy == "in-place"
  assert choice.reason.endswith("refused")


@pytest.mark.parametrize("quick", ["in-place", "rebuild"])
def test_one_seed_gives_the_same_bytes_whatever_a_stopwatch_says(
  monkeypatch, quick
):
  def of_a_pass(sessions, inputs, passes):
    fast = sessions[0].traits.in_place == (quick == "in-place")
    return (1.0 if fast else 9.0) / len(sessions)

  given = {
    "trainable": "all",
    **options(method="sign-m-spsa", steps=4, seed=2),
  }
  want = tflm_fg.adapt(MODEL, X, Y, **given)
  monkeypatch.setattr(parallel, "_of_a_pass", of_a_pass)
  busy = tflm_fg.adapt(MODEL, X, Y, **given)
  assert busy.marked_model == want.marked_model
  for key in ("strategy", "strategy_reason"):
    assert busy.report[key] == want.report[key]
    assert busy.report["phases"][0][key] == want.report[key]


def choice_of(data, trainable, batch=64):
  marked = tflm_fg.mark_trainable(data, trainable)
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions(workers=1))
  x = models.int8_samples(graph.input.shape[1:], 2, dtype=graph.input.dtype)
  inputs = graph.features(np.resize(x, (batch, *x.shape[1:])))
  return graph.settle(inputs, 2).strategy


@pytest.mark.parametrize("trainable", ["first-bias", "prompt", "all"])
def test_the_shipped_spotter_is_rebuilt_where_more_than_its_head_trains(
  trainable,
):
  data = pathlib.Path(apps.kws.__file__).with_name("ds_cnn.tflite").read_bytes()
  assert choice_of(data, trainable) == "rebuild"
  assert choice_of(data, "head", 256) == "in-place"
  assert choice_of(data, "wide-head", 256) == "in-place"


def test_int16_layers_are_never_rebuilt():
  """XNNPACK runs none of them."""
  data = models.conv_model(wide=True)
  assert choice_of(data, "all", 4096) == "in-place"
  assert choice_of(models.conv_model(), "all", 4096) == "rebuild"


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
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  before = graph.suffix.flatbuffer()
  choice = graph.settle((models.int8_samples((6, 5, 2), 8),), 4)
  assert choice.strategy == "in-place"
  assert len(graph.helpers) == choice.workers - 1
  assert graph.forward_passes == 0
  assert graph.suffix.flatbuffer() == before


def prefix_of(runtime="litert", **more):
  marked = tflm_fg.mark_trainable(MODEL, "head")
  graph = SplitModel(
    marked.data, marked.mark, RuntimeOptions(runtime=runtime, **more)
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
    **options(method="sign-m-spsa", steps=2),
    exact_prefix=True,
  ).report
  assert report["prefix_runtime"] == "litert"
  assert report["strategy"] == "in-place"
  assert "too little to pay" in report["strategy_reason"]
  # Workers are timed where there is a choice of them.
  assert set(report["strategy_seconds"]) <= {"in-place"}
  assert report["workers"] >= 1
