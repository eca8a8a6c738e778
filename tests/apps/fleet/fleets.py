"""Small fleets for tests."""

from __future__ import annotations

import functools

import numpy as np

from apps.fleet.device import Device
from apps.fleet.server import Server
from tests import models
from tflm_fg import federated, methods

CLIENTS = 3


@functools.cache
def model():
  """x [1, 8] -> two layers, 4 classes."""
  return models.deep_model()


@functools.cache
def samples():
  """Samples of all clients: x [48, 8], y [48]."""
  return models.separable(samples=48)


def parts(clients=CLIENTS):
  """The same, sorted by class and cut: few classes a client."""
  x, y = samples()
  order = np.argsort(y, kind="stable")
  return [(x[rows], y[rows]) for rows in np.array_split(order, clients)]


@functools.cache
def plan(scheme="closed-form", steps=3, **settings):
  method = {
    "closed-form": methods.ClosedForm(steps=steps),
    "split": methods.SignSPSA(steps=steps, num_directions=4),
  }.get(scheme)
  return federated.plan_for(model(), scheme, method=method, **settings)


def server(scheme="closed-form", secure=False, **settings):
  own = plan(scheme, **settings)
  return Server(federated.Federation(model(), own), secure)


def device(number, clients=CLIENTS, **settings):
  x, y = parts(clients)[number]
  return Device(f"client-{number}", model(), x, y, **settings)


def devices(clients=CLIENTS):
  return [device(number, clients) for number in range(clients)]
