"""The whole way: a .tflite and samples in, a better .tflite out."""

import warnings

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.climbing import reverse_rates
from tests.options import FORWARD, method_of, options
from tflm_fg import journal, plots
from tflm_fg.memory import footprint
from tflm_fg.placement import label_free
from tflm_fg.placement.phase_record import Phase
from tflm_fg.runtimes.registry import installed
from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.tensors import Patchable
from tflm_fg.training import tuning
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.objective import Objective
from tflm_fg.types import TflmFgError

X, Y = models.separable()
TEST = models.separable(seed=1)
MODEL = models.dense_model()
SPSA = {"method": "sign-m-spsa", "steps": 400, "batch_size": 64}
QUICK = options(**SPSA)

REPORT_KEYS = {
  "accuracy_before",
  "accuracy_after",
  "loss_before",
  "loss_after",
  "steps",
  "forward_passes",
  "samples_run",
  "seconds",
  "invoke_seconds",
  "trainable_parameters",
  "trainer_bytes",
  "model_bytes",
  "runtime",
  "method",
  "seed",
  "versions",
}


def quick(**changes):
  return options(**{**SPSA, **changes})


def adapt(model=MODEL, **given):
  """Sign-m-SPSA on the head, or what is given."""
  return tflm_fg.adapt(model, X, Y, test=TEST, **{**QUICK, **given})


@pytest.mark.parametrize("trainable", ["head", "bias", "all"])
def test_adapting_learns_what_it_is_shown(trainable):
  report = adapt(trainable=trainable, **quick(steps=800)).report
  assert report["accuracy_after"] > report["accuracy_before"] + 0.15
  assert report["loss_after"] < report["loss_before"]


@pytest.mark.parametrize("runtime", installed())
def test_every_runtime_trains(runtime):
  settings = quick(steps=150, learning_rate_lsb=2.0)
  report = adapt(runtime=runtime, **settings).report
  assert report["runtime"] == runtime
  assert report["loss_after"] < report["loss_before"] - 0.1


@pytest.mark.parametrize("runtime", installed())
def test_int16_activations_train(runtime):
  settings = quick(steps=150, learning_rate_lsb=2.0)
  report = adapt(
    models.dense_model(wide=True), **settings, runtime=runtime
  ).report
  assert report["loss_after"] < report["loss_before"] - 0.1


@pytest.mark.parametrize("wide", [False, True])
def test_biases_alone_learn_in_int8_and_int16(wide):
  settings = quick(steps=1500)
  model = models.dense_model(wide=wide)
  report = adapt(model, trainable="bias", **settings).report
  assert report["accuracy_after"] > report["accuracy_before"] + 0.15


def test_test_samples_that_do_not_fit_are_refused_before_training():
  watcher = Count()
  with pytest.raises(TflmFgError, match="test x"):
    tflm_fg.adapt(MODEL, X, Y, test=(X[:, :3], Y), callbacks=[watcher])
  assert not watcher.steps


class Count(Callback):
  steps = 0

  def on_train_batch_end(self, state, logs):
    self.steps += 1


@pytest.mark.parametrize("method", FORWARD)
@pytest.mark.parametrize("directions", ["rademacher", "normal"])
def test_every_method_and_direction_learns(method, directions):
  settings = quick(method=method, directions=directions, num_directions=2)
  report = adapt(**settings).report
  assert report["loss_after"] < report["loss_before"] - 0.1


@pytest.mark.parametrize("runtime", ["litert-reference", "litert"])
def test_one_seed_gives_the_same_bytes_and_another_seed_others(runtime):
  one, two = (adapt(runtime=runtime).marked_model for _ in range(2))
  other = adapt(runtime=runtime, **quick(seed=1)).marked_model
  assert one == two
  assert one != other


