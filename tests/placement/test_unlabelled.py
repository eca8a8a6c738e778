"""Adapting without labels learns, and never collapses."""

from __future__ import annotations

import pytest

import tflm_fg
from tests.climbing import reverse_rates
from tests.options import options
from tests.placement.runs import (
  chosen,
  clustered,
  clusters,
  unlabelled,
)
from tests.refusals import refused


def test_an_offset_is_learnt_without_labels():
  report = unlabelled().report
  assert report["labels"] == "none"
  assert report["accuracy_before"] < 0.85
  assert report["accuracy_after"] > report["accuracy_before"] + 0.03
  assert "prompt" in chosen(report)
  assert all(
    candidate["accuracy"] is None for candidate in report["candidates"]
  )


@pytest.mark.parametrize("order", [1, -1])
def test_labels_that_are_not_to_be_looked_at_change_no_byte(order):
  x, y = clusters(120, 1, 0.9)
  blind = tflm_fg.adapt(clustered(), x, y[::order], **options(labels="none"))
  assert blind.marked_model == unlabelled().marked_model
  recorded = [r.slopes for r in unlabelled().journal.records]
  assert [r.slopes for r in blind.journal.records] == recorded
  assert blind.report["labels"] == "none"


def test_without_test_samples_or_labels_no_accuracy_is_claimed():
  x, _ = clusters(60, 1, 0.9)
  report = tflm_fg.adapt(clustered(), x, **options(steps=10)).report
  assert report["accuracy_before"] is None
  assert report["accuracy_after"] is None
  assert report["loss_after"] <= report["loss_before"]
  assert report["scored_on"] == "validation"


def test_labels_that_were_promised_and_are_missing_are_refused():
  x, _ = clusters(30, 1)
  settings = options(labels="given")
  refused(
    lambda: tflm_fg.adapt(clustered(), x, **settings),
    "'y'",
    "--labels=none",
  )


@pytest.mark.parametrize(("rate", "uphill"), [(64.0, False), (8.0, True)])
@pytest.mark.parametrize("trainable", ["prompt", "head", "bias"])
def test_answers_never_collapse_without_labels(
  trainable, rate, uphill, monkeypatch
):
  """Steps far too long or uphill: what is kept still tells classes apart."""
  x, y = clusters(120, 1)
  model = clustered()
  if uphill:
    reverse_rates(monkeypatch)
  settings = options(
    method="sign-m-spsa",
    labels="none",
    steps=30,
    validate_every=3,
    learning_rate_lsb=rate,
  )
  result = tflm_fg.adapt(model, x, y, trainable=trainable, **settings)
  kept = result.report
  assert kept["loss_after"] <= kept["loss_before"]
  after = tflm_fg.evaluate(result.marked_model, *clusters(300, 2))
  assert after["accuracy"] > 0.5
