"""The axes of a preset that trains from scratch, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from apps.compare.forward_only import images
from apps.compare.forward_only.job import FromScratch
from apps.compare.forward_only.registry import METHODS, named


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scratch:
  """Axes of `FromScratch`, whose product is run.

  Attributes:
    domains: data, as `images.require_known` knows them.
    seeds: of samples and training.
    methods: names in the registry.
  """

  domains: tuple[str, ...]
  seeds: tuple[int, ...]
  methods: tuple[str, ...] = tuple(METHODS)

  options = ("epochs", "train_samples", "test_samples", "shots")
  """Fields of its jobs that a flag may set."""

  def jobs(self, given: Mapping[str, Any]) -> list[FromScratch]:
    """A job for each seed, data and method.

    Args:
      given: values of `options`, of the user.

    Raises:
      TflmFgError: for an unknown method, or data of another kind.
    """
    for name in self.methods:
      named(name)
    for domain in self.domains:
      images.require_known(domain)
    return [
      FromScratch(data=domain, seed=seed, method=method, **given)
      for domain in self.domains
      for seed in self.seeds
      for method in self.methods
    ]
