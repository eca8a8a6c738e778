"""C and NumPy give the same integers, and it can be told which of them runs."""

import contextlib
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import models
from tests.refusals import refused
from tflm_fg.fixed_point import masters, native, pull, spread
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import Estimate, OptimizerState, TrainState
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.spsa import CentralDifference
from tflm_fg.losses.cross_entropy import CrossEntropy
from tflm_fg.optimizers.kinds import OPTIMIZERS
from tflm_fg.optimizers.rounding import Rounding
from tflm_fg.optimizers.schedules import schedule
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.types import Params, Vectors

LAYOUT = Layout(mark_file(models.dense_model(), "all").mark.trainable)


@contextlib.contextmanager
def core_of(name):
  """Everything that asks from here on gets this core."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv(native.VARIABLE, name)
    native.native.cache_clear()
    try:
      yield
    finally:
      native.native.cache_clear()


def has_c():
  with core_of("auto"):
    return native.core() == "c"


needs_c = pytest.mark.skipif(not has_c(), reason="the C library is not built")
seeds = st.integers(0, 2**32 - 1)


def both(make):
  """What a function of no argument gives in C and in NumPy."""
  found = []
  for name in ("c", "numpy"):
    with core_of(name):
      found.append(make())
  return found


def require_same(make):
  in_c, in_numpy = (
    x if isinstance(x, tuple | list) else [x] for x in both(make)
  )
  assert len(in_c) == len(in_numpy)
  for some, others in zip(in_c, in_numpy):
    assert some.dtype == others.dtype
    np.testing.assert_array_equal(some, others)


def params_of(random):
  """Masters of which many stand at an end of their range."""
  ends = np.array([-32768, -32512, 0, 32512])
  kernels = random.integers(-32512, 32513, LAYOUT.num_kernels)
  at_end = random.random(kernels.size) < 0.3
  kernels = np.where(at_end, random.choice(ends, kernels.size), kernels)
  limits = np.iinfo(np.int32)
  biases = random.integers(-10000, 10000, LAYOUT.num_biases)
  biases[:3] = limits.min, limits.max, limits.max - 5
  return Params(kernels.astype(np.int16), biases.astype(np.int32))


def wide(random, size):
  """Integers of every width up to 40 bits."""
  return random.integers(-(1 << 40), 1 << 40, size) >> random.integers(
    0, 41, size
  )


@needs_c
@settings(max_examples=30, deadline=None)
@given(seeds)
def test_masters_behind_a_step(seed):
  random = np.random.default_rng(seed)
  params = params_of(random)
  updates = Vectors(*(wide(random, p.size) for p in params))
  require_same(lambda: masters.apply_updates(params, updates))


@needs_c
@settings(max_examples=60, deadline=None)
@given(
  seeds,
  st.sampled_from(["sgd", "sign"]),
  st.sampled_from([0.0, 0.5, 0.999]),
  st.sampled_from([2.0**-16, 0.37, 8.0, 65536.0]),
)
def test_updates_and_velocities(seed, name, momentum, rate):
  random = np.random.default_rng(seed)
  params = params_of(random)
  gradient = Vectors(*(wide(random, p.size) for p in params))
  before = Vectors(
    random.integers(-(1 << 15), 1 << 15, LAYOUT.num_kernels).astype(np.int16),
    random.integers(-(1 << 31), 1 << 31, LAYOUT.num_biases).astype(np.int32),
  )

  def update():
    own = OPTIMIZERS[name].make(
      LAYOUT, schedule(rate, "linear", 10), momentum, Rounding(layout=LAYOUT)
    )
    state = own.init(params)
    if momentum:
      state = state._replace(velocity=before)
    updates, after = own.update(gradient, state, params, 3)
    assert isinstance(after, OptimizerState)
    return [*updates, *after.velocity]

  require_same(update)


@needs_c
@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 5), st.sampled_from([0.3, 1.0, 4.0, 127.0]))
def test_perturbed_weights_and_the_mean_of_directions(seed, count, epsilon):
  random = np.random.default_rng(seed)
  state = TrainState(int(random.integers(1000)), params_of(random))
  slopes = random.integers(-(1 << 31), 1 << 31, count)

  def make():
    estimator = CentralDifference(
      layout=LAYOUT,
      directions=Directions(LAYOUT, seed),
      epsilon_lsb=epsilon,
      num_directions=count,
      batch_size=4,
      signs_only=True,
    )
    sets = [s for lot in estimator.weight_sets(state) for s in lot]
    flat = [np.array(array) for weights in sets for array in weights]
    return [*flat, *estimator.gradient(Estimate(slopes, slopes), state)]

  require_same(make)


@needs_c
@settings(max_examples=40, deadline=None)
@given(
  seeds,
  st.integers(1, 130),
  st.sampled_from([1e-4, 0.06, 1.4, 50.0]),
  st.integers(1, 3),
)
def test_losses_and_residuals(seed, classes, scale, passes):
  random = np.random.default_rng(seed)
  shape = (int(random.integers(1, 9)), classes)
  logits = [
    random.integers(-128, 128, shape).astype(np.int8) for _ in range(passes)
  ]
  logits[0][0] = random.choice([-128, 127], classes)
  labels = random.integers(0, classes, shape[0])

  def make():
    loss = CrossEntropy(scale)
    return [
      loss.ledger(passes, *shape)(logits, labels),
      loss.per_sample(logits[0], labels),
      loss.residual(logits[0], labels),
      loss.per_sample(logits[0][::2], labels[::2]),
      loss.residual(logits[0][::-1], labels),
    ]

  require_same(make)


@needs_c
def test_arrays_of_another_length_are_refused_and_nothing_is_written():
  with core_of("c"):
    c = native.native()
  params = params_of(np.random.default_rng(0))
  updates = Vectors(*(np.zeros(p.size, np.int64) for p in params))
  out = Params(*(np.zeros_like(p) for p in params))
  short = Params(out.kernels[:-1], out.biases)
  for bad in (
    lambda: c.apply(*params, *updates, *short),
    lambda: c.apply(*params, *updates[::-1], *out),
    lambda: c.apply(*params, *updates),
    lambda: c.apply(*params, *updates, None, out.biases),
  ):
    with pytest.raises((ValueError, TypeError)):
      bad()
  assert not out.kernels.any()


@needs_c
def test_a_label_that_is_no_class_is_refused():
  with core_of("c"):
    loss = CrossEntropy(0.1)
    logits = np.zeros((2, 3), np.int8)
    for label in (3, -1):
      with pytest.raises(ValueError, match="no class"):
        loss.per_sample(logits, np.array([0, label]))
      with pytest.raises(ValueError, match="no class"):
        loss.residual(logits, np.array([label, 0]))


def test_numpy_can_be_asked_for():
  with core_of("numpy"):
    assert native.core() == "numpy"


def test_a_choice_that_is_none_is_refused():
  with core_of("fortran"):
    refused(native.core, "TFLM_FG_CORE", "auto, c, numpy")


def test_c_that_was_built_from_other_sources_is_not_used(monkeypatch):
  monkeypatch.setattr(native, "fingerprint", lambda: "other")
  with core_of("auto"):
    assert native.core() == "numpy"
  with core_of("c"):
    refused(native.core, "TFLM_FG_CORE=c", "pip install .")


def test_the_fingerprint_is_of_the_files_that_are_built():
  root = pathlib.Path(__file__).parents[2]
  code = (
    "import sys; sys.argv = ['setup.py', '--version']; import setuptools; "
    "setuptools.setup = lambda **_: None; import setup; "
    "print(setup.fingerprint())"
  )
  said = subprocess.run(
    [sys.executable, "-c", code],
    cwd=root,
    capture_output=True,
    text=True,
    check=True,
  )
  assert said.stdout.strip() == native.fingerprint()


@needs_c
@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 600), st.sampled_from([17, 20, 21, 23, 30]))
def test_products_of_residuals_and_inputs(seed, samples, width):
  random = np.random.default_rng(seed)
  outputs, size = (int(n) for n in random.integers(1, 7, 2))
  most = 1 << width
  residual = random.integers(-most, most + 1, (samples, outputs))
  residual[0] = random.choice([-most, most], outputs)
  inputs = random.integers(-511, 512, (samples, size)).astype(np.int16)
  inputs[:, 0] = random.choice([-511, 511])
  with core_of("c"):
    c = native.native()
  work = np.empty((2, residual.size), np.int16)
  sums = np.empty((outputs, size), np.int64)
  columns = np.ascontiguousarray(inputs.T)
  fits = c.product(residual, columns, *work, sums, samples)
  assert fits == (np.abs(residual).max() < 1 << 21)
  if fits:
    np.testing.assert_array_equal(sums, residual.T @ inputs.astype(np.int64))


@needs_c
@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(-90, 90))
def test_scaled_sums(seed, bits):
  random = np.random.default_rng(seed)
  sums = wide(random, (3, 4)) << 20
  factors = random.integers(0, 1 << 17, (3, 1))
  places = random.integers(bits, bits + 20, 4)
  require_same(lambda: spread.scaled(sums, factors, places))


@needs_c
@settings(max_examples=40, deadline=None)
@given(seeds, st.booleans(), st.sampled_from([0.03, 10.0]))
def test_pulls(seed, centred, strength):
  random = np.random.default_rng(seed)
  head = Layout(mark_file(models.dense_model(), "head").mark.trainable)

  def some():
    kernels = random.integers(-32768, 32513, head.num_kernels)
    biases = random.integers(-(1 << 31), 1 << 31, head.num_biases)
    return Params(kernels.astype(np.int16), biases.astype(np.int32))

  now, start = some(), some()
  inputs = head.num_kernels // head.num_biases
  centre = random.integers(-255, 256, inputs if centred else 0)
  slopes = wide(random, head.num_kernels + head.num_biases)
  square = int(random.integers(4096, 1 << 24))

  def make():
    found = slopes.copy()
    factors = pull.pull_factors(strength, square)
    pull.add_pull(found, now, start, centre, head, factors)
    return found

  require_same(make)


@needs_c
@settings(max_examples=30, deadline=None)
@given(seeds)
def test_weights_of_masters(seed):
  params = params_of(np.random.default_rng(seed))
  require_same(lambda: [*LAYOUT.weights(params)])