def test_runtimes_that_round_alike_give_the_same_file():
  """In 16x8 LiteRT's optimized and reference kernels agree bit for bit."""
  wide = models.dense_model(wide=True)
  reference = adapt(wide, runtime="litert-reference")
  assert adapt(wide, runtime="litert").marked_model == reference.marked_model


def test_rebuilding_gives_the_same_file_as_writing_in_place():
  quickest = quick(steps=60)
  in_place = adapt(**quickest, strategy="in-place")
  rebuilt = adapt(**quickest, strategy="rebuild")
  assert in_place.marked_model == rebuilt.marked_model
  assert rebuilt.report["strategy"] == "rebuild"


@pytest.mark.parametrize("method", FORWARD)
@pytest.mark.parametrize(
  "more",
  [
    {},
    {
      "guidance": 0.3, "kernel_wise": True, "sparsity": 0.3, "blocks": 2,
      "rounding": "stochastic", "optimizer": "sign", "decay": "cosine",
    },
    {
      "sparsity": 0.3, "sparse_by": "seed", "rounding": "error-feedback",
      "optimizer": "frank-wolfe", "precision": "8w8a", "anchor": 0.01,
    },
  ],
  ids=["plain", "guided", "boxed"],
)  # fmt: skip
def test_replaying_the_journal_gives_the_adapted_bytes(method, more):
  settings = quick(
    method=method, momentum=0.5, num_directions=2, steps=100, **more
  )
  result = adapt(**settings)
  recorded = journal.parse(result.journal.to_bytes())
  (record,) = recorded.records
  assert 0 < record.kept_step <= len(record.slopes)
  assert tflm_fg.replay(recorded, result.start) == result.marked_model
  assert result.marked_model != result.start


def test_a_journal_knows_its_model():
  result = adapt(**quick(steps=5))
  other = tflm_fg.mark_trainable(models.dense_model(seed=5), "head").data
  with pytest.raises(TflmFgError, match="not the file this journal"):
    tflm_fg.replay(result.journal, other)


@pytest.mark.parametrize(
  "spoil",
  [
    lambda lines: lines[:-1],
    lambda lines: [lines[0], *lines[2:]],
    lambda lines: [b"{}", *lines[1:]],
    lambda lines: [*lines[:-1], b'{"steps":99}'],
    lambda lines: [
      lines[0],
      b'{"phase":0,"step":0,"slopes":[1e400]}',
      *lines[2:],
    ],
    lambda lines: [lines[0].replace(b'"kept_step":', b'"kept_step":9'), *lines],
    lambda lines: [lines[0].replace(b'"seed":0', b'"seed":0.5'), *lines[1:]],
    lambda lines: [b"[" * 100_000],
    lambda lines: [],
  ],
)
def test_a_cut_or_edited_journal_is_refused(spoil):
  lines = adapt(**quick(steps=5)).journal.to_bytes().splitlines()
  with pytest.raises(TflmFgError, match="not a whole journal"):
    journal.parse(b"\n".join(spoil(lines)))


def test_only_the_marked_bytes_differ_and_strip_is_a_plain_model():
  result = adapt(trainable="head")
  stripped = tflm_fg.strip(result.marked_model)
  assert stripped == result.model
  assert len(stripped) == len(MODEL)
  assert training_metadata.read_mark(stripped) is None
  mark = training_metadata.read_mark(result.start)
  patchable = Patchable(result.start, [t.index for t in mark.trainable])
  adapted = Patchable(result.marked_model, [t.index for t in mark.trainable])
  assert patchable.write(adapted.read()) == result.marked_model
  after = tflm_fg.evaluate(stripped, *TEST)
  assert after["accuracy"] == result.report["accuracy_after"]
  assert after["loss"] == pytest.approx(result.report["loss_after"])


