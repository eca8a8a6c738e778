"""Whatever a client sends, the round goes on, and the client is named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests import models
from tests.federated.fleets import MODEL, X, Y, fleet, run, run_round
from tflm_fg import federated, methods
from tflm_fg.federated import wire
from tflm_fg.types import TflmFgError

METHOD = methods.ClosedForm(steps=3)


def edited(content, **changes):
  found = wire.read(content, "sums", [wire.SUMS])
  return dataclasses.replace(found, **changes).to_bytes()


def with_number(content, field, at, value):
  """Sums in which one number is another."""
  fields = [f.copy() for f in wire.read(content, "sums", [wire.SUMS]).fields]
  fields[field][at] = value
  return edited(content, fields=tuple(fields))


def refusal(server, content, sender="client-0"):
  verdict = server.accept(content, sender)
  assert not verdict.taken
  assert verdict in server.refusals and verdict.client == sender
  return verdict.reason


def test_what_is_damaged_is_refused_and_the_others_stay():
  server, (one, two) = fleet("closed-form", (48, 48), method=METHOD)
  assert server.accept(two.contribute(), "client-1").taken
  content = one.contribute()
  assert "damaged" in refusal(server, content[:-9] + content[-8:])
  assert "begins as no message" in refusal(server, b"hello")
  assert server.clients == ["client-1"]
  assert server.accept(content, "client-0").taken


def test_what_comes_late_or_early_is_refused_by_its_round():
  server, clients = fleet("closed-form", (48, 48), method=METHOD)
  late = clients[0].contribute()
  run_round(server, clients)
  assert "late: sums of round 0, and 1 is open" in refusal(server, late)
  early = edited(clients[0].contribute(), number=2)
  assert "early: sums of round 2" in refusal(server, early)


def test_what_comes_twice_counts_once_and_another_sum_not_at_all():
  server, (one, _) = fleet("closed-form", (48, 48), method=METHOD)
  content = one.contribute()
  assert server.accept(content, "client-0").taken
  assert server.accept(content, "client-0").taken
  other = with_number(content, 0, 0, 1)
  assert "other sums of client-0 were taken" in refusal(server, other)
  server.close()
  assert server.rounds[0].samples == 48


def test_a_third_of_the_clients_may_stay_away():
  server, clients = fleet("closed-form", (32, 32, 32), method=METHOD)
  while not server.is_done:
    answering = [c for n, c in enumerate(clients) if n != server.number % 3]
    for client in answering:
      assert server.accept(client.contribute(), client.client).taken
    step = server.close()
    for client in clients:
      client.take(step)
  assert {c.masters_sha256 for c in clients} == {server.masters_sha256}
  assert [r.clients for r in server.rounds] == [2] * len(server.rounds)


def test_another_base_is_refused_by_its_fingerprint():
  plan = federated.plan_for(MODEL, method=METHOD)
  other = models.dense_model(seed=5)
  with pytest.raises(TflmFgError, match=r"another base than the fleet's \(SHA"):
    federated.Client(other, plan, X, Y, client="client-0")
  server, (one,) = fleet("closed-form", (96,), method=METHOD)
  strange = edited(one.contribute(), masters=b"\1" * 16)
  assert "its masters are others (SHA-256 01010101" in refusal(server, strange)
  strange = edited(one.contribute(), plan=b"\1" * 16)
  assert "another plan" in refusal(server, strange)


def test_nobody_sends_in_the_name_of_another():
  server, (one, _) = fleet("closed-form", (48, 48), method=METHOD)
  reason = refusal(server, one.contribute(), "client-1")
  assert "in the name of client-0" in reason
  content = edited(one.contribute(), senders=())
  assert "name no client" in server.accept(content).reason


@pytest.mark.parametrize("samples", [0, 4097])
def test_a_count_of_samples_beyond_the_plan_is_refused(samples):
  server, (one,) = fleet("closed-form", (96,), method=METHOD)
  content = edited(one.contribute(), samples=samples)
  assert f"states {samples} samples" in refusal(server, content)


def test_a_fleet_above_its_size_is_refused():
  server, (one, two) = fleet(
    "closed-form", (48, 48), method=METHOD, most_clients=1
  )
  assert server.accept(one.contribute(), "client-0").taken
  assert "has its 1 clients" in refusal(server, two.contribute(), "client-1")


def test_a_round_with_too_few_clients_is_not_closed():
  server, (one, _) = fleet(
    "closed-form", (48, 48), method=METHOD, least_clients=2
  )
  server.accept(one.contribute())
  with pytest.raises(TflmFgError, match="sums of 1 clients came, need 2"):
    server.close()


LIES = [
  ("closed-form", 0, 0, 3, 48 * 300, "inputs[3] is 14400, and 48 samples"),
  ("closed-form", 0, 1, 3, -1, "squares[3] is -1"),
  ("closed-form", 0, 1, 3, 0, "less than its sum allows"),
  ("closed-form", 0, 2, 1, 48, "labels of 48 samples"),
  ("closed-form", 1, 0, 5, 1 << 40, "kernel[5] is"),
  ("closed-form", 1, 0, 5, 1 << 26, "kernel: its classes add up to"),
  ("closed-form", 1, 1, 0, 1 << 21, "bias: its classes add up to"),
  ("closed-form", 1, 2, 0, -1, "loss[0] is -1"),
  ("one-round", 0, 1, 0, -1, "products: a square is below 0"),
  ("one-round", 0, 1, 0, 0, "products: the square of input 0 is less"),
  ("one-round", 0, 1, 1, 48 * 65025, "go together more than"),
  ("one-round", 0, 2, 0, 40, "labels of 48 samples"),
  ("one-round", 0, 3, 0, 1, "do not add up to all inputs"),
  ("signs", 0, 1, 0, 1 << 40, "differences of block 0[0] is"),
  ("signs", 0, 0, 0, 0, "differences of block 0: more than its 0 samples"),
  ("per-sample", 0, 0, 0, 1 << 50, "gradient[0] is"),
]


@pytest.mark.parametrize(
  ("scheme", "number", "field", "at", "lie", "why"), LIES
)
def test_sums_that_no_samples_can_give_are_refused(
  scheme, number, field, at, lie, why
):
  method = METHOD if scheme == "closed-form" else None
  server, clients = fleet(scheme, (48, 48), method=method)
  for _ in range(number):
    run_round(server, clients)
  content = clients[0].contribute()
  assert why in refusal(server, with_number(content, field, at, lie))
  assert server.accept(content, "client-0").taken  # the truth still counts


def test_other_fields_than_the_rounds_are_refused():
  server, (one,) = fleet("closed-form", (96,), method=METHOD)
  fields = wire.read(one.contribute(), "sums", [wire.SUMS]).fields
  content = edited(one.contribute(), fields=fields[:2])
  assert "2 fields, need 3" in refusal(server, content)
  content = edited(one.contribute(), fields=(fields[0][:3], *fields[1:]))
  assert "inputs: 3 numbers, need 16" in refusal(server, content)


def test_a_client_weighs_no_more_than_the_plan_lets_it():
  server, (one, two) = fleet(
    "closed-form", (72, 24), method=METHOD, most_weight=24
  )
  run_round(server, [one, two])
  assert server.rounds[0].samples == 48
  again, _ = fleet("closed-form", (72, 24), method=METHOD, most_weight=24)
  run_round(again, [*fleet("closed-form", (72, 24), method=METHOD,
                           most_weight=24)[1]], order=(1, 0))  # fmt: skip
  assert server.steps == again.steps


def test_a_lie_within_the_bounds_weighs_what_the_plan_lets_it():
  """What samples could have given is possible; the plan can weigh it less."""
  server, (one, liar) = fleet(
    "closed-form", (72, 24), method=METHOD, most_weight=24
  )
  content = edited(liar.contribute(), samples=4096)
  assert "24 labels of 4096" in refusal(server, content, "client-1")
  counts = wire.read(content, "sums", [wire.SUMS]).fields[2]
  lie = with_number(content, 2, 0, int(counts[0]) + 4096 - 24)
  assert server.accept(lie, "client-1").taken
  assert server.accept(one.contribute(), "client-0").taken
  server.close()
  assert server.rounds[0].samples == 48


def test_when_all_rounds_were_run_nobody_sends_and_nothing_is_taken():
  server, clients = fleet("one-round", (48, 48))
  content = clients[0].contribute()
  run(server, clients)
  assert "all 1 rounds were run" in refusal(server, content)
  with pytest.raises(TflmFgError, match="nothing to send"):
    clients[0].contribute()


def test_steps_are_taken_in_their_order_and_of_their_plan():
  server, (one, two) = fleet("closed-form", (48, 48), method=METHOD)
  first = run_round(server, [one])
  second = run_round(server, [one])
  with pytest.raises(TflmFgError, match="is of round 1, and round 0 is next"):
    two.take(second)
  other, _ = fleet("one-round", (96,))
  with pytest.raises(TflmFgError, match="of another plan"):
    other.take(first)
  with pytest.raises(TflmFgError, match="damaged"):
    two.take(first[:-1] + b"\0")


def test_combining_refuses_what_does_not_belong_together():
  server, (one, two) = fleet("closed-form", (48, 48), method=METHOD)
  first, other = one.contribute(), two.contribute()
  with pytest.raises(TflmFgError, match="client-0 is in two different sums"):
    federated.combine([first, federated.combine([first, other])])
  run_round(server, [one, two])
  with pytest.raises(TflmFgError, match="sums 1 of client-1: are of another"):
    federated.combine([first, two.contribute()])
  with pytest.raises(TflmFgError, match="nothing to add up"):
    federated.combine([])
  with pytest.raises(TflmFgError, match="holds step, need sums"):
    federated.combine([server.steps[0]])


@pytest.mark.parametrize(
  ("changes", "cause"),
  [
    ({"scheme": "gossip"}, "scheme 'gossip' is unknown"),
    (
      {"scheme": "one-round", "trainable": "all"},
      "learns the last layer alone",
    ),
    ({"scheme": "per-sample", "trainable": "head"}, "flow in as data"),
    ({"method": methods.SignSPSA()}, "does not run method 'sign-m-spsa'"),
    ({"most_samples": 0}, "most_samples=0: need 1"),
    ({"least_clients": 9, "most_clients": 3}, "no round could be closed"),
    ({"most_samples": 1 << 22}, "fewer than 2"),
  ],
)
def test_a_plan_that_cannot_be_is_refused(changes, cause):
  with pytest.raises(TflmFgError, match=cause):
    federated.plan_for(MODEL, **{"scheme": "closed-form", **changes})


def test_a_plan_of_an_other_method_is_refused():
  plan = federated.plan_for(MODEL, method=METHOD)
  with pytest.raises(TflmFgError, match="does not run method 'closed-form'"):
    dataclasses.replace(plan, scheme="signs", rounds=3)
  with pytest.raises(TflmFgError, match="rounds=3: the method's steps take 4"):
    dataclasses.replace(plan, rounds=3)


def test_a_regression_is_no_classifier():
  with pytest.raises(TflmFgError, match="for real y use"):
    federated.plan_for(models.regression_model(), "closed-form")


@pytest.mark.parametrize(
  ("old", "new"),
  [
    (b"tflm_fg_fleet", b"tflm_fg_flotilla"),
    (b'"gain":false', b'"gain":0'),
    (b'"rounds":4', b'"rounds":"4"'),
    (b'"rounds":4', b'"rounds":5'),
    (b'"scheme":"closed-form"', b'"scheme":"signs"'),
    (b'"scheme":"closed-form"', b'"scheme":7'),
    (b'"most_weight":0', b'"most_weight":0,"speed":1'),
    (b'"method":"closed-form"', b'"method":"guess"'),
    (b"{", b"["),
  ],
)
def test_a_plan_that_was_changed_is_told(old, new):
  content = federated.plan_for(MODEL, method=METHOD).to_bytes()
  assert federated.Plan.from_bytes(content).to_bytes() == content
  assert old in content
  with pytest.raises(TflmFgError, match="no plan of a fleet"):
    federated.Plan.from_bytes(content.replace(old, new, 1))


def test_samples_beyond_the_plan_are_refused_at_the_client():
  plan = federated.plan_for(MODEL, method=METHOD, most_samples=95)
  with pytest.raises(TflmFgError, match="96 samples, and the plan takes 1 to"):
    federated.Client(MODEL, plan, X, Y, client="client-0")
  with pytest.raises(TflmFgError, match="no prompt of its own"):
    federated.Client(
      MODEL, plan, X[:9], Y[:9], client="c", personal={3: np.zeros(2)}
    )
