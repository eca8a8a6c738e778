"""Numbers and choices out of range are refused by name."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
from tflm_fg.training.defaults import METHODS, TAKERS

import tflm_fg
from tests.options import options
from tests.refusals import MODEL, adapt, refused
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.registry import importlib, installed, open_session
from tflm_fg.tflite.split_graph import cut

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
  "num_directions": 3,
  "epsilon_lsb": 3.0,
  "rho_lsb": 2.0,
  "loss": "huber",
  "huber_delta": 0.5,
}
"""Another value than the default for each setting that not all methods take."""

BESIDE: dict[str, dict[str, Any]] = {
  "guidance": {"momentum": 0.5},
  "sparse_by": {"sparsity": 0.5},
  "huber_delta": {"loss": "huber"},
}
"""What else such a setting needs."""

NAMED = [m for m in METHODS if m != "auto"]


def test_the_table_of_takers_names_settings_and_methods():
  fields = {field.name for field in dataclasses.fields(tflm_fg.Settings)}
  assert set(TAKERS) == set(OTHERS) <= fields
  assert {m for takers in TAKERS.values() for m in takers} <= set(NAMED)


@pytest.mark.parametrize("method", NAMED)
@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_that_would_do_nothing_is_refused(name, method):
  given = {**BESIDE.get(name, {}), name: OTHERS[name], "method": method}
  if method in TAKERS[name]:
    assert getattr(options(**given), name) == OTHERS[name]
    return
  message = refused(lambda: options(**given))
  assert "does nothing under method" in message and repr(method) in message
  assert TAKERS[name][0] in message
  kept = options(**{**given, "method": "auto"}).under(method)
  assert kept == options(method=method, momentum=kept.momentum)


@pytest.mark.parametrize(
  "name", [n for n in OTHERS if "closed-form" not in TAKERS[n]]
)
@pytest.mark.parametrize("trainable", ["head", "auto"])
def test_auto_refuses_what_no_phase_of_it_takes(name, trainable):
  """A head of its own is found exactly; a prompt before it takes most."""
  given = {**BESIDE.get(name, {}), name: OTHERS[name]}
  settings = options(**given, steps=2)
  if trainable == "auto" and name != "rho_lsb":
    assert adapt(trainable="auto", **settings).report["candidates"]
    return
  message = refused(lambda: adapt(trainable=trainable, **settings))
  assert "does nothing under method" in message and "'closed-form'" in message


def test_what_a_choice_needs_is_named():
  one = refused(lambda: options(sparse_by="seed"))
  assert "sparsity" in one
  two = refused(lambda: options(huber_delta=0.5, loss="mse"))
  assert "huber_delta=0.5" in two and "'mse'" in two


@pytest.mark.parametrize("method", ["closed-form", "node", "statistics"])
@pytest.mark.parametrize("optimizer", ["sign", "frank-wolfe"])
def test_signs_take_a_rate_in_steps_where_a_method_has_one_of_its_own(
  method, optimizer
):
  settings = options(method=method, optimizer=optimizer)
  assert settings.learning_rate_lsb == 1.0
  given = options(method=method, optimizer=optimizer, learning_rate_lsb=3.0)
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
