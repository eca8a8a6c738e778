"""The keyword network trains wherever TensorFlow runs."""

import os
import subprocess
import sys

import numpy as np
import pytest

from apps.kws.model.network import BATCH_SIZE, ds_cnn, fit
from converters import quantize
from tests import programs
from tflm_fg.callbacks import Interrupted, StopOnInterrupt
from tflm_fg.checkpoint import NOTHING_KEPT, Kept, Memo

pytestmark = pytest.mark.tensorflow

SCRIPT = """
import numpy as np
from apps.kws.model import network
from converters import quantize
from tflm_fg.tflite import model_file

built = {"filters": 4, "blocks": 2, "shape": (49, 10, 1), "outputs": 3}
model = network.ds_cnn(**built)
x = np.random.default_rng(0).normal(0, 1, (24, 49, 10, 1)).astype(np.float32)
network.fit(model, x, np.arange(24) % 3, 1)
file = quantize.to_integer(network.for_conversion(model, **built), x)
read = model_file.read(file)
names = [model_file.op_name(read, o) for o in read.subgraphs[0].operators]
"""

OWN_BUILD = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
"""What TensorFlow is in this process, which need not start it anew."""


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_it_trains_and_converts_to_the_same_operators_on_every_build(onednn):
  if onednn == OWN_BUILD:
    found = {}
    exec(SCRIPT, found)
    names = found["names"]
  else:
    done = subprocess.run(
      [sys.executable, "-c", f"{SCRIPT}print(*names)"],
      env={**programs.environment(), "TF_ENABLE_ONEDNN_OPTS": onednn},
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stderr
    names = done.stdout.splitlines()[-1].split()
  assert names == [
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "CONV_2D",
    "MEAN",
    "FULLY_CONNECTED",
  ]


@pytest.mark.parametrize("columns", [40, 10])
def test_columns_picked_behind_a_layer_are_those_of_its_strides(columns):
  shape = (49, columns, 1)
  picked = ds_cnn(4, 2, shape=shape, outputs=3, strided=False)
  strided = ds_cnn(4, 2, shape=shape, outputs=3, strided=True)
  strided.set_weights(picked.get_weights())
  x = np.random.default_rng(0).normal(0, 1, (5, *shape)).astype(np.float32)
  pooled = picked.get_layer("pooled").input.shape
  assert strided.get_layer("pooled").input.shape == pooled
  try:
    wanted = strided.predict(x, verbose=0)
  except Exception as fault:
    pytest.skip(f"this build has no unequal strides: {type(fault).__name__}")
  np.testing.assert_allclose(
    picked.predict(x, verbose=0), wanted, rtol=1e-4, atol=1e-5
  )


class _SignalAtBatch(StopOnInterrupt):
  """As if a signal came in a batch."""

  def __init__(self, batch):
    super().__init__()
    self._batches, self._batch = 0, batch

  @property
  def interrupted(self):
    self._batches += 1
    if self._batches == self._batch:
      self.received = 2
    return bool(self.received)


def _fitted(stop):
  model = ds_cnn(4, 1)
  x = np.zeros((2 * BATCH_SIZE, *model.input_shape[1:]), np.float32)
  fit(model, x, np.arange(len(x)) % 12, 5, stop)
  return int(model.optimizer.iterations.numpy())


def test_a_signal_ends_training_behind_its_batch_if_an_epoch_is_finished():
  assert _fitted(_SignalAtBatch(3)) == 3  # of two batches an epoch


class _KilledError(Exception):
  """As if the process were killed."""


class _Epochs(Memo):
  """Keeps epochs in memory, up to the one in which it is killed."""

  keeps = True

  def __init__(self, until):
    self.kept, self._until = {}, until

  def find(self, address):
    return self.kept.get(address)

  def keep(self, address, kept, firmly=False):
    assert firmly
    self.kept[address] = Kept.from_text(kept.to_text())
    if len(self.kept) == self._until:
      raise _KilledError


def _trained(memo, epochs=3):
  tf = quantize.tensorflow()
  tf.keras.utils.set_random_seed(0)
  tf.config.experimental.enable_op_determinism()
  model = ds_cnn(4, 1)
  rng = np.random.default_rng(0)
  shape = (2 * BATCH_SIZE + 5, *model.input_shape[1:])
  x = rng.normal(size=shape).astype(np.float32)
  fit(model, x, np.arange(len(x)) % 12, epochs, memo=memo)
  return model.get_weights()


def test_training_that_was_killed_goes_on_to_the_same_weights():
  want = _trained(NOTHING_KEPT)
  memo = _Epochs(until=2)
  with pytest.raises(_KilledError):
    _trained(memo)
  again = _trained(memo)
  assert len(memo.kept) == 3
  for one, other in zip(want, again, strict=True):
    np.testing.assert_array_equal(one, other)


def test_a_signal_in_the_first_epoch_leaves_nothing():
  with pytest.raises(Interrupted, match="nothing was written"):
    _fitted(_SignalAtBatch(1))
