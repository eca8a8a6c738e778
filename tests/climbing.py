"""Let training climb, to show that descending is no accident of signs."""

from __future__ import annotations

import pytest

from tflm_fg.optimizers.schedules import Schedule, schedule
from tflm_fg.training import build


def reverse_rates(monkeypatch: pytest.MonkeyPatch) -> None:
  """Every step goes the other way from now on; no user can ask for that."""

  def reversed_schedule(rate: float, decay: str, steps: int) -> Schedule:
    return schedule(-rate, decay, steps)

  monkeypatch.setattr(build, "schedule", reversed_schedule)
