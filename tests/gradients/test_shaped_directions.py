"""Directions that know the state: masked, scaled by norms, and guided."""

import dataclasses

import numpy as np
import pytest

from tests import models
from tests.options import method_of, options
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import OptimizerState, TrainState
from tflm_fg.gradients.directions import NORMAL_UNIT, Directions
from tflm_fg.gradients.shaped_directions import (
  LEAST,
  UNIT,
  Masks,
  Shaped,
  kernel_factors,
)
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.types import Params, TflmFgError, Vectors

MARKED = mark_file(models.conv_model(), "prompt,all")
LAYOUT = Layout(MARKED.mark.trainable)
PARAMS = LAYOUT.params(weights_of(MARKED.data, MARKED.mark.trainable))
NUMBERS = LAYOUT.num_kernels + LAYOUT.num_biases
KERNELS = [(t, w) for t, w in LAYOUT.places if t.role == "kernel"]


def state_of(step=0, params=PARAMS, velocity=None):
  optimizer = OptimizerState()
  if velocity is not None:
    optimizer = OptimizerState(velocity=velocity)
  return TrainState(step, params, optimizer)


def masks_of(**options):
  return Masks(layout=LAYOUT, seed=3, **options)


def shaped(kind="rademacher", **options):
  drawn = Directions(LAYOUT, 3, kind)
  return Shaped(layout=LAYOUT, drawn=drawn, **options)


def velocity_of(seed=0):
  random = np.random.default_rng(seed)
  return Vectors(
    random.integers(-3000, 3000, LAYOUT.num_kernels).astype(np.int16),
    random.integers(-900, 900, LAYOUT.num_biases).astype(np.int32),
  )


# Masks.


@pytest.mark.parametrize("sparse_by", ["magnitude", "seed"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.999])
def test_the_share_of_every_kernel_is_left_alone_and_the_rest_trains(
  sparsity, sparse_by
):
  free = masks_of(sparsity=sparsity, sparse_by=sparse_by).of(state_of())
  for tensor, where in KERNELS:
    alone = tensor.size - free[where].sum()
    assert alone == int(sparsity * tensor.size)
  others = np.ones(NUMBERS, bool)
  for _, where in KERNELS:
    others[where] = False
  assert others.any()
  assert free[others].all()  # biases, offsets and gains


def test_by_magnitude_the_smallest_masters_of_the_step_are_left_alone():
  masks = masks_of(sparsity=0.5)
  for params in (PARAMS, Params(PARAMS.kernels[::-1].copy(), PARAMS.biases)):
    free = masks.of(state_of(params=params))
    for _, where in KERNELS:
      sizes = np.abs(params.kernels[where].astype(int))
      assert sizes[free[where]].min() >= sizes[~free[where]].max()


