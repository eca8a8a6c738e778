"""A device without a server that runs joins by files."""

from __future__ import annotations

import pytest

import tflm_fg
from tests.federated.fleets import MODEL, X, Y, fleet, run
from tflm_fg import federated, methods
from tflm_fg.types import TflmFgError


def contributed(plan, steps=()):
  return [
    federated.contribute(
      MODEL, plan, X[own], Y[own], client=f"board-{n}", steps=tuple(steps)
    )
    for n, own in enumerate((slice(0, 40), slice(40, 41), slice(41, 96)))
  ]


def test_one_round_by_files_is_one_round_of_a_server():
  plan = federated.plan_for(MODEL, "one-round").to_bytes()
  sums = contributed(plan)
  first = federated.combine(sums[:2])
  adapted = federated.apply(MODEL, plan, [federated.combine([sums[2], first])])
  server = run(*fleet("one-round", (96,)))
  assert adapted == tflm_fg.strip(server.file().data)
  assert federated.apply(MODEL, plan, sums) == adapted


def test_rounds_by_files_end_where_a_server_ends():
  method = methods.ClosedForm(steps=2)
  plan = federated.plan_for(MODEL, method=method)
  steps = []
  while len(steps) < plan.rounds:
    sums = federated.combine(contributed(plan, steps))
    steps.append(federated.closed(MODEL, plan, [*steps, sums]).steps[-1])
  server = run(*fleet("closed-form", (96,), method=method))
  adapted = federated.apply(MODEL, plan, steps)
  assert adapted == tflm_fg.strip(server.file().data)


def test_sums_that_are_refused_are_named():
  plan = federated.plan_for(MODEL, "one-round", most_samples=50)
  x, y = X[:20], Y[:20]
  sums = federated.contribute(MODEL, plan, x, y, client="board-7")
  other = federated.plan_for(MODEL, "one-round", most_samples=40)
  with pytest.raises(TflmFgError, match="client board-7: its sums are"):
    federated.apply(MODEL, other, [sums])
  with pytest.raises(TflmFgError, match="content 0: damaged"):
    federated.apply(MODEL, plan, [sums[:-1] + b"?"])
  with pytest.raises(TflmFgError, match="plan: no plan of a fleet"):
    federated.apply(MODEL, b"{}", [sums])
