"""The baseline: FedAvg of the float head.

Every client trains the last layer in floats by gradient descent on its own
samples, for some epochs, and sends all of its weights; the server takes their
mean, each client weighted by its count of samples (McMahan et al., 2017). The
layers in front of the head stay int8, so that it sees what the other schemes
see. Nothing is rounded to int8 behind it, which is in its favour.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apps.compare.methods.head_descent import features_of, head_start
from apps.fleet.faults import Faults
from apps.fleet.simulation.clients import Fleet, Samples
from tflm_fg.marking import mark_trainable
from tflm_fg.placement import SplitModel
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.tflite import tensor_spec

FLOAT_BYTES = 4
RATES = (0.1, 0.3, 1.0, 3.0, 10.0)
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
    seconds: that a client trained, in all rounds.
  """

  accuracy: float
  rate: float
  bytes_up: int
  bytes_down: int
  seconds: float


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
    self, rounds: int, epochs: int, batch: int, seed: int, faults: Faults
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
      faults: which clients drop which rounds.
    """
    task = _Task(self.start, rounds, epochs, batch, seed, faults)
    parts = [client.parted() for client in self.clients]
    own, aside = [part[0] for part in parts], [part[1] for part in parts]
    scores = []
    for rate in RATES:
      found = task.run(own, rate)
      rightly = [_rightly(found, part) for part in aside]
      scores.append(float(np.concatenate(rightly).mean()))
    rate = RATES[int(np.argmax(scores))]
    began = time.perf_counter()
    found = task.run(self.clients, rate)
    seconds = (time.perf_counter() - began) / len(self.clients)
    size = FLOAT_BYTES * rounds * self.start.size
    accuracy = float(_rightly(found, self.test).mean())
    return Averaged(accuracy, rate, size, size, seconds)


@dataclasses.dataclass(frozen=True)
class _Task:
  """All of FedAvg but the clients and the rate."""

  start: Floats
  rounds: int
  epochs: int
  batch: int
  seed: int
  faults: Faults

  def run(self, clients: Sequence[FloatClient], rate: float) -> Floats:
    """The head [D + 1, C] behind all rounds."""
    x = np.concatenate([client.x for client in clients])
    step = rate * 2 * len(x) / float(np.linalg.norm(x, 2)) ** 2
    weights = self.start
    for number in range(self.rounds):
      there = [
        (client, (self.seed, number, index))
        for index, client in enumerate(clients)
        if not self.faults.drops(number, index)
      ]
      if not there:
        continue
      counts = np.array([len(client.y) for client, _ in there], np.float64)
      trained = [self._descend(*own, weights, step) for own in there]
      weights = np.tensordot(counts / counts.sum(), np.stack(trained), 1)
    return weights

  def _descend(
    self,
    client: FloatClient,
    address: tuple[int, ...],
    weights: Floats,
    step: float,
  ) -> Floats:
    """Plain gradient descent on softmax cross-entropy, in shuffled batches."""
    rng = np.random.default_rng(address)
    wanted = np.eye(weights.shape[1])[client.y]
    for _ in range(self.epochs):
      order = rng.permutation(len(client.y))
      parts = max(1, round(len(order) / self.batch))
      for rows in np.array_split(order, parts):
        x = client.x[rows]
        logits = x @ weights
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        weights = weights - step * (x.T @ (p - wanted[rows])) / len(rows)
    return weights


def _rightly(weights: Floats, client: FloatClient) -> NDArray[np.bool_]:
  return (client.x @ weights).argmax(axis=1) == client.y
