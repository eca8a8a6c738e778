"""What clipping bounds, what noise hides, and what is said of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tests.federated.fleets import MODEL, fleet, run
from tflm_fg import federated, methods
from tflm_fg.federated import noise, privacy
from tflm_fg.federated.fields import Field
from tflm_fg.federated.schemes.known import releases_of
from tflm_fg.types import TflmFgError

FIELD = Field("sums", 4, -10, 10)


@pytest.mark.parametrize("variance", [1, 9, 400])
def test_the_noise_is_the_discrete_gaussian(variance):
  drawn = noise.discrete_gaussian(1500, variance, noise.below_of(3))
  reach = np.arange(-200, 201)
  shares = np.exp(-(reach**2) / (2 * variance))
  shares /= shares.sum()
  assert abs(drawn.mean()) < 4 * math.sqrt(variance / 1500)
  assert abs(drawn.var() / (reach**2 @ shares) - 1) < 0.16
  for value in (-1, 0, 1):
    wanted = shares[reach == value][0]
    found = (drawn == value).mean()
    assert abs(found - wanted) < 4 * math.sqrt(wanted / 1500)


def test_one_seed_draws_the_same_and_none_draws_anew():
  draws = [
    noise.discrete_gaussian(20, 10**9, noise.below_of(seed)).tolist()
    for seed in (1, 1, 2, None, None)
  ]
  assert draws[0] == draws[1]
  assert len({tuple(d) for d in draws}) == 4
  assert not noise.discrete_gaussian(5, 0, noise.below_of(1)).any()


@pytest.mark.parametrize("most", [1, 2, 3, 200, 257, 1 << 70])
def test_whole_numbers_are_drawn_below_their_bound(most):
  drawn = [noise.below_of(5)(most) for _ in range(5)]
  assert all(0 <= n < most for n in drawn)


def test_no_vector_is_longer_than_its_clip():
  random = np.random.default_rng(0)
  for size in (1, 7, 300):
    numbers = random.integers(-(1 << 40), 1 << 40, size)
    for length in (1, 1000, 1 << 39, 1 << 45):
      short = privacy.clipped(numbers, length)
      assert sum(int(n) ** 2 for n in short) <= length**2
      assert (np.abs(short) <= np.abs(numbers)).all()
  np.testing.assert_array_equal(privacy.clipped(np.array([3, 4]), 5), [3, 4])


@pytest.mark.parametrize(
  ("rho", "delta", "low", "high"),
  [
    # Bun and Steinke's simple bound, rho + 2 sqrt(rho log(1 / delta)), is
    # above, and the exact Gaussian's epsilon is below.
    (0.5, 1e-5, 4.0, 0.5 + 2 * math.sqrt(0.5 * math.log(1e5))),
    (0.01, 1e-6, 0.4, 0.01 + 2 * math.sqrt(0.01 * math.log(1e6))),
    (8.0, 1e-5, 20.0, 8 + 2 * math.sqrt(8 * math.log(1e5))),
  ],
)
def test_epsilon_is_below_the_simple_bound(rho, delta, low, high):
  assert low < federated.epsilon_of(rho, delta) < high
  assert federated.epsilon_of(0, delta) == 0


def test_a_multiplier_keeps_to_its_epsilon():
  for epsilon in (0.5, 3.0, 50.0):
    m = federated.multiplier_for(epsilon, 1e-5, 86)
    own = federated.Privacy(noise_multiplier=m)
    assert own.epsilon(86) <= epsilon < own.epsilon(88)
    assert own.rho(86) == pytest.approx(86 / 2 / m**2)
  with pytest.raises(TflmFgError, match=r"epsilon=0: need 0\.0001"):
    federated.multiplier_for(0, 1e-5, 86)


@pytest.mark.parametrize(
  ("changes", "cause"),
  [
    ({"noise_multiplier": 0}, "noise_multiplier=0: need 0.001"),
    ({"noise_multiplier": True}, "noise_multiplier=True: need a number"),
    ({"clip": 2.0}, "clip=2.0: need 1e-06 to 1"),
    ({"delta": "small"}, "delta='small': need a number"),
    ({"unit": "house"}, "unit 'house' is unknown"),
    ({"where": "cloud"}, "where 'cloud' is unknown"),
  ],
)
def test_a_setting_that_hides_nothing_is_refused(changes, cause):
  with pytest.raises(TflmFgError, match=cause):
    federated.Privacy(**{"noise_multiplier": 1.0, **changes})


@pytest.mark.parametrize("scheme", federated.SCHEMES)
def test_one_sample_moves_no_field_by_more_than_twice_its_clip(scheme):
  """Before noise, on the wire: the sensitivity that the epsilon is told for."""
  own = federated.Privacy(noise_multiplier=1.0, clip=0.01, where="server")
  server, (one,) = fleet(scheme, (12,), privacy=own)
  fields, _, before = one.sums()
  one.y[3] = (one.y[3] + 1) % 4
  for array in one._open.inputs:
    array[3] = array[5]
  _, _, after = one.sums()
  most = server.plan.most_samples
  for field, a, b in zip(fields, before, after):
    moved = sum(int(n) ** 2 for n in a - b)
    if field.name == "loss":
      assert not a.any() and not b.any()
    elif field.name == "samples of blocks":
      assert not moved
    else:
      assert moved <= (2 * privacy.clip_of(field, own, most)) ** 2


@pytest.mark.parametrize("where", ["server", "device"])
@pytest.mark.parametrize("unit", ["sample", "client"])
def test_a_fleet_with_noise_ends_and_its_masters_are_equal(unit, where):
  own = federated.Privacy(
    noise_multiplier=0.5, clip=0.1, unit=unit, where=where
  )
  settings = {
    "method": methods.ClosedForm(steps=2),
    "privacy": own,
    "most_samples": 64,
  }
  server = run(*fleet("closed-form", (48, 48), **settings))
  again = run(*fleet("closed-form", (48, 48), **settings))
  exact = run(*fleet("closed-form", (48, 48), method=settings["method"]))
  assert server.steps == again.steps  # one seed, the same noise
  assert server.masters_sha256 != exact.masters_sha256
  assert [r.loss for r in server.rounds] == [None] * 3


def test_one_round_with_noise_still_gives_a_head():
  own = federated.Privacy(noise_multiplier=3.0, clip=0.5, where="server")
  server = run(*fleet("one-round", (48, 48), privacy=own))
  assert server.state.params.kernels.any()


def test_a_client_cannot_hide_a_lie_in_noise():
  own = federated.Privacy(noise_multiplier=0.01, clip=0.01)
  server, (one, _) = fleet("closed-form", (48, 48), privacy=own)
  sent = one.sums()
  sums = [s.copy() for s in sent.sums]
  sums[0][0] = 48 * 100
  lie = one.message(1, 48, [one.client], sums).to_bytes()
  assert "inputs[0] is 4800" in server.accept(lie).reason
  assert server.accept(one.contribute()).taken


def test_the_plan_carries_its_privacy():
  own = federated.Privacy(noise_multiplier=1.5, unit="client")
  server, _ = fleet("closed-form", (96,), privacy=own)
  plan = federated.Plan.from_bytes(server.plan.to_bytes())
  assert plan.privacy == own
  assert plan.digest != dataclasses.replace(plan, privacy=None).digest


@pytest.mark.parametrize(
  ("scheme", "gain", "releases"),
  [
    ("closed-form", False, 3 + 2 * 42),
    ("one-round", False, 4),
    ("signs", False, 100),
    ("split", False, 2 * 100),
    ("per-sample", True, 80),
  ],
)
def test_every_field_of_every_round_counts(scheme, gain, releases):
  plan = federated.plan_for(MODEL, scheme, gain=gain)
  at = federated.Federation(MODEL, plan).standing
  assert releases_of(scheme, at, plan.rounds) == releases


def test_what_noise_alone_makes_is_taken_off():
  drawn = noise.discrete_gaussian(400, 10**8, noise.below_of(7))
  alone = privacy.shrunk(drawn, 10**8)
  assert np.abs(alone).max() < 0.2 * np.abs(drawn).max()
  strong = drawn + 10**6
  kept = privacy.shrunk(strong, 10**8)
  assert (np.abs(kept) <= np.abs(strong)).all()
  assert (np.abs(kept) > 0.999 * np.abs(strong)).all()
  assert not privacy.shrunk(np.zeros(3, np.int64), 5).any()
  wide = privacy.shrunk(np.full(3, 1 << 60), 1)
  assert (wide > (1 << 60) * 0.9999).all()


@pytest.mark.parametrize("scheme", ["closed-form", "one-round"])
def test_a_fleet_of_noise_alone_does_no_harm(scheme):
  method = methods.ClosedForm(steps=2)
  learned = run(*fleet(scheme, (96,), method=method))
  model = federated.apply(MODEL, learned.plan, learned.steps)
  own = federated.Privacy(noise_multiplier=3000.0, where="server")
  server, (one,) = fleet(scheme, (96,), model=model, method=method, privacy=own)
  before = one.score().accuracy
  run(server, [one])
  assert one.score().accuracy > before - 0.1


@pytest.mark.parametrize("where", ["server", "device"])
def test_noise_is_a_multiple_of_what_a_unit_can_change(where):
  own = federated.Privacy(noise_multiplier=2.0, where=where)
  field = Field("sums", 600, -10, 10, clip=50)
  drawn = privacy.hidden(
    [np.zeros(600, np.int64)], [field], own, 64, noise.below_of(4)
  )[0]
  # Two inputs that are neighbours are up to twice the clip apart.
  assert drawn.std() == pytest.approx(2.0 * 2 * 50, rel=0.1)
  clients = 9 if where == "device" else 1
  variance = privacy.variance_of(field, own, 9, 64)
  assert variance == (2.0 * 2 * 50) ** 2 * clients