def test_the_result_is_never_worse_than_the_start_on_the_validation_part(
  monkeypatch,
):
  for rate in (64.0, 1.0):  # steps far too long, and climbing
    if rate == 1.0:
      reverse_rates(monkeypatch)
    settings = quick(learning_rate_lsb=rate, steps=60, validate_every=7)
    report = tflm_fg.adapt(MODEL, X, Y, **settings).report
    assert report["scored_on"] == "validation"
    assert report["accuracy_after"] >= report["accuracy_before"]
    assert report["loss_after"] <= report["loss_before"]


def test_without_a_validation_part_a_reversed_sign_climbs(monkeypatch):
  reverse_rates(monkeypatch)
  settings = quick(learning_rate_lsb=0.5, validation_fraction=0.0)
  report = tflm_fg.adapt(MODEL, X, Y, **settings).report
  assert report["scored_on"] == "train"
  assert report["loss_after"] > report["loss_before"] + 0.1


def test_the_report_says_when_nothing_was_gained_or_kept_aside(monkeypatch):
  with monkeypatch.context() as patch:
    reverse_rates(patch)
    worse = tflm_fg.adapt(MODEL, X, Y, **quick(learning_rate_lsb=1.0))
  assert "no step was better than the start" in worse.report["notes"][0]
  assert worse.marked_model == worse.start
  few = tflm_fg.adapt(MODEL, X[:8], Y[:8], **quick(steps=3))
  assert "too few samples" in few.report["notes"][0]
  assert not adapt(**quick()).report["notes"]


def test_test_samples_are_never_trained_on():
  """The same model comes out whatever the test samples are."""
  other = TEST[0][::-1].copy(), (TEST[1] + 1) % 4
  with_other = tflm_fg.adapt(MODEL, X, Y, test=other, **QUICK)
  assert adapt().marked_model == with_other.marked_model


def test_the_report_counts_passes_samples_and_bytes():
  settings = quick(
    steps=10,
    num_directions=3,
    validate_every=5,
    epsilon_lsb=2.0,
    learning_rate_lsb=0.5,
  )
  report = adapt(**settings).report
  assert report.keys() >= REPORT_KEYS
  assert report["trainable_parameters"] == 4 * 16 + 4
  # 2 m steps, three validations, both ends scored, the guard's 1 + 2, one of
  # the prefix.
  assert report["forward_passes"] == 60 + 3 + 2 + 3 + 1
  held = report["validation_samples"]
  assert report["train_samples"] + held == len(X) == 240
  assert report["samples_run"] == 60 * 64 + 5 * held + 3 * 32 + 240
  assert report["seconds"] > report["invoke_seconds"] > 0
  assert report["model_bytes"] == len(MODEL)
  assert sum(report["trainer_bytes_parts"].values()) == report["trainer_bytes"]


def test_passes_that_tune_are_counted():
  """Pairs along some directions at each size, and one at the start."""
  own, given = (
    adapt(**quick(steps=2, **more)).report
    for more in ({}, {"epsilon_lsb": 2.0, "learning_rate_lsb": 0.5})
  )
  pairs = len(tuning.SIZES) * tuning.PROBES
  assert own["forward_passes"] - given["forward_passes"] == 2 * pairs + 1
  assert own["samples_run"] - given["samples_run"] == 64 * (2 * pairs + 1)


def test_frozen_layers_run_once_a_sample():
  """Passes of a head run the suffix: its file holds one operator."""
  few, many = (
    adapt(**quick(steps=s, validation_fraction=0.0)).report for s in (10, 20)
  )
  assert many["samples_run"] - few["samples_run"] == 2 * 10 * 64


def test_early_stopping_ends_before_the_last_step(monkeypatch):
  reverse_rates(monkeypatch)
  settings = quick(learning_rate_lsb=0.5, patience=2, validate_every=10)
  assert adapt(**settings).report["steps"] == 20


def test_a_callback_sees_every_step_and_can_stop():
  class Stop(Callback):
    steps = 0

    def on_train_batch_end(self, state, logs):
      self.steps += 1
      self.stop_training = self.steps == 7

  watcher = Stop()
  assert adapt(callbacks=[watcher]).report["steps"] == 7


