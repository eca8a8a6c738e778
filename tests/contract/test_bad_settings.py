"""Numbers and choices out of range are refused by name."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tflm_fg
from tests.options import FORWARD, method_of, options
from tests.refusals import MODEL, adapt, refused
from tflm_fg.methods import Auto, fields_of, registered
from tflm_fg.placement.request import Request
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.registry import importlib, installed, open_session
from tflm_fg.tflite.split_graph import cut
from tflm_fg.training.objective import Objective

# Numbers.

BAD_SETTINGS: list[dict[str, Any]] = [
  {"batch_size": 0},
  {"batch_size": -1},
  {"steps": 0},
  {"steps": 10**15},
  {"seed": -1},
  {"seed": 2**64},
  {"epsilon_lsb": 0.0},
  {"epsilon_lsb": -1.0},
  {"epsilon_lsb": 1000.0},
  {"epsilon_lsb": float("nan")},
  {"learning_rate_lsb": 0.0},
  {"learning_rate_lsb": float("nan")},
  {"learning_rate_lsb": float("inf")},
  {"learning_rate_lsb": 1e9},
  {"momentum": 1.0},
  {"momentum": -0.1},
  {"momentum": float("nan")},
  {"validation_fraction": 1.0},
  {"validation_fraction": -0.1},
  {"validation_fraction": float("nan")},
  {"num_directions": 0},
  {"num_directions": 10**6},
  {"validate_every": 0},
  {"patience": -1},
  {"method": "adam"},
  {"labels": "some"},
  {"directions": "sobol"},
  {"decay": "steps"},
  {"steps": 2.5},
  {"seed": "1"},
  {"momentum": "much"},
  {"guidance": 1.0},
  {"kernel_wise": 1},
  {"kernel_wise": "yes"},
  {"sparsity": 1.0},
  {"sparsity": -0.1},
  {"sparsity": float("nan")},
  {"sparse_by": "size"},
  {"blocks": 0},
  {"blocks": 2.0},
  {"rho_lsb": 0.0},
  {"rho_lsb": 1000.0},
  {"optimizer": "adam"},
  {"rounding": "up"},
  {"precision": "4w8a"},
]


@pytest.mark.parametrize("method", ["auto", "sign-m-spsa", "closed-form"])
@pytest.mark.parametrize("bad", BAD_SETTINGS, ids=str)
def test_number_out_of_range_is_named_without_a_warning(bad, method):
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    message = refused(
      lambda: adapt(**options(**{"method": method, "steps": 3, **bad}))
    )
  (name,) = bad
  assert name.removesuffix("s") in message


def test_small_perturbation_warns_and_runs():
  settings = options(method="sign-m-spsa", steps=3, epsilon_lsb=0.5)
  with pytest.warns(UserWarning, match="epsilon_lsb"):
    assert adapt(**settings).model


@pytest.mark.parametrize(
  ("together", "name"),
  [
    ({"method": "multi-tangent", "num_directions": 65}, "num_directions=65"),
    (
      {"optimizer": "frank-wolfe", "learning_rate_lsb": 128.0},
      "learning_rate_lsb=128.0",
    ),
    (
      {"method": "spsa", "guidance": 0.1, "momentum": 0.0},
      "guidance=0.1",
    ),
  ],
)
def test_what_does_not_fit_together_is_refused(together, name):
  assert name in refused(lambda: options(**together))


OTHERS: dict[str, Any] = {
  "directions": "normal",
  "guidance": 0.5,
  "kernel_wise": True,
  "sparsity": 0.9,
  "sparse_by": "seed",
  "blocks": 2,
  "turns": "direction",
  "num_directions": 3,
  "epsilon_lsb": 3.0,
  "rho_lsb": 2.0,
  "pull": 0.1,
  "logit_gain": 2.0,
  "scan": False,
  "predict": False,
}
"""Another value than the default for each setting that not all methods take."""

BESIDE: dict[str, dict[str, Any]] = {
  "guidance": {"momentum": 0.5},
  "sparse_by": {"sparsity": 0.5},
  "turns": {"blocks": 2},
}
"""What else such a setting needs."""

NAMED = {name: kind for name, kind in registered().items() if kind is not Auto}

TAKERS = {
  **{name: {*FORWARD} for name in OTHERS},
  "num_directions": {*FORWARD, "node"},
  "epsilon_lsb": {*FORWARD, "node", "per-sample"},
  "rho_lsb": {"sharpness-aware"},
  "pull": {"closed-form"},
  "logit_gain": {"closed-form"},
  "scan": {"per-sample"},
  "predict": {"per-sample"},
}
"""Setting -> the methods that take it; all take what is not listed."""


def test_methods_have_the_settings_that_they_take_and_no_others():
  fields = {name: fields_of(kind) for name, kind in NAMED.items()}
  everywhere = set.intersection(*map(set, fields.values()))
  for name, own in fields.items():
    taken = {setting for setting, takers in TAKERS.items() if name in takers}
    assert set(own) == everywhere | taken
  assert not everywhere & set(OTHERS)


@pytest.mark.parametrize("method", NAMED)
@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_that_would_do_nothing_is_refused(name, method):
  given = {**BESIDE.get(name, {}), name: OTHERS[name]}
  if method in TAKERS[name]:
    assert getattr(method_of(method, **given), name) == OTHERS[name]
    return
  message = refused(lambda: method_of(method, **given))
  assert "does nothing under method" in message and repr(method) in message
  for taker in TAKERS[name]:
    assert taker in message
  if name not in fields_of(Auto):
    refused(lambda: method_of("auto", **given), name)
    return
  kept = Auto(**given).as_phase(NAMED[method]).filled()
  assert kept == method_of(method, momentum=kept.momentum)


@pytest.mark.parametrize("method", NAMED)
@pytest.mark.parametrize(
  "objective", [Objective(loss="mse"), Objective(loss="huber", huber_delta=0.5)]
)
def test_a_loss_that_would_do_nothing_is_refused(objective, method):
  request = Request(method=method_of(method), objective=objective)
  kind = NAMED[method]
  if method != "statistics":
    request.require_use([kind])
    return
  message = refused(lambda: request.require_use([kind]))
  assert f"loss={objective.loss!r}: does nothing under method" in message
  assert repr(method) in message
  for taker in [name for name in NAMED if name != "statistics"]:
    assert taker in message
  given = {"loss": objective.loss, "huber_delta": objective.huber_delta}
  refused(lambda: adapt(**options(method=method, **given)), message)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("trainable", ["head", "auto"])
def test_auto_refuses_what_no_phase_of_it_takes(name, trainable):
  """A head of its own is found exactly; a prompt before it takes most."""
  given = {**BESIDE.get(name, {}), name: OTHERS[name]}
  known = name in fields_of(Auto)
  if trainable == "auto" and known:
    settings = options(**given, steps=2)
    assert adapt(trainable="auto", **settings).report["candidates"]
    return
  message = refused(
    lambda: adapt(trainable=trainable, **options(**given, steps=2))
  )
  assert "does nothing under method" in message
  # Auto itself has no setting that only other methods take.
  assert ("'closed-form'" if known else "'auto'") in message


def test_what_a_choice_needs_is_named():
  one = refused(lambda: options(sparse_by="seed"))
  assert "sparsity" in one
  two = refused(lambda: adapt(huber_delta=0.5, loss="mse"))
  assert "huber_delta=0.5" in two and "'mse'" in two


@pytest.mark.parametrize("method", ["closed-form", "node", "statistics"])
@pytest.mark.parametrize("optimizer", ["sign", "frank-wolfe"])
def test_signs_take_a_rate_in_steps_where_a_method_has_one_of_its_own(
  method, optimizer
):
  own = method_of(method, optimizer=optimizer)
  assert own.learning_rate_lsb == 1.0
  given = method_of(method, optimizer=optimizer, learning_rate_lsb=3.0)
  assert given.learning_rate_lsb == 3.0


@pytest.mark.parametrize("rate", [-1.0, -0.5, 0.0, -0.0, float("nan")])
@pytest.mark.parametrize("method", ["auto", "sign-m-spsa", "closed-form"])
def test_a_rate_that_would_not_descend_is_refused(method, rate):
  refused(
    lambda: options(method=method, learning_rate_lsb=rate),
    f"learning_rate_lsb={rate}",
  )


def test_momentum_just_under_one_dies_out_without_new_slopes():
  from tflm_fg.fixed_point.layout import Layout
  from tflm_fg.optimizers import transforms as optimizers
  from tflm_fg.optimizers.schedules import schedule
  from tflm_fg.types import Params, Vectors

  layout = Layout(tflm_fg.mark_trainable(MODEL).mark.trainable)
  optimizer = optimizers.sgd(
    layout, schedule(1.0, "constant", 1), momentum=0.9999
  )
  params = Params(
    np.zeros(layout.num_kernels, np.int16),
    np.zeros(layout.num_biases, np.int32),
  )
  nothing = Vectors(
    np.zeros(layout.num_kernels, np.int64),
    np.zeros(layout.num_biases, np.int64),
  )
  full = Vectors(nothing.kernels + 65536, nothing.biases + 65536)
  _, state = optimizer.update(full, optimizer.init(params), params, 0)
  start = np.abs(state.velocity.kernels).max()
  for step in range(1, 40):
    _, state = optimizer.update(nothing, state, params, step)
  assert 0 < np.abs(state.velocity.kernels).max() < start


# What to train, and where.


@pytest.mark.parametrize("choice", ["zzz", "(", "*", ",", " , ,", "[", "(?P<"])
def test_choice_that_names_nothing_is_refused(choice):
  refused(lambda: adapt(trainable=choice), "trainable")


def test_unknown_runtime_and_strategy_are_refused():
  refused(lambda: adapt(runtime="onnx"), "onnx", "litert")
  refused(lambda: adapt(strategy="magic"), "magic", "in-place")


def test_runtime_that_is_not_installed_is_refused_with_the_cure(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  refused(lambda: adapt(runtime="tflm"), "tflm", "pip install")
  assert installed() == []


def test_runtime_that_does_not_import_is_refused_with_the_cure(monkeypatch):
  found = importlib.import_module

  def broken(name: str, *rest: Any) -> Any:
    if name.startswith("ai_edge_litert.interpreter"):
      raise ImportError("libc is too old")
    return found(name, *rest)

  monkeypatch.setattr(importlib, "import_module", broken)
  refused(lambda: adapt(), "libc is too old", "pip install")


def test_guard_refuses_in_place_writes_under_xnnpack_with_the_cause():
  call = lambda: adapt(runtime="litert-xnnpack", strategy="in-place")  # noqa: E731
  refused(call, "XNNPACK", "--strategy=rebuild", "head/kernel")


def test_guard_leaves_the_weights_as_they_were():
  marked = tflm_fg.mark_trainable(MODEL, "all")
  piece = cut(marked.data, marked.mark).suffix
  session = open_session("litert-xnnpack", piece, "in-place")
  verdicts = write_check.check_visibility(session, marked.mark.trainable)
  assert not all(v.seen for v in verdicts)
  assert session.flatbuffer() == piece.data
