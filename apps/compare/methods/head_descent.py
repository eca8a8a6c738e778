"""Train a head alone by backpropagation in floats, on int8 features.

The layers in front of the head stay int8. What `backprop` shares with this, the
head's inputs and its first weights as floats, is here as well.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.compare.data.sampling import Part
from tflm_fg.fixed_point import dequantize
from tflm_fg.marking import mark_trainable
from tflm_fg.placement import SplitModel
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.samples import Dataset, model_input
from tflm_fg.tflite import MarkedModel, tensor_spec, weights_of
from tflm_fg.types import Array, TensorSpec, TflmFgError

CONVERGED = 1e-3
"""Descent ends when 100 steps lower its loss by less than this."""


def backpropagated(model: bytes, train: Part, test: Part) -> float:
  """Test accuracy of the head after float backpropagation to convergence.

  The layers before the head stay int8; its input is dequantized.
  """
  marked = mark_trainable(model, "head")
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  spec = tensor_spec(marked.data, marked.mark.head_input)
  (x, y), (test_x, test_y) = (
    (features_of(graph, part, spec), np.asarray(part[1]))
    for part in (train, test)
  )
  weights = descend(x, y, head_start(marked))
  return float(((test_x @ weights).argmax(axis=1) == test_y).mean())


def head_start(marked: MarkedModel) -> NDArray[np.float64]:
  """The head's weights, dequantized, [D + 1, C]; the last row is the bias."""
  kernel, bias = (
    array * np.reshape(t.scales, [-1] + [1] * (array.ndim - 1))
    for array, t in zip(
      weights_of(marked.data, marked.mark.trainable), marked.mark.trainable
    )
  )
  return np.vstack([kernel.reshape(len(kernel), -1).T, bias.reshape(1, -1)])


def features_of(
  graph: SplitModel, part: Part, spec: TensorSpec
) -> NDArray[np.float64]:
  """The head's input [N, D + 1], dequantized, with a column of ones."""
  (features,) = graph.samples(Dataset(*part), "samples").inputs
  flat = features.reshape(len(features), -1)
  x = dequantize(flat, spec.scale, spec.zero_point)
  return np.hstack([x, np.ones((len(x), 1))])


def descend(
  x: NDArray[np.float64], y: Array, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
  """Full-batch gradient descent on softmax cross-entropy, with momentum.

  Args:
    x: inputs [N, D].
    y: classes [N].
    weights: [D, C], where to start.

  Returns:
    Weights [D, C], once 100 steps lower the loss by less than `CONVERGED`.
  """
  wanted = np.eye(weights.shape[1])[y]
  rate = 2 * len(x) / np.linalg.norm(x, 2) ** 2  # the inverse of its smoothness
  velocity, last = np.zeros_like(weights), np.inf
  for step in range(100_000):
    logits = x @ weights
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if step % 100 == 0:
      loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-300)).mean()
      if last - loss < CONVERGED:
        break
      last = loss
    velocity = 0.9 * velocity - 0.1 * rate * (x.T @ (p - wanted)) / len(x)
    weights = weights + velocity
  return weights


def quiet_tensorflow() -> Any:
  """Returns TensorFlow, silenced and set to one thread.

  Raises:
    TflmFgError: if it is missing.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  try:
    import tensorflow as tf
  except ImportError:
    raise TflmFgError(
      "backpropagation in Keras needs: pip install 'tflm-fg[tf]'"
    ) from None
  with contextlib.suppress(RuntimeError):  # it has run something before
    tf.config.threading.set_intra_op_parallelism_threads(1)
  return tf


def dequantized(x: Array, spec: TensorSpec) -> NDArray[np.float32]:
  """Samples as the model sees them, on its input's grid, as floats."""
  on_grid = model_input(x, spec)
  floats = dequantize(on_grid, spec.scale, spec.zero_point)
  return floats.astype(np.float32)