def test_among_equals_an_address_decides_and_not_the_order():
  """A kernel of zeros must not train its first rows alone."""
  zeros = Params(np.zeros_like(PARAMS.kernels), PARAMS.biases)
  free = masks_of(sparsity=0.5).of(state_of(params=zeros))
  tensor, where = max(KERNELS, key=lambda k: k[0].size)
  first = free[where][: tensor.size // 2].mean()
  assert 0.25 < first < 0.75


def test_by_seed_the_same_are_left_alone_in_the_whole_run():
  masks = masks_of(sparsity=0.5, sparse_by="seed")
  moved = Params(PARAMS.kernels[::-1].copy(), PARAMS.biases)
  first = masks.of(state_of())
  assert np.array_equal(first, masks.of(state_of(77, moved)))
  other = dataclasses.replace(masks, seed=4).of(state_of())
  assert not np.array_equal(first, other)


@pytest.mark.parametrize("guidance", [0.0, 0.5])
def test_a_block_a_direction_moves_every_block_in_every_step(guidance):
  masks = masks_of(blocks=2, turns="direction")
  state = state_of(5, velocity=velocity_of())
  z = shaped(masks=masks, guidance=guidance).of(state, 4)
  by_step = masks_of(blocks=2)
  first, second = (by_step.of(state_of(step)) for step in (0, 1))
  for number, row in enumerate(z):
    own, other = (first, second) if number % 2 == 0 else (second, first)
    assert (row[own] != 0).mean() > 0.5
    assert not row[other].any()


@pytest.mark.parametrize("blocks", [1, 2, 3, 1000])
def test_blocks_of_layers_take_turns_and_all_get_theirs(blocks):
  layers = sorted({t.operator for t in LAYOUT.tensors})
  turns = min(blocks, len(layers))
  masks = masks_of(blocks=blocks)
  seen = [masks.of(state_of(step)) for step in range(turns)]
  assert (np.sum(seen, axis=0) == 1).all()
  assert np.array_equal(masks.of(state_of(turns)), seen[0])
  for free in seen:
    own = {
      t.operator
      for t, where in LAYOUT.places
      if free[(0 if t.has_master else LAYOUT.num_kernels) + where.start]
    }
    first = layers.index(min(own))
    assert sorted(own) == layers[first : first + len(own)]


def test_a_mask_leaves_the_draw_of_the_others_as_it_was():
  masks = masks_of(sparsity=0.5, blocks=2)
  plain, masked = shaped(), shaped(masks=masks)
  for step in (0, 1, 200):
    free = masks.of(state_of(step))
    z = masked.of(state_of(step), 3)
    assert masked.unit == 1
    assert np.array_equal(z, plain.of(state_of(step), 3) * free)


# Norms.


def test_every_output_kernel_is_scaled_by_its_norm_over_the_tensors():
  factors = kernel_factors(LAYOUT, PARAMS.kernels) / UNIT
  for tensor, where in LAYOUT.places:
    if tensor.role == "bias":
      continue
    own = factors[where].reshape(tensor.shape)
    if tensor.role != "kernel":
      assert set(own.ravel()) == {1.0}
      continue
    rows = PARAMS.kernels[where].reshape(tensor.shape).astype(float)
    axis = tensor.channel_axis
    norms = np.linalg.norm(
      np.moveaxis(rows, axis, 0).reshape(rows.shape[axis], -1), axis=1
    )
    want = norms / np.sqrt((norms**2).mean())
    got = np.moveaxis(own, axis, 0).reshape(rows.shape[axis], -1)
    assert (got == got[:, :1]).all()
    low = np.maximum(want, LEAST / UNIT)
    assert np.abs(got[:, 0] - low).max() <= 0.51 / UNIT


def test_a_kernel_of_zeros_can_leave_zero():
  zeros = np.zeros_like(PARAMS.kernels)
  assert set(kernel_factors(LAYOUT, zeros)) == {UNIT}
  tensor, where = KERNELS[0]
  one = PARAMS.kernels.copy()
  rows = np.moveaxis(one[where].reshape(tensor.shape), tensor.channel_axis, 0)
  rows[0] = 0
  assert (kernel_factors(LAYOUT, one) >= LEAST).all()


@pytest.mark.parametrize("kind", ["rademacher", "normal"])
def test_a_scaled_direction_is_the_draw_times_the_factor(kind):
  z = shaped(kind, kernel_wise=True).of(state_of(5), 4)
  drawn = Directions(LAYOUT, 3, kind)
  plain = drawn.of(state_of(5), 4) / drawn.unit
  factors = np.ones(NUMBERS)
  factors[: LAYOUT.num_kernels] = kernel_factors(LAYOUT, PARAMS.kernels) / UNIT
  assert z.dtype == np.int8
  want = np.clip(plain * factors, -127 / UNIT, 127 / UNIT)
  assert np.abs(z / UNIT - want).max() <= 0.5 / UNIT


# Guidance.


def in_steps(velocity):
  v = np.concatenate(velocity, dtype=float)
  return v / np.concatenate(LAYOUT.step_units)


@pytest.mark.parametrize("b", [0.25, 0.5, 0.9])
def test_a_guided_direction_mixes_the_draw_with_the_velocity(b):
  velocity = velocity_of()
  z = shaped(guidance=b).of(state_of(2, velocity=velocity), 64) / UNIT
  fresh = Directions(LAYOUT, 3).of(state_of(2), 64)
  v = in_steps(velocity)
  b = round(b * 256) / 256
  ahead = v / np.linalg.norm(v) * NUMBERS**0.5
  want = (1 - b * b) ** 0.5 * fresh + b * ahead
  inside = np.abs(want) < 3.9
  assert np.abs(z - want)[inside].max() < 0.75 / UNIT + 0.01
  cosines = z @ v / np.linalg.norm(z, axis=1) / np.linalg.norm(v)
  assert cosines.mean() == pytest.approx(b, abs=0.06)


@pytest.mark.parametrize("velocity", [None, "zero"])
def test_without_a_velocity_there_is_nothing_to_follow(velocity):
  if velocity:
    velocity = Vectors(*(0 * v for v in velocity_of()))
  z = shaped(guidance=0.5).of(state_of(velocity=velocity), 2)
  plain = Directions(LAYOUT, 3).of(state_of(), 2)
  assert np.array_equal(z, plain * UNIT)


def test_guidance_counts_only_the_numbers_that_may_move():
  """d and |v| are of the block whose turn it is."""
  velocity = velocity_of()
  masks = masks_of(blocks=2)
  for step in (0, 1):
    state = state_of(step, velocity=velocity)
    free = masks.of(state)
    z = shaped(guidance=0.9, masks=masks).of(state, 32)
    assert not z[:, ~free].any()
    part = z[:, free] / UNIT
    assert (part**2).mean() == pytest.approx(1, abs=0.1)
    v = in_steps(velocity)[free]
    cosines = part @ v / np.linalg.norm(part, axis=1) / np.linalg.norm(v)
    assert cosines.mean() == pytest.approx(0.9, abs=0.06)


def test_a_huge_velocity_guides_as_a_small_one_does():
  small = velocity_of()
  huge = Vectors(
    small.kernels, (small.biases.astype(np.int64) * 2_000_000).astype(np.int32)
  )
  for velocity in (small, huge):
    state = state_of(velocity=velocity)
    z = shaped(guidance=0.5).of(state, 8)
    assert np.abs(z).max() <= 127
    assert np.abs(z).mean() > UNIT / 4


# What a user asks for.


def test_plain_directions_are_drawn_without_a_detour():
  """Cached lots of steps, as steps must stay cheap."""
  plain = method_of("sign-m-spsa", epsilon_lsb=2.0)
  source = plain.estimator(LAYOUT, 1).directions
  assert type(source) is Directions
  for own in ({"kernel_wise": True}, {"sparsity": 0.5}, {"blocks": 2}):
    other = dataclasses.replace(plain, **own)
    assert type(other.estimator(LAYOUT, 1).directions) is Shaped


def test_the_unit_is_that_of_the_draw_unless_something_is_mixed_in():
  assert shaped("normal", masks=masks_of(blocks=2)).unit == NORMAL_UNIT
  assert shaped().unit == 1
  assert shaped(kernel_wise=True).unit == shaped(guidance=0.1).unit == UNIT


@pytest.mark.parametrize("momentum", [None, 0.0])
def test_guidance_without_momentum_is_refused(momentum):
  with pytest.raises(TflmFgError, match=r"guidance=0\.5.*momentum"):
    options(guidance=0.5, momentum=momentum)
