"""The axes of a preset that adapts as a user would, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from apps.compare.analyses.accuracy import Accuracy
from apps.compare.results.analysis_rows import ADAPTATIONS
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptations:
  """Axes of `Accuracy`, whose product is run.

  Attributes:
    domains: voices of the demo, episodes, .npz files or data sets.
    seeds: of samples and training.
    methods: keys of `ADAPTATIONS`.
  """

  domains: tuple[str, ...]
  seeds: tuple[int, ...]
  methods: tuple[str, ...]

  options = ("plain_method", "plain_steps", "runtime")
  """Fields of its jobs that a flag may set."""

  def jobs(self, given: Mapping[str, Any]) -> list[Accuracy]:
    """A job for each seed and domain.

    Args:
      given: values of `options`, of the user.

    Raises:
      TflmFgError: for an unknown method.
    """
    for method in self.methods:
      if method not in ADAPTATIONS:
        raise TflmFgError(
          f"--methods: {method!r} is unknown; choose of "
          f"{', '.join(ADAPTATIONS)}"
        )
    return [
      Accuracy(domain=domain, seed=seed, methods=self.methods, **given)
      for seed in self.seeds
      for domain in self.domains
    ]
