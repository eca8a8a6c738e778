"""Each method's own gradient is what its formula or a difference says."""

import numpy as np
import pytest

from apps.compare.forward_only import (
  backprop,
  forward_forward,
  networks,
  pepita,
  tinyfoa,
)
from apps.compare.forward_only.networks import Layer, Network

WHOLE = (slice(None), slice(None))


def doubles(network):
  """The same in float64, for differences that float32 would drown."""
  return network.with_layers(
    [
      Layer(k.astype(np.float64), b.astype(np.float64), s)
      for k, b, s in network.layers
    ]
  )


@pytest.fixture
def few(toy):
  x, y = toy
  return x[:20].astype(np.float64), y[:20]


def drawn(**traits):
  network = networks.drawn((12, 7, 5, 3), np.random.default_rng(1), **traits)
  random = np.random.default_rng(2)
  return doubles(
    network.with_layers(
      [
        Layer(k, random.normal(0, 0.1, b.shape), s)
        for k, b, s in network.layers
      ]
    )
  )


def differences(loss, array, step=1e-6):
  """Central differences of a loss with each number of an array."""
  found = np.zeros_like(array)
  for place in np.ndindex(array.shape):
    moved = []
    for sign in (1, -1):
      other = array.copy()
      other[place] += sign * step
      moved.append(loss(other))
    found[place] = (moved[0] - moved[1]) / (2 * step)
  return found


def replaced(network, number, **fields):
  layers = list(network.layers)
  layers[number] = layers[number]._replace(**fields)
  return network.with_layers(layers)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_backpropagation_equals_differences_of_the_loss(few, number):
  x, y = few
  network = drawn()
  found = backprop.gradients(network, x, y)[2 * number : 2 * number + 2]

  def loss(**fields):
    return networks.cross_entropy(
      replaced(network, number, **fields).logits(x), y
    )

  layer = network.layers[number]
  kernel = differences(lambda k: loss(kernel=k), layer.kernel)
  bias = differences(lambda b: loss(bias=b), layer.bias)
  np.testing.assert_allclose(found[0], kernel, atol=1e-7)
  np.testing.assert_allclose(found[1], bias, atol=1e-7)


def test_forward_forward_equals_differences_of_the_layers_own_loss(few):
  x, _ = few
  layer = drawn().layers[0]
  good, bad = x[:10], x[10:]
  found = forward_forward.gradients(layer, good, bad)

  def loss(**fields):
    return forward_forward.local_loss(layer._replace(**fields), good, bad)

  kernel = differences(lambda k: loss(kernel=k), layer.kernel)
  bias = differences(lambda b: loss(bias=b), layer.bias)
  np.testing.assert_allclose(found[0], kernel, atol=1e-6)
  np.testing.assert_allclose(found[1], bias, atol=1e-6)


def test_the_loss_of_forward_forward_wants_right_labels_to_be_strong():
  strong, weak = np.full((4, 3), 2.0), np.zeros((4, 3))
  layer = Layer(np.eye(3), np.zeros(3))
  right = forward_forward.local_loss(layer, strong, weak)
  assert right < forward_forward.local_loss(layer, weak, strong)
  # Goodness 12 and 0 around the three units: losses of 9 and -3 past it.
  expected = np.log1p(np.exp(-9)) + np.log1p(np.exp(-3))
  assert right == pytest.approx(expected)


def test_tinyfoa_without_anything_binary_equals_differences(few):
  x, y = few
  network = drawn()
  judge = tinyfoa.classifier(network, 0, seed=3)
  layer = network.layers[0]
  _, kernel, bias = tinyfoa.gradients(network, layer, judge, x, y, WHOLE)

  def loss(**fields):
    outputs = network.activated(
      layer, network.sums(layer._replace(**fields), x)
    )
    return networks.cross_entropy(outputs @ judge.kernel + judge.bias, y)

  by_kernel = differences(lambda k: loss(kernel=k), layer.kernel)
  by_bias = differences(lambda b: loss(bias=b), layer.bias)
  np.testing.assert_allclose(kernel, by_kernel, atol=1e-7)
  np.testing.assert_allclose(bias, by_bias, atol=1e-7)


