"""Rounding loses nothing it should keep, and the box holds what moves in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import models
from tflm_fg.fixed_point import layout, masters
from tflm_fg.fixed_point.state import OptimizerState
from tflm_fg.gradients.perturbation import WeightBuffers
from tflm_fg.optimizers import transforms
from tflm_fg.optimizers.frank_wolfe import frank_wolfe
from tflm_fg.optimizers.kinds import OPTIMIZERS, ROUNDINGS
from tflm_fg.optimizers.rounding import FINE_BITS, Rounding, perturbation_dither
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.types import Params, TflmFgError, Vectors

MARKED = mark_file(models.dense_model(), "all")
LAYOUT = layout.Layout(MARKED.mark.trainable)
START = LAYOUT.params(weights_of(MARKED.data, MARKED.mark.trainable))
NUMBERS = LAYOUT.num_kernels + LAYOUT.num_biases


def rounding_of(kind, precision="16w8a", seed=0):
  return Rounding(layout=LAYOUT, kind=kind, precision=precision, seed=seed)


def flat(vectors):
  return np.concatenate(vectors, dtype=np.int64)


def unit_of(precision):
  """One of what an update is whole in, in 1/16 of a master or bias unit."""
  unit = np.full(NUMBERS, 16)
  unit[: LAYOUT.num_kernels] = 16 * 256 if precision == "8w8a" else 16
  return unit


@settings(max_examples=30, deadline=None)
@given(
  seed=st.integers(0, 2**32 - 1),
  size=st.sampled_from([3, 40, 5000, 2**20]),
  precision=st.sampled_from(["16w8a", "8w8a"]),
)
def test_error_feedback_loses_nothing(seed, size, precision):
  """All updates together are what was asked for, within half a whole step."""
  rounding = rounding_of("error-feedback", precision)
  state = OptimizerState(residue=rounding.init(START))
  unrounded_sum, moved = (
    np.zeros(NUMBERS, np.int64),
    np.zeros(NUMBERS, np.int64),
  )
  random = np.random.default_rng(seed)
  for step in range(20):
    unrounded = random.integers(-size, size + 1, NUMBERS)
    updates, state = rounding(unrounded.copy(), FINE_BITS, state, step)
    unrounded_sum += unrounded
    moved += flat(updates) * 16
    assert (2 * np.abs(unrounded_sum - moved) <= unit_of(precision)).all()
  assert all(r.dtype == np.int16 for r in state.residue)


@pytest.mark.parametrize("precision", ["16w8a", "8w8a"])
def test_what_is_kept_back_moves_no_number_by_itself(precision):
  rounding = rounding_of("error-feedback", precision)
  state = OptimizerState(residue=rounding.init(START))
  half = unit_of(precision) // 2
  for unrounded in (half, -half, half - 1):
    _, state = rounding(unrounded.copy(), FINE_BITS, state, 0)
    for step in range(3):
      none = np.zeros(NUMBERS, np.int64)
      updates, state = rounding(none, FINE_BITS, state, step)
      assert not flat(updates).any()


@pytest.mark.parametrize("precision", ["16w8a", "8w8a"])
@pytest.mark.parametrize("share", [-0.7, 0.1, 0.5])
def test_stochastic_rounding_is_unbiased_and_one_address_gives_it_again(
  precision, share
):
  unit = unit_of(precision)
  unrounded = np.floor(unit * share).astype(np.int64)
  rounding, same = (
    rounding_of("stochastic", precision),
    rounding_of("stochastic", precision),
  )
  total = np.zeros(NUMBERS)
  for step in range(400):
    updates, _ = rounding(unrounded.copy(), FINE_BITS, OptimizerState(), step)
    total += flat(updates) * 16
  again, _ = same(unrounded.copy(), FINE_BITS, OptimizerState(), 399)
  assert np.array_equal(flat(again), flat(updates))
  off = (total / 400 - unrounded) / unit
  assert abs(off.mean()) < 5 * 0.5 / (400 * NUMBERS) ** 0.5
  assert np.abs(off).max() < 5 * 0.5 / 400**0.5
  other = rounding_of("stochastic", precision, seed=1)
  assert not np.array_equal(
    flat(other(unrounded.copy(), FINE_BITS, OptimizerState(), 399)[0]),
    flat(again),
  )


def test_whole_updates_are_the_same_under_every_rounding():
  unrounded = np.random.default_rng(0).integers(-9, 10, NUMBERS) * 16
  for kind in ROUNDINGS:
    rounding = rounding_of(kind)
    state = OptimizerState(residue=rounding.init(START))
    updates, _ = rounding(unrounded.copy(), FINE_BITS, state, 3)
    assert np.array_equal(flat(updates) * 16, unrounded)


def test_steps_under_half_a_unit_are_lost_to_the_nearest_alone():
  """A hundred steps of 0.3 units each."""
  moved = {}
  for kind in ROUNDINGS:
    rounding = rounding_of(kind)
    state = OptimizerState(residue=rounding.init(START))
    total = np.zeros(NUMBERS, np.int64)
    for step in range(100):
      unrounded = np.full(NUMBERS, 5)
      updates, state = rounding(unrounded, FINE_BITS, state, step)
      total += flat(updates)
    moved[kind] = total
  assert not moved["nearest"].any()
  assert set(moved["error-feedback"]) == {31}
  assert moved["stochastic"].mean() == pytest.approx(31.25, rel=0.05)


def test_the_sides_of_a_pair_share_their_dither():
  """So weights that differ by eps z differ by no more after rounding."""
  dither = perturbation_dither(LAYOUT, 5)
  assert np.array_equal(dither(3), perturbation_dither(LAYOUT, 5)(3))
  assert not np.array_equal(dither(3), dither(4))
  assert dither(3).min() >= 0
  assert dither(3).max() <= 255
  sides = WeightBuffers(LAYOUT, 1)
  delta = Vectors(
    np.full((1, LAYOUT.num_kernels), 0), np.zeros((1, LAYOUT.num_biases), int)
  )
  masters = Params(START.kernels // 2 + 77, START.biases)
  plus, minus = sides.move(masters, delta, dither(3))
  for a, b in zip(plus, minus):
    assert np.array_equal(a, b)
  means = np.zeros(LAYOUT.num_kernels)
  for step in range(600):
    one, _ = sides.move(masters, delta, dither(step))
    kernels = [w for w, t in zip(one, LAYOUT.tensors) if t.has_master]
    means += np.concatenate([w.reshape(-1) for w in kernels]) / 600
  off = means - masters.kernels / 256
  assert np.abs(off).max() < 5 * 0.5 / 600**0.5
  assert abs(off.mean()) < 0.01


@settings(max_examples=25, deadline=None)
@given(
  seed=st.integers(0, 2**32 - 1),
  rate=st.sampled_from([0.01, 0.7, 30.0, 127.0, -30.0]),
  momentum=st.sampled_from([0.0, 0.9]),
  kind=st.sampled_from(ROUNDINGS),
  precision=st.sampled_from(["16w8a", "8w8a"]),
)
def test_frank_wolfe_stays_in_the_box(seed, rate, momentum, kind, precision):
  random = np.random.default_rng(seed)
  rounding = rounding_of(kind, precision)
  optimizer = frank_wolfe(
    LAYOUT, schedule(rate, "constant", 1), momentum, rounding
  )
  params, state = START, optimizer.init(START)
  half = 127 * LAYOUT.step_units.biases
  for step in range(15):
    gradient = Vectors(*(random.integers(-9999, 9999, len(p)) for p in params))
    updates, state = optimizer.update(gradient, state, params, step)
    whole = params.kernels.astype(np.int64) + updates.kernels
    assert np.abs(whole).max() <= 127 * 256  # before anything saturates
    params = masters.apply_updates(params, updates)
    away = params.biases.astype(np.int64) - START.biases
    assert (np.abs(away) <= half).all()


def test_frank_wolfe_goes_the_whole_way_at_the_highest_rate():
  optimizer = frank_wolfe(LAYOUT, schedule(127.0, "constant", 1))
  gradient = Vectors(*(np.where(np.arange(len(p)) % 2, 5, -5) for p in START))
  updates, _ = optimizer.update(gradient, optimizer.init(START), START, 0)
  end = masters.apply_updates(START, updates)
  corner = -127 * np.sign(gradient.kernels)
  assert np.array_equal(end.kernels, corner * 256)
  away = end.biases.astype(np.int64) - START.biases
  assert np.array_equal(
    away, -127 * np.sign(gradient.biases) * LAYOUT.step_units.biases
  )


def turns(step):
  """Slopes of which others are zero in every step; every sixth always is."""
  place = [np.arange(len(p)) for p in START]
  alone = [(n % 6 == 0) | ((n + step) % 3 == 0) for n in place]
  return Vectors(*(np.where(a, 0, 60_000) for a in alone))


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("rounds", ROUNDINGS)
def test_a_number_without_a_gradient_stays_where_it_is(kind, rounds):
  """In every step, whatever the steps before it did."""
  optimizer = OPTIMIZERS[kind].make(
    LAYOUT, schedule(2.0, "constant", 1), 0.0, rounding_of(rounds)
  )
  params, state = START, optimizer.init(START)
  for step in range(7):
    gradient = turns(step)
    updates, state = optimizer.update(gradient, state, params, step)
    for update, slope in zip(updates, gradient):
      assert not update[slope == 0].any()
      assert (update[slope > 0] < 0).all()
    params = masters.apply_updates(params, updates)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("rounds", ROUNDINGS)
def test_momentum_carries_on_what_has_a_gradient_no_more(kind, rounds):
  """The way it went, until it dies out; what never moved is not carried."""
  optimizer = OPTIMIZERS[kind].make(
    LAYOUT, schedule(0.5, "constant", 1), 0.8, rounding_of(rounds)
  )
  params, state = START, optimizer.init(START)
  for step in range(7):
    updates, state = optimizer.update(turns(step), state, params, step)
    for update in updates:
      never = np.arange(len(update)) % 6 == 0
      assert not update[never].any()
      assert (update[~never] < 0).all() or step == 0
    params = masters.apply_updates(params, updates)
  nothing = Vectors(*(np.zeros(len(p), np.int64) for p in START))
  for step in range(7, 80):
    updates, state = optimizer.update(nothing, state, params, step)
    params = masters.apply_updates(params, updates)
  assert not flat(updates).any() and not flat(state.velocity).any()


def test_the_sign_moves_every_number_by_the_rate():
  optimizer = transforms.sign(LAYOUT, schedule(0.75, "constant", 1))
  gradient = Vectors(
    *(np.where(np.arange(len(p)) % 2, 1, -(10**7)) for p in START)
  )
  updates, _ = optimizer.update(gradient, optimizer.init(START), START, 0)
  assert set(updates.kernels) == {-192, 192}
  steps = LAYOUT.step_units.biases
  assert (np.abs(np.abs(updates.biases) - 0.75 * steps) <= 0.5).all()


def test_a_frank_wolfe_rate_beyond_the_corner_is_refused():
  with pytest.raises(TflmFgError, match="learning_rate_lsb=128"):
    frank_wolfe(LAYOUT, schedule(128.0, "linear", 10))


@pytest.mark.parametrize("momentum", [1.0, -0.1, float("nan")])
@pytest.mark.parametrize("kind", list(OPTIMIZERS))
def test_a_momentum_out_of_range_is_refused(kind, momentum):
  rate = schedule(1.0, "constant", 1)
  with pytest.raises(TflmFgError, match="momentum="):
    OPTIMIZERS[kind].make(LAYOUT, rate, momentum)


@settings(max_examples=60)
@given(
  st.integers(-(1 << 40), 1 << 40),
  st.integers(-(1 << 32), 1 << 32),
  st.integers(0, (1 << 31) - 1),
)
def test_no_slope_rate_or_step_makes_a_move_wrap(slope, rate, units):
  """The widest product needs 64 bits and has them."""
  moved = transforms._scaled(np.array([slope]), np.array([units]), rate)
  steps = max(min(slope, (1 << 31) - 1), 1 - (1 << 31)) * rate >> 16
  exact = max(min(steps, 1 << 31), -(1 << 31)) * units
  away = (abs(exact) + (1 << 11)) >> 12
  assert moved.tolist() == [away if exact >= 0 else -away]
