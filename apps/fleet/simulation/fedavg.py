"""The baseline: FedAvg of the float head.

Every client trains the last layer in floats by gradient descent on its own
samples, for some epochs, and sends all of its weights; the server takes their
mean, each client weighted by its count of samples (McMahan et al., 2017). The
layers in front of the head stay int8, so that it sees what the other schemes
see. Nothing is rounded to int8 behind it, which is in its favour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apps.compare.methods.head_descent import features_of, head_start
from apps.fleet.simulation.clients import Fleet, Samples
from tflm_fg.marking import mark_trainable
from tflm_fg.placement import SplitModel
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.tflite import tensor_spec

FLOAT_BYTES = 4
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Learning rates that are tried, in units of the inverse smoothness."""

KEPT_ASIDE = 4
"""One of so many samples of each client chooses the rate."""

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class FloatClient:
  """A client's samples as the float head reads them.

  Attributes:
    x: float64 [N, D + 1], head inputs with a column of ones.
    y: int64 [N], classes.
  """

  x: Floats
  y: NDArray[np.int64]

  def parted(self) -> tuple[FloatClient, FloatClient]:
    """What it trains on and what it keeps aside to choose a rate."""
    aside = np.arange(len(self.y)) % KEPT_ASIDE == KEPT_ASIDE - 1
    return (
      FloatClient(self.x[~aside], self.y[~aside]),
      FloatClient(self.x[aside], self.y[aside]),
    )


@dataclasses.dataclass(frozen=True)
class Averaged:
  """What FedAvg came to.

  Attributes:
    accuracy: on the fleet's test samples.
    rate: the learning rate that was chosen.
    bytes_up: that a client sends, in all rounds.
    bytes_down: that a client is sent, in all rounds.
  """

  accuracy: float
  rate: float
  bytes_up: int
  bytes_down: int


class FloatFleet:
  """The clients of a fleet and its test samples, in front of a float head."""

  def __init__(self, model: bytes, fleet: Fleet) -> None:
    """Runs the frozen layers once over all samples.

    Args:
      model: the .tflite.
      fleet: its clients and its test samples.
    """
    marked = mark_trainable(model, "head")
    graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
    spec = tensor_spec(marked.data, marked.mark.head_input)

    def seen(samples: Samples) -> FloatClient:
      y = np.asarray(samples.y, np.int64)
      return FloatClient(features_of(graph, (samples.x, y), spec), y)

    self.start = head_start(marked)
    self.clients = [seen(samples) for samples in fleet.clients]
    self.test = seen(fleet.test)

  def averaged(
    self, rounds: int, epochs: int, batch: int, seed: int
  ) -> Averaged:
    """FedAvg with the best of `RATES`, which samples kept aside choose.

    The samples kept aside are of all clients together, which a real fleet does
    not have in one place; that too is in the baseline's favour. What is scored
    is trained anew on all samples.

    Args:
      rounds: how often all clients train and send.
      epochs: passes over its samples that a client makes a round.
      batch: samples of a step.
      seed: of the order of samples.
    """
    parts = [client.parted() for client in self.clients]
    own, aside = [part[0] for part in parts], [part[1] for part in parts]
    scores = [
      float(
        np.mean(
          np.concatenate(
            [
              _rightly(self._run(own, rate, rounds, epochs, batch, seed), part)
              for part in aside
            ]
          )
        )
      )
      for rate in RATES
    ]
    rate = RATES[int(np.argmax(scores))]
    found = self._run(self.clients, rate, rounds, epochs, batch, seed)
    size = FLOAT_BYTES * rounds * self.start.size
    return Averaged(float(_rightly(found, self.test).mean()), rate, size, size)

  def _run(
    self,
    clients: Sequence[FloatClient],
    rate: float,
    rounds: int,
    epochs: int,
    batch: int,
    seed: int,
  ) -> Floats:
    """The head [D + 1, C] behind all rounds."""
    x = np.concatenate([client.x for client in clients])
    step = rate * 2 * len(x) / float(np.linalg.norm(x, 2)) ** 2
    counts = np.array([len(client.y) for client in clients], np.float64)
    weights = self.start
    for number in range(rounds):
      trained = [
        _descend(client, weights, step, epochs, batch, (seed, number, index))
        for index, client in enumerate(clients)
      ]
      weights = np.tensordot(counts / counts.sum(), np.stack(trained), 1)
    return weights


def _rightly(weights: Floats, client: FloatClient) -> NDArray[np.bool_]:
  return (client.x @ weights).argmax(axis=1) == client.y


def _descend(
  client: FloatClient,
  weights: Floats,
  step: float,
  epochs: int,
  batch: int,
  address: tuple[int, ...],
) -> Floats:
  """Plain gradient descent on softmax cross-entropy, in shuffled batches."""
  rng = np.random.default_rng(address)
  wanted = np.eye(weights.shape[1])[client.y]
  for _ in range(epochs):
    order = rng.permutation(len(client.y))
    for rows in np.array_split(order, max(1, round(len(order) / batch))):
      x = client.x[rows]
      logits = x @ weights
      p = np.exp(logits - logits.max(axis=1, keepdims=True))
      p /= p.sum(axis=1, keepdims=True)
      weights = weights - step * (x.T @ (p - wanted[rows])) / len(rows)
  return weights
