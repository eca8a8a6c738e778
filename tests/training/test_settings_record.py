"""Journals and reports say every setting, and it is read as it was."""

from __future__ import annotations

import json

import pytest

from tflm_fg.methods import (
  Auto,
  ClosedForm,
  SignSPSA,
  fields_of,
  named,
  registered,
)
from tflm_fg.training.objective import Objective
from tflm_fg.training.settings_record import from_record, to_record

GIVEN = {
  "learning_rate_lsb": 0.75, "decay": "cosine", "momentum": 0.5,
  "optimizer": "frank-wolfe", "rounding": "stochastic", "precision": "8w8a",
  "steps": 7, "batch_size": 5, "seed": (1 << 64) - 1,
  "validation_fraction": 0.25, "validate_every": 3, "patience": 4,
  "anchor": 0.125, "directions": "normal", "guidance": 0.25,
  "kernel_wise": True, "sparsity": 0.5, "sparse_by": "seed", "blocks": 2,
  "num_directions": 3, "epsilon_lsb": 2.0, "rho_lsb": 0.5, "pull": 0.03,
  "logit_gain": 2.0,
  "turns": "direction",
  "scan": False,
  "predict": False,
}  # fmt: skip
"""Every setting, at a value that is no method's default."""

ONLY_WHERE_GIVEN = {"logit_gain", "pull", "predict", "scan", "turns"}
"""Younger settings: written where a method was given them."""


def written(method, objective):
  return json.loads(json.dumps(to_record(method, objective)))


@pytest.mark.parametrize("name", registered())
def test_what_is_written_is_read_setting_by_setting(name):
  kind = registered()[name]
  method = named(name, **{n: GIVEN[n] for n in fields_of(kind)})
  assert set(method.given) == set(fields_of(kind))
  objective = Objective(labels="given")
  if kind.takes_loss:
    objective = Objective(loss="huber", huber_delta=0.5, labels="given")
  record = written(method, objective)
  assert from_record(record) == (method, objective)
  assert {n: record[n] for n in fields_of(kind)} == method.given


def test_every_method_writes_the_same_settings_in_the_same_order():
  tables = [to_record(kind(), Objective()) for kind in registered().values()]
  assert {tuple(table) for table in tables} == {tuple(tables[0])}
  everything = {n for kind in registered().values() for n in fields_of(kind)}
  older = everything - ONLY_WHERE_GIVEN
  assert older | {"method", "labels", "loss", "huber_delta"} == set(tables[0])


def test_a_setting_that_is_not_written_has_its_default():
  record = {"method": "sign-m-spsa", "steps": 7}
  assert from_record(record) == (SignSPSA(steps=7), Objective())


@pytest.mark.parametrize(
  ("record", "cause"),
  [
    ({"method": "auto", "speed": 1}, "no setting 'speed'"),
    ({"method": "guessing"}, "no method 'guessing'"),
  ],
)
def test_a_name_that_is_none_is_named(record, cause):
  with pytest.raises(ValueError, match=cause):
    from_record(record)


def test_what_a_phase_does_not_take_is_left_to_others():
  """Auto gives each phase what it takes; the record of a phase has no more."""
  given = Auto(seed=3, epsilon_lsb=2.0, steps=9)
  head = given.as_phase(registered()["closed-form"], steps=4)
  assert head.given == {"seed": 3, "steps": 9}
  record = to_record(head, Objective())
  assert (record["seed"], record["steps"]) == (3, 9)
  assert record["epsilon_lsb"] == 1.0


def test_a_younger_setting_is_written_only_where_it_is_given():
  exact = to_record(ClosedForm(learning_rate_lsb=18.0).filled(), Objective())
  assert not ONLY_WHERE_GIVEN & set(exact)


def test_a_setting_of_another_method_is_refused():
  record = to_record(SignSPSA(learning_rate_lsb=1.0).filled(), Objective())
  with pytest.raises(ValueError, match="pull"):
    from_record({**record, "pull": 0.1})