def test_a_block_has_its_part_of_the_whole_gradient(few):
  x, y = few
  network = drawn()
  judge, layer = tinyfoa.classifier(network, 0, 3), network.layers[0]
  _, whole, biases = tinyfoa.gradients(network, layer, judge, x, y, WHOLE)
  blocks = tinyfoa.blocks_of(*layer.kernel.shape)
  assert len(blocks) == 4
  covered = np.zeros(layer.kernel.shape, int)
  for block in blocks:
    _, part, bias = tinyfoa.gradients(network, layer, judge, x, y, block)
    np.testing.assert_allclose(part, whole[block], atol=1e-12)
    np.testing.assert_allclose(bias, biases[block[1]], atol=1e-12)
    covered[block] += 1
  assert (covered == 1).all()


def test_gradients_go_straight_through_binary_numbers_between_minus_1_and_1(
  few,
):
  x, y = few
  network = drawn(binary_weights=True, binary_activations=True)
  kernel = network.layers[0].kernel.copy()
  kernel[0, 0], kernel[1, 1] = 1.5, -1.0  # outside, and on the border
  layer = network.layers[0]._replace(kernel=kernel)
  judge = tinyfoa.classifier(network, 0, 3)
  step, found, bias = tinyfoa.gradients(network, layer, judge, x, y, WHOLE)
  scale = np.abs(kernel).mean()
  sums = x @ (scale * np.where(kernel >= 0, 1, -1)) + layer.bias
  assert step == pytest.approx(np.abs(sums).mean())
  errors = networks.residual(
    np.where(sums > 0, step, 0.0) @ judge.kernel + judge.bias, y
  )
  back = errors @ judge.kernel.T / len(x) * ((sums > 0) & (sums < 1))
  expected = x.T @ back
  expected[0, 0] = expected[1, 1] = 0
  np.testing.assert_allclose(found, expected, atol=1e-6)
  np.testing.assert_allclose(bias, back.sum(axis=0), atol=1e-6)


def test_pepita_is_its_formula_on_numbers_that_can_be_followed():
  # One input of 2, hidden kernel [1, -1], last kernel the unit matrix.
  kernels = [np.array([[1.0, -1.0]]), np.eye(2)]
  feedback = np.array([[0.5], [0.25]])
  masks = [np.ones((1, 2))]
  first, last = pepita.updates(
    kernels, feedback, np.array([[2.0]]), np.array([1]), masks
  )
  share = np.exp(2) / (np.exp(2) + 1)  # logits 2 and 0; the class is 1
  e = np.array([share, -share])
  moved = 2 + 0.5 * e[0] + 0.25 * e[1]
  np.testing.assert_allclose(first, [[moved * (2 - moved), 0]])
  np.testing.assert_allclose(last, np.outer([moved, 0], e))


def test_pepita_sends_errors_through_the_input_alone(few):
  """A hidden difference is minus F e through the pass's own Jacobian."""
  x, y = few
  kernels = [layer.kernel for layer in drawn().layers]
  masks = [np.ones((len(x), k.shape[1])) for k in kernels[:-1]]
  feedback = 1e-6 * np.random.default_rng(4).normal(size=(3, 12))
  found = pepita.updates(kernels, feedback, x, y, masks)
  h, deep, last = (
    *pepita.flows(kernels, x, masks)[1:],
    pepita.flows(kernels, x, masks)[-1] @ kernels[-1],
  )
  errors = networks.residual(last, y)
  shown = (errors @ feedback @ kernels[0]) * (h > 0)
  np.testing.assert_allclose(found[0] * 1e6, -x.T @ shown / 20 * 1e6, atol=1e-4)
  deeper = (shown @ kernels[1]) * (deep > 0)
  np.testing.assert_allclose(
    found[1] * 1e6, -h.T @ deeper / 20 * 1e6, atol=1e-4
  )
  np.testing.assert_allclose(found[2], deep.T @ errors / 20, atol=1e-5)


def test_a_dropped_unit_is_dropped_in_both_passes(few):
  x, y = few
  kernels = [layer.kernel for layer in drawn().layers]
  masks = [np.ones((len(x), k.shape[1])) for k in kernels[:-1]]
  masks[0][:, 2] = 0
  found = pepita.updates(kernels, np.ones((3, 12)), x, y, masks)
  assert not found[0][:, 2].any()
  assert not found[1][2].any()


def test_binary_kernels_are_signs_times_one_scale():
  found = networks.binary(np.array([[0.5, -1.5], [0.0, 2.0]], np.float32))
  np.testing.assert_array_equal(found, [[1, -1], [1, 1]])


def test_normalized_outputs_have_a_mean_square_of_one():
  network = Network((), normalized=True)
  found = network.passed(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
  np.testing.assert_allclose((found**2).mean(axis=1), [1, 0], atol=1e-6)
