"""Logistic regression is what scikit-learn's is."""

from __future__ import annotations

import numpy as np
import pytest

from apps.compare.methods import logistic
from tests import models


def test_the_weights_are_those_of_scikit_learn():
  linear_model = pytest.importorskip("sklearn.linear_model")
  random = np.random.default_rng(0)
  y = np.arange(60) % 3
  x = random.normal(0, 1, (60, 5)) + y[:, None]
  weights = logistic.fit(np.hstack([x, np.ones((60, 1))]), y)
  other = linear_model.LogisticRegression(tol=1e-8, max_iter=5000).fit(x, y)
  assert np.allclose(weights[:-1], other.coef_.T, atol=2e-3)


def test_a_head_is_fitted_on_what_flows_into_it():
  train, test = models.separable(samples=60), models.separable(seed=1)
  assert logistic.regressed(models.dense_model(), train, test) > 0.8
