"""A fleet takes the steps that training in one place takes, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tflm_fg
from tests import models
from tests.federated.fleets import MODEL, X, Y, fleet, run, run_round
from tflm_fg import federated, methods
from tflm_fg.types import TflmFgError

SHORT = {
  "closed-form": methods.ClosedForm(steps=4),
  "one-round": None,
  "signs": methods.SignSPSA(steps=3, num_directions=4),
  "split": methods.SignSPSA(steps=3, num_directions=4),
  "per-sample": methods.PerSample(steps=3),
}


@pytest.mark.parametrize("scheme", federated.SCHEMES)
def test_no_split_order_or_repetition_changes_a_bit(scheme):
  method, gain = SHORT[scheme], scheme == "per-sample"
  alone = run(*fleet(scheme, method=method, gain=gain))
  server, clients = fleet(scheme, (50, 1, 45), method=method, gain=gain)
  run(server, clients, order=(2, 0, 1), again=(1, 2))
  assert server.masters_sha256 == alone.masters_sha256
  assert server.steps == alone.steps


@pytest.mark.parametrize(
  ("scheme", "trainable", "method"),
  [
    ("closed-form", "head", methods.ClosedForm(validation_fraction=0.0)),
    (
      "closed-form",
      "head",
      methods.ClosedForm(validation_fraction=0.0, pull=0.1, steps=6),
    ),
    (
      "signs",
      "all",
      methods.SignSPSA(
        steps=4, epsilon_lsb=4.0, learning_rate_lsb=2.0, momentum=0.5,
        num_directions=5, batch_size=4096, validation_fraction=0.0,
        validate_every=4,
      ),
    ),
    (
      "signs",
      "head",
      methods.SPSA(
        steps=4, epsilon_lsb=4.0, learning_rate_lsb=20.0, batch_size=4096,
        num_directions=2, momentum=0.0, validation_fraction=0.0,
        validate_every=4,
      ),
    ),
    (
      "split",
      "all",
      methods.SignSPSA(
        steps=4, epsilon_lsb=4.0, learning_rate_lsb=2.0, batch_size=4096,
        num_directions=4, blocks=2, turns="direction", momentum=0.0,
        validation_fraction=0.0, validate_every=4,
      ),
    ),
    (
      "per-sample",
      "prompt",
      methods.PerSample(
        steps=4, batch_size=4096, validation_fraction=0.0, predict=False
      ),
    ),
  ],
)  # fmt: skip
def test_a_fleet_ends_where_training_in_one_place_ends(
  scheme, trainable, method
):
  whole = tflm_fg.adapt(MODEL, X, Y, trainable=trainable, method=method)
  split = (31, 64, 1)
  server, clients = fleet(scheme, split, trainable=trainable, method=method)
  run(server, clients)
  steps = federated.journal_of(server).records[0].slopes
  assert steps == whole.journal.records[0].slopes


def test_the_closed_form_of_a_fleet_writes_the_file_of_one_place():
  method = methods.ClosedForm(validation_fraction=0.0)
  whole = tflm_fg.adapt(MODEL, X, Y, trainable="head", method=method)
  server = run(*fleet("closed-form", (40, 56), method=method))
  assert server.file().data == whole.marked_model


@pytest.mark.parametrize("scheme", federated.SCHEMES)
def test_the_journal_of_a_fleet_replays_to_its_file(scheme):
  server = run(*fleet(scheme, (48, 48), method=SHORT[scheme]))
  record = federated.journal_of(server).to_bytes()
  assert tflm_fg.replay(record, MODEL) == server.file().data
  assert server.file().data != server.marked.data


@pytest.mark.parametrize("scheme", ["closed-form", "one-round"])
def test_a_fleet_of_two_classes_a_client_learns_all_classes(scheme):
  order = np.argsort(Y, kind="stable")
  server, clients = fleet(scheme, (48, 48), x=X[order], y=Y[order])
  assert {*clients[0].y} == {0, 1}
  before = [client.score().accuracy for client in clients]
  run(server, clients)
  assert np.mean(before) < 0.6
  assert min(client.score().accuracy for client in clients) > 0.9


@settings(max_examples=25)
@given(data=st.data())
def test_combining_is_one_whatever_the_grouping_and_the_order(data):
  sums = list(SUMS)
  whole = federated.combine(sums)
  left = data.draw(st.permutations(sums))
  while len(left) > 1:
    count = data.draw(st.integers(2, len(left)))
    left = data.draw(
      st.permutations([federated.combine(left[:count]), *left[count:]])
    )
  assert left == [whole]
  assert federated.combine([*sums, sums[2]]) == whole


def _first_sums():
  _, clients = fleet("closed-form", (5, 9, 1, 30, 51))
  return [client.contribute() for client in clients]


SUMS = _first_sums()


def test_a_client_that_missed_rounds_catches_up_by_their_steps():
  server, clients = fleet("closed-form", (48, 48), method=SHORT["closed-form"])
  absent = clients.pop()
  for _ in range(3):
    run_round(server, clients)
  for step in server.since(absent.number):
    absent.take(step)
  assert absent.masters_sha256 == server.masters_sha256
  assert server.accept(absent.contribute()).taken


def test_a_server_that_was_ended_goes_on_from_its_steps():
  server, clients = fleet("closed-form", (48, 48), method=SHORT["closed-form"])
  for _ in range(2):
    run_round(server, clients)
  again = federated.Federation(MODEL, server.plan)
  for step in server.steps:
    again.take(step)
  run(again, clients)
  assert again.masters_sha256 == clients[0].masters_sha256


def test_a_step_of_a_damaged_replica_is_not_taken():
  server, clients = fleet("closed-form", (48, 48), method=SHORT["closed-form"])
  run_round(server, clients)
  one, other = clients
  step = _next(server, clients)
  one.state.params.kernels[0] += 1
  before = one.state
  with pytest.raises(TflmFgError, match="leads to other masters here"):
    one.take(step)
  assert one.state is before and one.number == 1
  other.take(step)
  other.take(step)  # again changes nothing
  assert other.number == 2


def _next(server, clients):
  for client in clients:
    server.accept(client.contribute())
  return server.close()


@pytest.mark.parametrize("clients", [1, 2, 3, 5])
def test_every_block_of_a_split_is_run_and_the_shares_cover_it(clients):
  method = methods.SignSPSA(
    steps=2, num_directions=4, blocks=2, turns="direction"
  )
  server, members = fleet("split", (96,), trainable="all", method=method)
  member = members[0]
  whole = member.sums().sums
  shares = [
    member.sums(federated.Share(position, clients)).sums
    for position in range(clients)
  ]
  for block in range(2):
    run_by = [s for s in shares if s[1 + block].any()]
    assert len(run_by) >= 1
    for own in run_by:
      np.testing.assert_array_equal(own[1 + block], whole[1 + block])
  counts = sum(s[0] for s in shares)
  assert (counts >= 96).all() and counts.sum() == 96 * max(2, clients)
  assert server.accept(
    member.contribute(federated.Share(0, clients)), member.client
  ).taken


def test_a_block_that_nobody_ran_stays():
  method = methods.SignSPSA(
    steps=2, num_directions=4, blocks=2, turns="direction", momentum=0.0
  )
  server, (member,) = fleet("split", (96,), trainable="all", method=method)
  before = server.layout.scatter(server.state.params)
  server.accept(member.contribute(federated.Share(0, 2)))
  server.close()
  after = server.layout.scatter(server.state.params)
  moved = {i for i in before if (before[i] != after[i]).any()}
  operators = {t.operator for t in server.layout.tensors if t.index in moved}
  assert len(operators) == 1


def test_many_layers_are_dealt_to_more_blocks_than_clients():
  model = models.deep_model()
  x, y = models.separable(20)
  method = methods.SignSPSA(steps=1, num_directions=6, blocks=3)
  server, members = fleet(
    "split", (10, 10), model=model, x=x, y=y, trainable="all", method=method
  )
  for position, member in enumerate(members):
    share = federated.Share(position, 2)
    assert server.accept(member.contribute(share), member.client).taken
  assert server.close()
