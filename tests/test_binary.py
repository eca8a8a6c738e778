"""Models that end in sigmoids are trained, scored and refused as such."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg.training.objective import BINARY, Task
from tflm_fg.training.settings_record import to_record


def detector(outputs=1, **options):
  return models.regression_model(outputs, tail="logistic", **options)


X, Y = models.detectable()
TEST = models.detectable(seed=1)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
  "shaped",
  [
    lambda y: y[:, 0],
    lambda y: y,
    lambda y: y.astype(bool),
    lambda y: y[:, 0].astype(np.float32),
  ],
)
def test_one_sigmoid_learns_labels_of_0_and_1_however_they_come(shaped, wide):
  test = TEST[0], shaped(TEST[1])
  model = detector(wide=wide)
  result = tflm_fg.adapt(model, X, shaped(Y), test=test, trainable="head")
  report = result.report
  assert (report.targets, report.loss) == (BINARY, "binary-cross-entropy")
  assert report.method == "closed-form"
  assert report.accuracy_after > 0.75 > report.accuracy_before
  assert report.loss_after < report.loss_before
  scored = tflm_fg.evaluate(result.model, *test)
  assert scored["accuracy"] == report.accuracy_after
  assert scored["loss"] == report.loss_after


def test_several_sigmoids_learn_a_label_each():
  x, y = models.detectable(outputs=3)
  xt, yt = models.detectable(outputs=3, seed=1)
  result = tflm_fg.adapt(detector(3), x, y, test=(xt, yt), trainable="head")
  assert result.report.targets == BINARY
  assert result.report.accuracy_after > 0.8 > result.report.accuracy_before


def test_the_head_goes_where_the_exact_gradient_leads():
  """Every step lowers the loss of the samples, as two softmax outputs would."""
  result = tflm_fg.adapt(
    detector(),
    X,
    Y,
    trainable="head",
    **options(method="closed-form", steps=30, validation_fraction=0.0),
  )
  losses = result.history["loss"]
  assert losses[-1] < 0.5 * losses[0]
  assert np.mean(np.diff(losses) < 1e-3) > 0.9


def test_the_whole_search_takes_sigmoids():
  result = tflm_fg.adapt(detector(), X[:90], Y[:90, 0], test=TEST)
  tried = [row["trainable"] for row in result.report.candidates]
  assert {"nothing", "head", "prompt, head"} <= set(tried)
  assert all(0 <= row["accuracy"] <= 1 for row in result.report.candidates)
  assert result.report.accuracy_after > 0.7
  assert tflm_fg.replay(result.journal, detector()) == result.marked_model


@pytest.mark.parametrize("method", ["sign-m-spsa", "node", "spsa"])
def test_forward_gradients_lower_the_loss_of_sigmoids(method):
  settings = options(method=method, steps=60, validation_fraction=0.0)
  result = tflm_fg.adapt(
    detector(), X, Y, test=TEST, trainable="head", **settings
  )
  assert result.report.loss_after < result.report.loss_before


def test_a_logit_without_a_sigmoid_is_trained_where_the_loss_is_named():
  model = models.regression_model()
  refused(lambda: tflm_fg.adapt(model, X, Y[:, 0]), "binary-cross-entropy")
  named = {"loss": "binary-cross-entropy"}
  result = tflm_fg.adapt(model, X, Y[:, 0], trainable="head", **named)
  assert result.report.targets == BINARY
  assert tflm_fg.evaluate(result.model, *TEST, **named)["accuracy"] > 0.75


def test_classes_of_several_sigmoids_are_still_classes():
  x, y = models.separable(60)
  result = tflm_fg.adapt(detector(4), x, y, trainable="head")
  assert (result.report.targets, result.report.loss) == (
    "classes",
    "cross-entropy",
  )


def test_no_refusal_leads_to_another():
  """The cure that the refusal of a squared error names is one that works."""
  refused(
    lambda: tflm_fg.adapt(detector(), X, Y[:, 0], loss="mse"),
    "LOGISTIC",
    "leave the loss out and give y 0 and 1",
  )
  assert tflm_fg.adapt(detector(), X, Y[:, 0], trainable="head").model
  refused(
    lambda: tflm_fg.adapt(
      models.dense_model(), X, Y[:, 0], loss="binary-cross-entropy"
    ),
    "end in SOFTMAX",
    "leave the loss out",
  )
  assert tflm_fg.adapt(models.dense_model(), X, Y[:, 0], trainable="head").model


@pytest.mark.parametrize(
  ("y", "text"),
  [
    (2 * Y[:, 0], "holds 2"),
    (0.5 * Y, "holds 0.5"),
    (np.where(Y, np.nan, 0.0), "holds nan"),
    (np.hstack([Y, Y]), r"need [200]"),
    (Y[:9], "9"),
  ],
)
def test_labels_that_are_not_0_and_1_are_refused(y, text):
  for call in (tflm_fg.adapt, tflm_fg.evaluate):
    refused(lambda c=call: c(detector(), X, y), " y:", text)


def test_labels_of_another_width_are_refused():
  refused(lambda: tflm_fg.adapt(detector(3), X, Y), "[200, 3]", "3 outputs")


def test_without_labels_a_detector_gets_sure_and_varied():
  random = np.random.default_rng(0)
  y = np.arange(240) % 2
  way = np.random.default_rng(99).normal(0, 1, 8)
  x = (2 * y - 1)[:, None] * way + random.normal(0, 0.5, (240, 8))
  x = x.astype(np.float32)
  taught = tflm_fg.adapt(detector(), x, y, trainable="head").model
  shifted = x + np.float32(0.6) * way.astype(np.float32)
  result = tflm_fg.adapt(taught, shifted, test=(shifted, y), trainable="prompt")
  report = result.report
  assert (report.labels, report.targets) == ("none", "none")
  assert report.loss == "information-maximisation"
  assert report.accuracy_after >= report.accuracy_before
  own = list(result.history["val_loss"])
  assert min(own) < own[0] - 0.01


def test_samples_are_split_evenly_by_the_labels_that_hold_together():
  task = Task(targets=BINARY, loss="binary-cross-entropy")
  y = np.array([[0, 0]] * 5 + [[0, 1]] * 4 + [[1, 1]] * 2 + [[1, 0]])
  strata = task.strata(y)
  assert strata.tolist() == [0] * 5 + [1] * 4 + [-1] * 3


def test_a_journal_keeps_the_loss_that_was_asked_for():
  asked = options(method="closed-form", loss="binary-cross-entropy")
  result = tflm_fg.adapt(
    models.regression_model(), X, Y[:, 0], trainable="head", **asked
  )
  (record,) = result.journal.records
  kept = to_record(record.phase.method, record.phase.objective)
  assert kept["loss"] == "binary-cross-entropy"
  replayed = tflm_fg.replay(result.journal, models.regression_model())
  assert replayed == result.marked_model


def test_evaluating_gives_precision_recall_and_auc_of_sigmoids():
  found = tflm_fg.evaluate(detector(), *TEST)
  assert 0 < found["auc"] < 1
  assert found["accuracy"] == tflm_fg.evaluate(detector(), *TEST)["accuracy"]
  strict = tflm_fg.evaluate(detector(), *TEST, threshold=1.0)
  assert strict["recall"] < found["recall"]
  several = tflm_fg.evaluate(detector(3), *models.detectable(outputs=3))
  assert len(several["per_label"]) == 3
  assert "auc" not in tflm_fg.evaluate(models.dense_model(), X, Y[:, 0])
  refused(
    lambda: tflm_fg.evaluate(models.dense_model(), X, Y[:, 0], threshold=1.0),
    "threshold=1",
  )


def test_scores_are_those_of_the_file_run_by_itself():
  """An independent loop over LiteRT, on the sigmoids that the file gives."""
  interpreter = Interpreter(model_content=detector())
  interpreter.allocate_tensors()
  (taken,) = interpreter.get_input_details()
  (given,) = interpreter.get_output_details()
  scale, zero = taken["quantization"]
  said = []
  for sample in np.clip(np.rint(TEST[0] / scale) + zero, -128, 127):
    interpreter.set_tensor(taken["index"], sample[None].astype(np.int8))
    interpreter.invoke()
    said.append(int(interpreter.get_tensor(given["index"])[0, 0]) > 0)
  truth = TEST[1][:, 0] == 1
  hits = (np.array(said) & truth).sum()
  found = tflm_fg.evaluate(detector(), *TEST, runtime="litert-reference")
  assert found["recall"] == pytest.approx(hits / truth.sum(), abs=0.02)
  assert found["precision"] == pytest.approx(hits / sum(said), abs=0.02)


def test_without_labels_a_rare_yes_leaves_a_detector_alone():
  """Few samples are a yes: spreading the answers evenly would be a fault.

  A shift makes the detector say yes to more, so that its answers are varied.
  """
  way = np.random.default_rng(99).normal(0, 0.5, 8)

  def heard(share, seed, shift=0.0):
    random = np.random.default_rng(seed)
    y = (np.arange(120) < share * 120).astype(np.int64)
    x = 1.5 * (2 * y - 1)[:, None] * way + random.normal(0, 0.7, (120, 8))
    x = x + shift * way
    return x.astype(np.float32), y

  good = tflm_fg.adapt(
    detector(seed=1),
    *heard(0.5, 1),
    trainable="head",
    graph_options=tflm_fg.GraphOptions(head_room=0),
  ).model
  x, y = heard(0.05, 2, shift=1.0)  # says yes to many
  result = tflm_fg.adapt(good, x, test=(x, y))
  assert result.report.accuracy_after >= result.report.accuracy_before
  reasons = " ".join(row["reason"] for row in result.report.dropped)
  assert "two answers" in reasons
