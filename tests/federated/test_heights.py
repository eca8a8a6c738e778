"""A head of one round has logits as high as its weights can hold."""

from __future__ import annotations

import numpy as np

from tests.federated.fleets import MODEL, fleet, run
from tflm_fg.federated.schemes import head_schemes
from tflm_fg.fixed_point.arithmetic import WEIGHT_MAX


def saturated(server):
  kernels = np.abs(server.state.params.kernels.astype(np.int64))
  return float((kernels >= WEIGHT_MAX << 8).mean())


def test_heights_are_taken_at_which_few_weights_saturate(monkeypatch):
  own = saturated(run(*fleet("one-round", (48, 48), model=MODEL)))
  monkeypatch.setattr(head_schemes, "HEIGHTS", head_schemes.HEIGHTS[:1])
  tallest = saturated(run(*fleet("one-round", (48, 48), model=MODEL)))
  assert own <= head_schemes.MOST_LOST < tallest


def test_where_none_fits_the_lowest_of_the_heights_is_taken(monkeypatch):
  monkeypatch.setattr(head_schemes, "MOST_LOST", -1.0)
  server = run(*fleet("one-round", (96,)))
  monkeypatch.setattr(head_schemes, "HEIGHTS", head_schemes.HEIGHTS[-1:])
  lowest = run(*fleet("one-round", (96,)))
  assert server.masters_sha256 == lowest.masters_sha256
