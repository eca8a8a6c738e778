"""The keyword network: built, and trained from scratch (TensorFlow)."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.kws.features import micro
from apps.kws.synthetic import voices
from converters import quantize
from tflm_fg.callbacks import StopOnInterrupt
from tflm_fg.checkpoint import (
  NOTHING_KEPT,
  Kept,
  Memo,
  address,
  described,
)

BATCH_SIZE = 64


def ds_cnn(
  filters: int = 64,
  blocks: int = 4,
  *,
  shape: tuple[int, int, int] = micro.PARAMETERS.shape,
  outputs: int = len(voices.CLASSES),
  batch_momentum: float = 0.99,
  strided: bool | None = None,
) -> Any:
  """Builds the depthwise-separable network of MLPerf Tiny, for 49 x 40 inputs.

  The first block halves the channel axis once more than MLPerf's, whose input
  has 10 columns and not 40: a clip costs twice as much, not four times.

  Args:
    filters: Channels of every layer.
    blocks: Depthwise-separable blocks.
    shape: A clip's features.
    outputs: How many classes.
    batch_momentum: How slowly the batches' statistics are averaged; for a
      training of few steps 0.99 is too slow.
    strided: Whether the first block halves the columns by strides of its
      depthwise layer. Else that layer computes every column and every second
      one is picked behind it: the same numbers for twice the work. None takes
      strides where this TensorFlow runs them, as it does with oneDNN.

  Returns:
    float32 [batch, *shape] to logits, float32 [batch, outputs].
  """
  tf = quantize.tensorflow()
  layers = tf.keras.layers
  strided = runs_unequal_strides() if strided is None else strided
  inputs = tf.keras.Input(shape, name="features")

  def relu(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization(momentum=batch_momentum)(x))

  x = relu(
    layers.Conv2D(filters, (10, 4), strides=2, padding="same", use_bias=False)(
      inputs
    )
  )
  for block in range(blocks):
    halves = block == 0
    columns = x.shape[2]
    x = layers.DepthwiseConv2D(
      3,
      strides=(1, 2) if halves and strided else (1, 1),
      padding="same",
      use_bias=False,
    )(x)
    if halves and not strided:
      # Strides over an even number of columns pad on the right side alone.
      x = layers.Cropping2D(((0, 0), (1 - columns % 2, 0)))(x)
      x = layers.MaxPooling2D(1, strides=(1, 2))(x)
    x = relu(x)
    x = relu(layers.Conv2D(filters, 1, use_bias=False)(x))
  x = layers.GlobalAveragePooling2D(name="pooled")(x)
  x = layers.Dropout(0.3)(x)
  logits = layers.Dense(outputs, name="logits")(x)
  return tf.keras.Model(inputs, logits)


@functools.cache
def runs_unequal_strides() -> bool:
  """Whether this TensorFlow runs depthwise layers with unequal strides.

  Its own kernel for processors refuses them; oneDNN's takes them.
  """
  tf = quantize.tensorflow()
  try:
    tf.nn.depthwise_conv2d(
      tf.zeros((1, 4, 4, 1)), tf.zeros((3, 3, 1, 1)), [1, 1, 2, 1], "SAME"
    )
  except tf.errors.InvalidArgumentError:
    return False
  return True


def for_conversion(model: Any, **built: Any) -> Any:
  """The network with strides, which a converted file can have on any build.

  Args:
    model: What `ds_cnn` built.
    built: The arguments that it was built with.

  Returns:
    The same network, or one that gives the same numbers for less work; this
    TensorFlow may convert that one and not run it.
  """
  if runs_unequal_strides():
    return model
  twin = ds_cnn(**built, strided=True)
  twin.set_weights(model.get_weights())
  return twin


def fit(
  model: Any,
  x: NDArray[np.float32],
  y: NDArray[np.int32],
  epochs: int,
  stop: StopOnInterrupt | None = None,
  memo: Memo = NOTHING_KEPT,
) -> None:
  """Trains the model in place: Adam, with a cosine that ends at 0.

  A signal ends it after the present batch, if an epoch has been finished.
  Weights and the optimizer's state are kept behind every epoch.

  Args:
    model: What `ds_cnn` builds.
    x: float32 [N, *shape].
    y: int32 [N].
    epochs: Passes over the clips.
    stop: What waits for signals.
    memo: Where finished epochs are kept, and found again.

  Raises:
    Interrupted: If a signal came in the first epoch.
  """
  stop = stop or StopOnInterrupt()
  tf = quantize.tensorflow()
  steps = epochs * -(-len(x) // BATCH_SIZE)
  rate = tf.keras.optimizers.schedules.CosineDecay(
    0.0, steps, warmup_target=4e-3, warmup_steps=steps // 10
  )
  model.compile(
    optimizer=tf.keras.optimizers.Adam(rate),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
  )
  finished = [*range(_recalled(model, epochs, memo))]

  def end_of_batch(batch: int, logs: object = None) -> None:
    del batch, logs
    if stop.interrupted:
      model.stop_training = True
      if not finished:
        stop.check()

  def end_of_epoch(epoch: int, logs: object = None) -> None:
    del logs
    finished.append(epoch)
    if memo.keeps and not stop.interrupted:
      memo.keep(_address(epoch), Kept(_arrays(model)), firmly=True)

  watcher = tf.keras.callbacks.LambdaCallback(
    on_train_batch_end=end_of_batch, on_epoch_end=end_of_epoch
  )
  with stop.deferred():
    model.fit(
      x,
      y,
      batch_size=BATCH_SIZE,
      epochs=epochs,
      initial_epoch=len(finished),
      verbose=2,
      callbacks=[watcher],
    )


def belonging(
  x: NDArray[np.float32], y: NDArray[np.int32], epochs: int, seed: int
) -> dict[str, str]:
  """What the weights depend on, for a checkpoint.

  Args:
    x: As for `fit`.
    y: As for `fit`.
    epochs: As for `fit`.
    seed: Of weights and order.
  """
  packages = ("keras", "numpy", "tensorflow")
  return {
    "clips": described(x),
    "labels": described(y),
    "epochs": str(epochs),
    "seed": str(seed),
    **{f"version of {p}": importlib.metadata.version(p) for p in packages},
    "machine": platform.machine(),
  }


def _address(epoch: int) -> str:
  return address("epoch", epoch)


def _arrays(model: Any) -> dict[str, NDArray[Any]]:
  """All that training goes on from: weights, and the optimizer's state."""
  return {n: np.asarray(v.numpy()) for n, v in _variables(model).items()}


def _variables(model: Any) -> dict[str, Any]:
  held = {f"model {n}": v for n, v in enumerate(model.variables)}
  own = model.optimizer.variables
  return held | {f"optimizer {n}": v for n, v in enumerate(own)}


def _recalled(model: Any, epochs: int, memo: Memo) -> int:
  """Takes up the last epoch that is known; how many were finished by then."""
  known = [n for n in range(epochs) if memo.find(_address(n)) is not None]
  if not known:
    return 0
  model.optimizer.build(model.trainable_variables)
  kept = memo.find(_address(known[-1]))
  assert kept is not None
  for name, held in _variables(model).items():
    held.assign(kept.arrays[name])
  return known[-1] + 1
