"""A schedule gives the rate that its name says, in whole 2**-16."""

import math

import pytest

from tests.refusals import refused
from tflm_fg.optimizers.schedules import schedule

STEPS = 300
SHAPES = {
  "constant": lambda share: 1.0,
  "linear": lambda share: 1 - share,
  "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}


@pytest.mark.parametrize("rate", [1.0, -0.25, 12.0])
@pytest.mark.parametrize("decay", SHAPES)
def test_a_rate_follows_its_curve(decay, rate):
  made = schedule(rate, decay, STEPS)
  for step in range(STEPS + 1):
    wanted = rate * SHAPES[decay](step / STEPS) * 65536
    assert made(step) == pytest.approx(wanted, abs=2 + 2 * abs(rate))


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_last_step_still_moves_and_nothing_does_behind_it(decay):
  made = schedule(1.0, decay, STEPS)
  assert made(STEPS - 1) > 0
  assert made(STEPS) == made(STEPS + 7) == 0


def test_an_unknown_decay_and_a_rate_out_of_range_are_refused():
  refused(lambda: schedule(1.0, "steps", 9), "'steps'", "cosine")
  refused(lambda: schedule(1e9, "linear", 9), "learning_rate_lsb")