def test_the_callers_model_is_not_written():
  before = bytes(bytearray(MODEL))
  adapt(trainable="all", **quick(steps=5))
  assert before == MODEL


@pytest.mark.parametrize(
  ("x", "y", "message"),
  [
    (X[:0], Y[:0], "no samples"),
    (X[:, :5], Y, "samples of shape"),
    (X, Y + 4, "the model has 0 to 3"),
    (X, Y[:9], "need one class for each"),
    (np.full_like(X, np.nan), Y, "NaN"),
  ],
)
def test_data_that_does_not_fit_is_refused(x, y, message):
  with pytest.raises(TflmFgError, match=message):
    tflm_fg.adapt(MODEL, x, y)


def test_a_model_that_is_no_classifier_is_refused():
  data = models.dense_model(classes=1)
  for loss in ("cross-entropy", "mse"):
    with pytest.raises(TflmFgError, match=r"one number.*SOFTMAX"):
      tflm_fg.adapt(data, X, Y * 0, loss=loss)


@pytest.mark.parametrize(
  "change",
  [
    {"steps": 0},
    {"steps": 2.5},
    {"seed": -1},
    {"seed": True},
    {"batch_size": 0},
    {"validation_fraction": 1.0},
    {"validation_fraction": float("nan")},
    {"epsilon_lsb": 0.0},
    {"method": "adam"},
    {"patience": -1},
    {"momentum": "0.9"},
  ],
)
def test_settings_out_of_range_are_refused_by_name(change):
  with pytest.raises(TflmFgError, match=next(iter(change))):
    options(**change)


@pytest.mark.parametrize(
  "given",
  [
    {"epsilon_lsb": 0.25},
    {"method": "sharpness-aware", "rho_lsb": 0.5},
    {"rounding": "error-feedback", "epsilon_lsb": 0.5},
  ],
  ids=str,
)
def test_a_move_under_one_int8_step_is_warned_of_by_name(given):
  with pytest.warns(UserWarning, match=r"_lsb=0\.\d+: int8 weights mostly"):
    adapt(**quick(steps=3, **given))


@pytest.mark.parametrize(
  ("given", "place"),
  [
    ({"rounding": "stochastic"}, {}),
    ({}, {"trainable": "head", "graph_options": GraphOptions(weights="int16")}),
    (
      {},
      {"trainable": "head", "graph_options": GraphOptions(weights="int8x2")},
    ),
    ({}, {"trainable": "bias"}),
    (
      {
        "method": "sharpness-aware",
        "rounding": "stochastic",
        "epsilon_lsb": 1.0,
        "rho_lsb": 0.5,
      },
      {},
    ),
  ],
  ids=str,
)
def test_it_is_not_warned_of_where_it_is_seen(given, place):
  """Dithers, low bytes and biases hold what int8 would round away."""
  settings = quick(**{"steps": 3, "epsilon_lsb": 0.5, **given})
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert adapt(**settings, **place).marked_model


@pytest.mark.parametrize("weights", ["int16", "int8x2"])
def test_16_bit_weights_refuse_steps_of_whole_int8(weights):
  marked = tflm_fg.mark_trainable(
    MODEL, "head", graph_options=GraphOptions(weights=weights)
  ).data
  settings = quick(precision="8w8a", steps=3)
  with pytest.raises(TflmFgError, match=r"precision='8w8a': .* 16w8a"):
    tflm_fg.adapt(marked, X, Y, **settings)


