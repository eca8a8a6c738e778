"""Each method learns, and one seed gives one network."""

import numpy as np
import pytest

from apps.compare.forward_only import (
  METHODS,
  forward_forward,
  networks,
  tinyfoa,
)
from apps.compare.forward_only.descent import Adam, Momentum, batches
from apps.compare.forward_only.networks import Layer
from tflm_fg.types import TflmFgError

WIDTHS = (12, 32, 24, 3)


def trained(name, toy, seed=0, epochs=12, **others):
  x, y = toy
  method = METHODS[name]
  return method.train(
    method.start(WIDTHS, seed), x, y, epochs=epochs, seed=seed, **others
  )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_a_small_problem_far_above_chance(name, toy):
  x, y = toy
  before = networks.error(METHODS[name].start(WIDTHS, 0), x, y)
  rate = 3.0 if name.startswith("tinyfoa") else 1.0  # it has few steps a layer
  after = networks.error(trained(name, toy, epochs=100, rate=rate), x, y)
  assert after < 0.25 < before


@pytest.mark.parametrize("name", METHODS)
def test_one_seed_gives_one_network_and_another_seed_another(name, toy):
  one, two, other = (trained(name, toy, seed, 2) for seed in (0, 0, 1))
  assert [layer.kernel.tobytes() for layer in one.layers] == [
    layer.kernel.tobytes() for layer in two.layers
  ]
  assert one.layers[0].kernel.tobytes() != other.layers[0].kernel.tobytes()


@pytest.mark.parametrize("name", METHODS)
def test_training_leaves_the_network_that_it_was_given(name, toy):
  x, y = toy
  start = METHODS[name].start(WIDTHS, 0)
  before = [layer.kernel.copy() for layer in start.layers]
  METHODS[name].train(start, x, y, epochs=1, seed=0)
  for layer, kernel in zip(start.layers, before):
    np.testing.assert_array_equal(layer.kernel, kernel)


def test_pepita_has_no_biases(toy):
  for layer in trained("pepita", toy).layers:
    assert not layer.bias.any()


def test_tinyfoa_never_trains_its_last_layer_and_stays_within_1(toy):
  network = trained("tinyfoa", toy, rate=100.0)
  start = METHODS["tinyfoa"].start(WIDTHS, 0)
  np.testing.assert_array_equal(
    network.layers[-1].kernel, start.layers[-1].kernel
  )
  for layer in network.layers[:-1]:
    assert np.abs(layer.kernel).max() == 1
    assert layer.step > 0


def test_all_blocks_of_a_layer_have_had_a_turn_in_the_end(toy):
  x, y = toy
  network = METHODS["tinyfoa-float"].start(WIDTHS, 0)
  judge = tinyfoa.classifier(network, 0, 0)
  trainer = tinyfoa.LayerTrainer(network, judge, 0.01, (0, 0))
  layer = network.layers[0]
  changed = trainer.train(layer, x, y, 2).kernel != layer.kernel  # 8 steps
  for block in tinyfoa.blocks_of(12, 32):
    assert changed[block].any()


def test_only_the_block_of_the_first_turn_moves_in_the_first_turn(toy):
  x, y = toy
  network = METHODS["tinyfoa-float"].start(WIDTHS, 0)
  judge = tinyfoa.classifier(network, 0, 0)
  trainer = tinyfoa.LayerTrainer(network, judge, 0.01, (0, 0))
  layer = network.layers[0]
  moved = trainer.train(layer, x[:64], y[:64], 1)  # one step
  changed = moved.kernel != layer.kernel
  first, *others = tinyfoa.blocks_of(12, 32)
  assert changed[first].any()
  assert not any(changed[block].any() for block in others)


def test_wrong_labels_are_all_others_and_never_the_right_one():
  y = np.arange(3000) % 3
  found = forward_forward.wrong_labels(y, 3, np.random.default_rng(0))
  counts = np.zeros((3, 3))
  np.add.at(counts, (y, found), 1)
  assert not counts.diagonal().any()
  assert counts[~np.eye(3, dtype=bool)].min() > 400


def test_labels_are_written_over_the_first_inputs_and_nothing_else():
  x = np.full((2, 5), 0.5, np.float32)
  found = forward_forward.labelled(x, np.array([2, 0]), 3)
  np.testing.assert_array_equal(
    found, [[0, 0, 1, 0.5, 0.5], [1, 0, 0, 0.5, 0.5]]
  )
  assert (x == 0.5).all()


def test_forward_forward_does_not_read_the_pixels_under_its_label(toy):
  x, _ = toy
  network = trained("forward-forward", toy, epochs=2)
  other = x.copy()
  other[:, :3] = 0.7
  np.testing.assert_array_equal(network.logits(x), network.logits(other))


def test_goodness_tells_classes_too(toy):
  x, y = toy
  network = trained("forward-forward", toy, epochs=40)
  found = forward_forward.goodness(network, x).argmax(axis=1)
  assert (found == y).mean() > 0.6


def test_momentum_and_adam_are_their_formulas():
  momentum = Momentum(0.1)
  x = [np.float32([1.0])]
  for expected in (0.8, 0.42):  # velocities 2 and 3.8
    x = momentum.step(x, [np.float32([2.0])])
    assert x[0][0] == pytest.approx(expected)
  adam = Adam(0.1)
  x = [np.float32([1.0])]
  x = adam.step(x, [np.float32([5.0])])
  assert x[0][0] == pytest.approx(0.9, abs=1e-6)  # a rate along the sign
  x = adam.step(x, [np.float32([0.0])])
  mean, square = 0.9 * 0.5 / 0.19, 0.999 * 0.025 / 0.001999
  assert x[0][0] == pytest.approx(0.9 - 0.1 * mean / square**0.5, abs=1e-5)


def test_every_sample_comes_once_in_an_order_of_its_seed():
  x, y = np.arange(10, dtype=np.float32)[:, None], np.arange(10)
  found = list(batches(x, y, 4, (1, 2)))
  assert [len(ys) for _, ys in found] == [4, 4, 2]
  order = np.concatenate([ys for _, ys in found])
  assert sorted(order) == list(range(10))
  again = np.concatenate([ys for _, ys in batches(x, y, 4, (1, 2))])
  other = np.concatenate([ys for _, ys in batches(x, y, 4, (1, 3))])
  assert (order == again).all()
  assert (order != other).any()


def test_a_network_without_a_hidden_layer_is_refused():
  with pytest.raises(TflmFgError, match="one hidden layer"):
    networks.drawn((12, 3), np.random.default_rng(0))


def test_a_layer_has_no_step_before_one_is_measured():
  assert Layer(np.zeros((1, 1)), np.zeros(1)).step == 0
