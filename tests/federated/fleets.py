"""Small fleets for tests: a plan, a server, and samples dealt to clients."""

from __future__ import annotations

from tests import models
from tflm_fg import federated

MODEL = models.dense_model()
X, Y = models.separable(96)


def fleet(scheme="closed-form", split=(96,), model=MODEL, x=X, y=Y, **settings):
  """A server and its clients, of whom each has a run of the samples."""
  plan = federated.plan_for(model, scheme, **settings)
  clients, start = [], 0
  for number, count in enumerate(split):
    own = slice(start, start + count)
    clients.append(
      federated.Client(
        model,
        plan,
        x[own],
        y[own],
        client=f"client-{number}",
        first=start,
        seed=number,
      )
    )
    start += count
  return federated.Federation(model, plan, seed=99), clients


def run_round(server, clients, order=None, again=()):
  """One round: all sums in some order, some of them more than once."""
  sums = [client.contribute() for client in clients]
  order = range(len(clients)) if order is None else order
  for number in [*order, *again]:
    verdict = server.accept(sums[number], clients[number].client)
    assert verdict.taken, verdict.reason
  step = server.close()
  for client in clients:
    client.take(step)
    assert client.masters_sha256 == server.masters_sha256
  return step


def run(server, clients, order=None, again=()):
  """All rounds."""
  while not server.is_done:
    run_round(server, clients, order, again)
  return server