def test_trainer_bytes_count_each_part():
  tensors = tflm_fg.mark_trainable(MODEL, "head").mark.trainable
  everything = tuple(t.index for t in tensors)

  def count(**settings):
    method = method_of(**{"method": "sign-m-spsa", **settings})
    phase = Phase(everything, method, Objective())
    return footprint.trainer_bytes(tensors, [phase], 4)

  assert count(momentum=0.5) == footprint.TrainerBytes(
    masters=2 * 64 + 4 * 4,
    momentum=2 * 64 + 4 * 4,
    gradient=0,
    best=2 * 64 + 4 * 4,
    loss=24,
  )
  assert count(method="closed-form").gradient == 4 * 68
  coarse = count(precision="8w8a", rounding="error-feedback")
  assert (coarse.masters, coarse.best, coarse.start) == (80, 80, 0)
  assert coarse.residue == 2 * 64 + 4
  assert count(rounding="error-feedback").residue == 68
  assert count(anchor=0.1).start == 2 * 64 + 4 * 4
  assert count(optimizer="frank-wolfe").start == 4 * 4
  assert count(optimizer="rms").squares == 8 * 68
  least = count(validation_fraction=0.0)
  assert least.total == 2 * 64 + 4 * 4 + 24


def test_trainer_bytes_count_masters_once_and_the_dearest_phase():
  """What a phase needs for itself is given back before the next."""
  marked = tflm_fg.mark_trainable(MODEL, "prompt,head").mark.trainable
  prompt, kernel, bias = marked
  assert (prompt.size, kernel.size, bias.size) == (8, 64, 4)
  first, then = (
    Phase(tuple(t.index for t in own), method, Objective())
    for own, method in (
      ([prompt], method_of(**SPSA, momentum=0.5)),
      ([kernel, bias], method_of("closed-form")),
    )
  )
  both, swapped = (
    footprint.trainer_bytes(marked, phases, 4)
    for phases in ([first, then], [then, first])
  )
  assert both == swapped
  assert both == footprint.TrainerBytes(
    masters=2 * 8 + 2 * 64 + 4 * 4,
    momentum=2 * 64 + 4 * 4,
    gradient=4 * 68,
    best=2 * 64 + 4 * 4,
    loss=24,
  )
  alone = footprint.trainer_bytes(marked, [first], 4)
  assert (alone.momentum, alone.best) == (16, 16)
  assert footprint.trainer_bytes(marked, [], 4).total == both.masters + 24


def test_curves_are_a_png_of_a_size_to_look_at():
  pytest.importorskip("matplotlib")
  result = adapt(**quick(steps=60))
  png = plots.training_curves(result.history, result.report)
  assert png[:8] == b"\x89PNG\r\n\x1a\n"
  width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
  assert width > 2 * height > 600
  assert png == plots.training_curves(result.history, result.report)


@pytest.mark.parametrize("trainable", ["head", None])
def test_samples_of_fewer_classes_than_the_model_has_are_learnt(trainable):
  some = Y < 2
  test = tuple(part[TEST[1] < 2] for part in TEST)
  report = tflm_fg.adapt(
    MODEL, X[some], Y[some], test=test, trainable=trainable
  ).report
  assert report["accuracy_after"] > 0.95


def test_an_input_stage_that_moves_nothing_on_the_samples_is_left_out():
  """A gain changes no sample of zeros; the other candidates still run."""
  x = np.where(np.arange(len(X))[:, None] < len(X) - 8, 0, X)
  report = tflm_fg.adapt(MODEL, x.astype(np.float32), Y).report
  assert report["candidates"]


def test_a_file_left_alone_is_reported_as_it_was(monkeypatch):
  """The tries may have given more: nothing of them is in the file."""
  monkeypatch.setattr(label_free, "GAINED", 99.0)
  monkeypatch.setattr(label_free, "ENOUGH", 99.0)
  result = tflm_fg.adapt(MODEL, X, Y, **options(labels="none"))
  report = result.report
  assert any(candidate["chosen"] for candidate in report["candidates"])
  assert result.marked_model == result.start
  assert result.model == MODEL
  assert report["loss_after"] == report["loss_before"]
  assert report["accuracy_after"] == report["accuracy_before"]
