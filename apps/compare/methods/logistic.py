"""Fit a head by logistic regression in floats, as a baseline for few samples.

It is what scikit-learn's LogisticRegression fits by default: the sum of the
cross-entropies plus half the squared length of the kernel. It starts from
zero, so what the file's own head knows is not used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.compare.data.sampling import Part
from apps.compare.methods.head_descent import features_of
from tflm_fg.marking import mark_trainable
from tflm_fg.placement import SplitModel
from tflm_fg.runtimes import RuntimeOptions
from tflm_fg.tflite import tensor_spec
from tflm_fg.types import Array, TflmFgError

STEPS = 2000
"""Of L-BFGS, at most."""


def regressed(model: bytes, train: Part, test: Part) -> float:
  """Test accuracy of logistic regression on what flows into the head.

  Args:
    model: the .tflite; its layers in front of the head stay int8.
    train: samples and classes to fit.
    test: samples and classes to score.

  Raises:
    TflmFgError: if SciPy is missing.
  """
  marked = mark_trainable(model, "head")
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  spec = tensor_spec(marked.data, marked.mark.head_input)
  x, test_x = (features_of(graph, part, spec) for part in (train, test))
  weights = fit(x, np.asarray(train[1]))
  return float(((test_x @ weights).argmax(axis=1) == test[1]).mean())


def fit(x: NDArray[np.float64], y: Array) -> NDArray[np.float64]:
  """The weights that minimize cross-entropies plus |kernel|^2 / 2.

  Args:
    x: inputs [N, D + 1], the last column ones.
    y: classes [N].

  Returns:
    Weights [D + 1, C]; the bias, which is not held back, is the last row.

  Raises:
    TflmFgError: if SciPy is missing.
  """
  try:
    from scipy import optimize
  except ImportError:
    raise TflmFgError(
      "logistic regression needs: pip install 'tflm-fg[compare]'"
    ) from None
  wanted = np.eye(int(y.max()) + 1)[y]
  shape = x.shape[1], wanted.shape[1]

  def objective(flat: Array) -> tuple[float, Array]:
    weights = flat.reshape(shape)
    logits = x @ weights
    logits -= logits.max(axis=1, keepdims=True)
    sums = np.log(np.exp(logits).sum(axis=1, keepdims=True))
    held = weights.copy()
    held[-1] = 0
    loss = (sums - (logits * wanted).sum(axis=1, keepdims=True)).sum()
    slope = x.T @ (np.exp(logits - sums) - wanted) + held
    return float(loss + (held**2).sum() / 2), slope.reshape(-1)

  found = optimize.minimize(
    objective,
    np.zeros(shape).reshape(-1),
    jac=True,
    method="L-BFGS-B",
    options={"maxiter": STEPS},
  )
  return np.asarray(found.x).reshape(shape)
