"""What goes wrong in a simulated fleet on purpose."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Faults:
  """Devices that do not answer, by chance and yet the same in every run.

  Attributes:
    dropout: share of the devices that do not answer a round, 0 to below 1.
    seed: which ones.
  """

  dropout: float = 0.0
  seed: int = 0

  def drops(self, number: int, device: int) -> bool:
    """Whether a device drops a round.

    Args:
      number: of the exchange in which it was asked, counted by the server.
      device: its number.
    """
    drawn = np.random.default_rng((self.seed, number, device)).random()
    return bool(drawn < self.dropout)
