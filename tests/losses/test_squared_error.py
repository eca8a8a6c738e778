"""Real targets, squared errors and own losses, from samples to file."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest
from scipy.optimize import lsq_linear

import tflm_fg
from tests import models, programs
from tests.climbing import reverse_rates
from tests.options import options
from tests.refusals import refused
from tflm_fg import journal, plots
from tflm_fg.callbacks import CSVLogger
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples import Dataset, model_input
from tflm_fg.tflite import model_file
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.objective import Task
from tflm_fg.types import TflmFgError

MODELS = {n: models.regression_model(n) for n in (1, 3)}
TRAIN = {n: models.curve(outputs=n) for n in MODELS}
TEST = {n: models.curve(outputs=n, seed=1) for n in MODELS}
CLASSIFIER = models.dense_model()


def adapt(
  model: bytes = MODELS[1],
  samples: tuple[Any, Any] = TRAIN[1],
  *,
  loss: Any = "mse",
  settings: dict[str, Any] | None = None,
  **given: Any,
) -> tflm_fg.AdaptResult:
  """Adapts a head by default; a loss is a name or a function."""
  return tflm_fg.adapt(
    model,
    *samples,
    trainable=given.pop("trainable", "head"),
    **options(loss=loss, **(settings or {})),
    workers=1,
    name="m.tflite",
    **given,
  )


def least_squares(model: bytes, samples: tuple[Any, Any]) -> float:
  """The lowest mean square of a head whose kernel may be all of int8."""
  marked = tflm_fg.mark_trainable(model, "head")
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  spec = tensor_spec(marked.data, marked.mark.head_input)
  (features,) = graph.features(model_input(samples[0], graph.input))
  flat = features.reshape(len(features), -1).astype(float)
  columns = np.c_[(flat - spec.zero_point) * spec.scale, np.ones(len(flat))]
  kernel, _ = marked.mark.trainable
  found = []
  for scale, y in zip(kernel.scales, samples[1].reshape(len(flat), -1).T):
    ends = np.r_[np.full(flat.shape[1], 127 * scale), 1e3]
    best = lsq_linear(columns, y, (-ends, ends)).x
    found.append(np.mean((columns @ best - y) ** 2))
  return float(np.mean(found))


@pytest.mark.parametrize("outputs", MODELS)
@pytest.mark.parametrize("wide", [False, True])
def test_the_exact_head_comes_to_least_squares(outputs, wide):
  model = models.regression_model(outputs, wide=wide)
  samples = TRAIN[outputs]
  report = adapt(
    model, samples, settings={"validation_fraction": 0.0}, test=samples
  ).report
  lowest = least_squares(model, samples)
  # int8 outputs are rounded to 1/16: 1/12 of that squared is their noise.
  rounding = (8 / 127) ** 2 / 12
  assert report["loss_before"] > 3 * lowest
  assert 0.98 * lowest < report["loss_after"] < 1.02 * lowest + rounding
  assert report["method"] == "closed-form"


def test_a_head_of_any_units_trains_alike():
  """A model and targets in thousandths take the same integers."""
  small = model_file.read(MODELS[1])
  for tensor in small.subgraphs[0].tensors:
    if tensor.name.startswith(b"head/"):
      tensor.quantization.scale = tensor.quantization.scale * np.float32(2**-10)
  x, y = TRAIN[1]
  one = adapt()
  other = adapt(model_file.pack(small), (x, y / 1024))
  assert [r.slopes for r in one.journal.records] == [
    r.slopes for r in other.journal.records
  ]
  assert other.report["mae_after"] == pytest.approx(
    one.report["mae_after"] / 1024
  )


@pytest.mark.parametrize("method", ["sign-m-spsa", "spsa", "node"])
@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_forward_gradients_lower_each_loss(loss, method):
  own = {"learning_rate_lsb": 0.1} if method == "node" else {}
  result = adapt(
    MODELS[3],
    TRAIN[3],
    loss=loss,
    trainable="all",
    settings={"method": method, "steps": 400, **own},
    test=TEST[3],
  )
  report = result.report
  assert report["loss_after"] < 0.8 * report["loss_before"]
  assert report["mae_after"] < report["mae_before"]
  assert (report["loss"], report["targets"]) == (loss, "reals")
  assert report["accuracy_after"] is None


def test_huber_shrugs_at_outliers_that_pull_the_mean_square_away():
  x, y = TRAIN[1]
  spoilt = y.copy()
  spoilt[::8] = 20.0
  given = {"settings": {"validation_fraction": 0.0}, "test": TEST[1]}
  with pytest.warns(UserWarning, match="lie beyond what the output can give"):
    square = adapt(samples=(x, spoilt), **given)
  with pytest.warns(UserWarning, match="lie beyond"):
    robust = adapt(samples=(x, spoilt), loss="huber", **given)
  assert robust.report["mae_after"] < 0.8 * square.report["mae_after"]


@pytest.mark.parametrize("outputs", MODELS)
def test_auto_compares_candidates_by_the_loss_and_replays(outputs):
  result = adapt(
    MODELS[outputs], TRAIN[outputs], trainable="auto", test=TEST[outputs]
  )
  report = result.report
  assert report["loss_after"] < 0.5 * report["loss_before"]
  assert {candidate["accuracy"] for candidate in report["candidates"]} == {None}
  assert len(report["candidates"]) >= 3
  again = journal.parse(result.journal.to_bytes())
  assert tflm_fg.replay(again, MODELS[outputs]) == result.marked_model
  json.dumps(dict(report))


def test_one_seed_gives_the_same_bytes():
  settings = {"method": "sign-m-spsa", "steps": 30}
  one, two, other = (
    adapt(settings={**settings, "seed": seed}) for seed in (3, 3, 4)
  )
  assert one.marked_model == two.marked_model != other.marked_model


@pytest.mark.parametrize("tail", ["", "squeeze", "dequantize"])
def test_outputs_of_other_shapes_and_types_are_scored_alike(tail):
  model = models.regression_model(tail=tail)
  assert tflm_fg.evaluate(model, *TEST[1], loss="mse")["mae"] == pytest.approx(
    tflm_fg.evaluate(MODELS[1], *TEST[1], loss="mse")["mae"]
  )
  report = adapt(model, settings={"steps": 60}).report
  assert report["loss_after"] < report["loss_before"]


@pytest.mark.parametrize("outputs", MODELS)
def test_16_bit_weights_end_as_near_and_are_scored_as_the_file_is(outputs):
  """Outputs of the marked file have another grid than those of the plain."""
  x, y = TRAIN[outputs]
  ends = {}
  for weights in ("int8x2", "int16"):
    result = adapt(
      MODELS[outputs],
      (x, y + 3),
      graph_options=GraphOptions(weights=weights),
      settings={"validation_fraction": 0.0},
      test=(x, y + 3),
    )
    score = tflm_fg.evaluate(result.model, x, y + 3, loss="mse")
    report = result.report
    assert report["loss_after"] == score["loss"]
    assert report["mae_after"] == score["mae"]
    untouched = tflm_fg.evaluate(MODELS[outputs], x, y + 3, loss="mse")
    assert report["loss_before"] == pytest.approx(untouched["loss"], rel=0.05)
    ends[weights] = report["loss_after"]
  assert ends["int8x2"] < 0.2 * report["loss_before"]
  assert ends["int16"] < 1.05 * ends["int8x2"]


@pytest.mark.parametrize("weights", ["int16", "int8x2"])
@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_forward_gradients_on_16_bit_weights_lower_each_loss(loss, weights):
  x, y = TRAIN[3]
  result = adapt(
    MODELS[3],
    (x, y + 1),
    loss=loss,
    trainable="all",
    graph_options=GraphOptions(weights=weights),
    settings={"method": "sign-m-spsa", "steps": 300},
  )
  report = result.report
  assert report["loss_after"] < 0.6 * report["loss_before"]
  again = journal.parse(result.journal.to_bytes())
  assert tflm_fg.replay(again, MODELS[3]) == result.marked_model


def test_targets_may_be_a_column_integers_or_bools():
  x, y = TRAIN[1]
  assert adapt(samples=(x, y[:, None])).marked_model == adapt().marked_model
  whole = np.rint(y).astype(np.int8)
  assert (
    adapt(samples=(x, whole)).marked_model
    == adapt(samples=(x, whole * 1.0)).marked_model
  )
  assert adapt(samples=(x, y > 1)).report["targets"] == "reals"


def test_lists_do_as_well_as_arrays():
  x, y = TRAIN[1]
  lists = x.tolist(), y.tolist()
  assert adapt(samples=lists, test=lists).marked_model == adapt().marked_model
  arrays = tflm_fg.evaluate(MODELS[1], x, y, loss="mse")
  score = tflm_fg.evaluate(MODELS[1], *lists, loss="mse")
  assert score["loss"] == arrays["loss"]
  classes = x, (np.arange(len(x)) % 3).tolist()
  assert adapt(MODELS[3], classes, loss="cross-entropy").model
  refused(
    lambda: adapt(samples=(x, [[1.0], [2.0, 3.0]])), "train y", "no array"
  )
  refused(lambda: adapt(test=([[1.0], [2.0, 3.0]], y)), "test x", "no array")


@pytest.mark.parametrize("loss", ["mse", "huber"])
@pytest.mark.parametrize("trainable", ["head", "auto"])
def test_classes_are_learned_by_distances_too(loss, trainable):
  report = adapt(
    CLASSIFIER,
    models.separable(),
    loss=loss,
    trainable=trainable,
    test=models.separable(seed=1),
  ).report
  assert report["targets"] == "classes"
  assert report["accuracy_before"] < 0.6
  assert report["accuracy_after"] > 0.95


def share_wrong(outputs: Any, targets: Any) -> float:
  """A metric without a derivative."""
  return float(np.mean(outputs.argmax(axis=1) != targets))


def are_wrong(outputs: Any, targets: Any) -> Any:
  """The same, a sample at a time."""
  return outputs.argmax(axis=1) != targets


@pytest.mark.parametrize("function", [share_wrong, are_wrong])
def test_a_metric_without_derivative_gets_better(function):
  given = {
    "test": models.separable(seed=1),
    "loss": function,
    "settings": {"steps": 600},
  }
  one, two = (adapt(CLASSIFIER, models.separable(), **given) for _ in "ab")
  report = one.report
  assert report["loss"] == function.__name__
  assert report["method"] == "sign-m-spsa"
  assert report["accuracy_after"] > report["accuracy_before"] + 0.2
  wrong = 1 - report["accuracy_after"]
  assert report["loss_after"] == pytest.approx(wrong, abs=1e-4)
  assert one.marked_model == two.marked_model
  again = journal.parse(one.journal.to_bytes())
  assert tflm_fg.replay(again, one.start) == one.marked_model


def test_auto_tries_candidates_under_a_function_of_all_samples():
  result = adapt(
    samples=TRAIN[1],
    loss=lambda outputs, y: np.median(np.abs(outputs - y)),
    trainable="auto",
    settings={"steps": 60},
  )
  assert result.report["loss"] == "<lambda>"
  assert result.report["loss_after"] < result.report["loss_before"]
  assert len(result.report["candidates"]) >= 3
  plots.training_curves(result.history, result.report)


def test_targets_of_a_function_may_be_of_any_shape(tmp_path):
  """It alone knows what they are; there is neither accuracy nor error."""
  x, y = TRAIN[1]
  bands = np.stack([y - 0.2, y + 0.2, np.ones_like(y)], axis=1)

  def outside(outputs: Any, band: Any) -> Any:
    value = outputs[:, 0]
    low, high, weight = band.T
    return weight * np.maximum(0, np.maximum(low - value, value - high))

  log = CSVLogger(str(tmp_path / "log.csv"))
  settings = {"method": "node", "steps": 60, "validate_every": 20}
  result = adapt(
    samples=(x, bands), loss=outside, settings=settings, callbacks=[log]
  )
  report = result.report
  assert report["loss_after"] < report["loss_before"]
  assert report["accuracy_after"] is None and report["mae_after"] is None
  assert plots.training_curves(result.history, report)
  with open(tmp_path / "log.csv", newline="") as file:
    rows = list(csv.reader(file))
  assert rows[0] == ["step", "forward_passes", "val_loss"]
  assert {len(row) for row in rows} == {3}


X, Y = TRAIN[1]


@pytest.mark.parametrize(
  ("y", "words"),
  [
    (np.where(np.arange(200) == 7, np.nan, Y), "holds NaN or infinity"),
    (np.where(np.arange(200) == 7, np.inf, Y), "holds NaN or infinity"),
    (Y[:100], "need [200]: 1 real target for each of 200 samples"),
    (np.c_[Y, Y], "shape [200, 2], need [200]"),
    (Y.astype(str), "need real targets, numbers"),
    (Y.astype(complex), "need real targets, numbers"),
    (np.float64(3), "shape []"),
    (1000 * Y + 500, "lie far beyond what the output can give (-8.76 to 7.31)"),
    (np.full(200, 1e308), "lie far beyond"),
    (None, "loss 'mse' needs y"),
  ],
)
def test_bad_targets_are_refused(y, words):
  refused(lambda: adapt(samples=(X, y)), words)


def test_several_outputs_want_as_many_targets():
  refused(lambda: adapt(MODELS[3], (X, Y)), "need [200, 3]: 3 real targets")
  y = np.arange(200) % 4
  refused(lambda: adapt(MODELS[3], (X, y)), "the model has 0 to 2")


def test_what_does_not_fit_the_loss_is_refused():
  refused(lambda: adapt(loss="cross-entropy"), "--loss=mse or huber")
  refused(
    lambda: adapt(MODELS[3], TRAIN[3], loss="cross-entropy"),
    "one class for each",
  )
  refused(
    lambda: adapt(MODELS[3], (X, TRAIN[3][1][:, 0]), loss="cross-entropy"),
    "real targets need --loss=mse",
  )
  refused(
    lambda: adapt(models.regression_model(tail="logistic")), "ends in LOGISTIC"
  )
  refused(lambda: adapt(CLASSIFIER, TRAIN[1]), "ends in SOFTMAX")
  refused(lambda: adapt(settings={"labels": "none"}), "needs y and labels")
  refused(lambda: adapt(loss=share_wrong, samples=(X, None)), "'share_wrong'")
  for delta in (0, -1, float("nan")):
    refused(lambda d=delta: adapt(loss="huber", huber_delta=d), "huber_delta")
  refused(lambda: adapt(loss="mae"), "choose one of cross-entropy")
  bad_test = (X, np.full(200, np.nan))
  refused(lambda: adapt(test=bad_test), "test y: holds NaN")


def test_a_function_goes_with_forward_gradients_alone():
  exact = {"method": "closed-form"}
  refused(lambda: adapt(loss=share_wrong, settings=exact), "closed-form")
  refused(lambda: adapt(loss=42), "loss=42", "or a function of outputs and y")
  node = {"method": "node", "steps": 3}
  refused(
    lambda: adapt(
      CLASSIFIER, models.separable(), loss=share_wrong, settings=node
    ),
    "needs one a sample",
  )
  refused(lambda: adapt(loss=lambda outputs, y: np.nan), "gave nan")
  with pytest.raises(KeyboardInterrupt):

    def interrupted(outputs: Any, y: Any) -> float:
      raise KeyboardInterrupt

    adapt(loss=interrupted)


def test_no_step_that_is_worse_by_its_loss_is_kept(monkeypatch):
  """There is no accuracy to look at; an uphill rate changes nothing."""
  reverse_rates(monkeypatch)
  for method, rate in (("sign-m-spsa", 8.0), ("closed-form", 1.0)):
    settings = {"method": method, "learning_rate_lsb": rate, "steps": 20}
    report = adapt(settings=settings).report
    assert report["loss_after"] == report["loss_before"]
    assert "unchanged" in report["notes"][0]


def test_a_task_splits_evenly_by_classes_alone():
  y = np.array([2, 0, 2])
  assert Task().strata(y).tolist() == [2, 0, 2]
  assert Task(targets="reals").strata(y[:, None]).tolist() == [0, 0, 0]


def test_the_graph_checks_targets_of_a_task():
  marked = tflm_fg.mark_trainable(MODELS[1], "head")
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions())
  with pytest.raises(TflmFgError, match="integer class indices"):
    graph.checked(Dataset(*TRAIN[1]), "x")


def test_the_programs_take_real_targets(tmp_path):
  (tmp_path / "m.tflite").write_bytes(MODELS[1])
  np.savez(tmp_path / "train.npz", x=X, y=Y)
  np.savez(tmp_path / "words.npz", x=X, y=Y.astype(str))
  common = ["--model=m.tflite", "--loss=huber", "--huber_delta=0.5"]
  done = programs.run(
    tmp_path,
    "apps.adapt",
    *common,
    "--train=train.npz",
    "--test=train.npz",
    "--out=o.tflite",
    "--trainable=head",
    "--report=r.json",
    "--plot=p.png",
  )
  assert done.returncode == 0, done.stderr
  report = json.loads((tmp_path / "r.json").read_text())
  assert f"-> {report['mae_after']:.4g}, loss" in done.stdout
  assert (tmp_path / "p.png").stat().st_size > 1000
  common[0] = "--model=o.tflite"
  score = programs.run(tmp_path, "apps.evaluate", *common, "--data=train.npz")
  assert f"mean absolute error {report['mae_after']:.4g}" in score.stdout
  bad = programs.run(tmp_path, "apps.evaluate", *common, "--data=words.npz")
  assert bad.returncode == 1
  assert len(bad.stderr.splitlines()) == 1
