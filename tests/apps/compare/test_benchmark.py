"""The benchmark's rivals are fair, and its rows become whole tables."""

import csv
import math

import numpy as np
import pytest

import tflm_fg
from apps import (
  benchmark_accuracy,
  benchmark_backprop,
  benchmark_data,
  benchmark_models,
  benchmark_plots,
  benchmark_tables,
  benchmark_timing,
  tflm_arena,
)
from tests import models, programs
from tflm_fg.training.data import load_npz
from tflm_fg.types import TflmFgError

pytest.importorskip("scipy", reason="needs the extra kws")

SIZES = benchmark_data.Sizes(train=200, test=100, per_word=1)


def loss(x, y, weights):
  logits = x @ weights
  logits = logits - logits.max(axis=1, keepdims=True)
  logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  return -logs[np.arange(len(y)), y].mean()


def test_descent_ends_where_the_gradient_is_small():
  random = np.random.default_rng(0)
  x = np.hstack([random.normal(0, 1, (200, 4)), np.ones((200, 1))])
  y = random.integers(0, 3, 200)  # no structure: the optimum is inside
  weights = benchmark_backprop.descend(x, y, np.zeros((5, 3)))
  best = loss(x, y, weights)
  for _ in range(50):
    nearby = weights + random.normal(0, 0.05, weights.shape)
    assert loss(x, y, nearby) > best - 1e-3


def test_descent_learns_what_can_be_separated():
  x, y = models.separable()
  x = np.hstack([x, np.ones((len(x), 1))])
  weights = benchmark_backprop.descend(x, y, np.zeros((x.shape[1], 4)))
  assert ((x @ weights).argmax(axis=1) == y).mean() > 0.95


@pytest.fixture
def job(samples):
  train, test = benchmark_data.split_of(samples, 0, SIZES)
  return benchmark_accuracy.Job(
    model=models.dense_model(),
    data="clips",
    seed=0,
    train=train,
    test=test,
    source=test,
    runtime="litert",
    plain=tflm_fg.Settings(method="sign-m-spsa", steps=200),
  )


@pytest.fixture
def samples(tmp_path):
  x, y = models.separable(samples=300)
  np.savez(tmp_path / "clips.npz", x=x, y=y)
  return str(tmp_path / "clips.npz")


@pytest.mark.tensorflow
@pytest.mark.parametrize("trainable", ["head", "all"])
def test_keras_learns_from_where_the_file_stands(job, trainable, monkeypatch):
  monkeypatch.setattr(benchmark_backprop, "EPOCHS", 3)
  monkeypatch.setattr(benchmark_backprop, "RATES", {trainable: (1e-4, 1e-2)})
  slow, fast = benchmark_backprop.fit_keras(
    job.model, job.train, job.test, job.test, trainable=trainable, seed=0
  )
  before = benchmark_accuracy._before(job).accuracy
  assert abs(slow.accuracies[0] - before) < 0.1
  assert fast.accuracies[-1] > before + 0.1
  assert fast.source == fast.accuracies[-1]  # the same samples
  assert len(fast.seconds) == 3 and fast.seconds == sorted(fast.seconds)


def test_a_curve_is_reached_at_its_first_good_epoch():
  curve = benchmark_backprop.Curve(1e-3, [0.5, 0.8, 0.7], [1.0, 2.0, 3.0], 0.0)
  assert curve.reached(0.7) == 2.0
  assert math.isnan(curve.reached(0.9))


def test_seed_0_keeps_the_order_of_a_file_and_others_shuffle_it(samples):
  x = load_npz(samples).x
  (train, _), (test, _) = benchmark_data.split_of(samples, 0, SIZES)
  assert np.array_equal(np.concatenate([train, test]), x)
  (train, _), (test, _) = benchmark_data.split_of(samples, 1, SIZES)
  shuffled = np.concatenate([train, test])
  assert not np.array_equal(shuffled, x)
  assert np.array_equal(np.sort(shuffled, axis=0), np.sort(x, axis=0))


def test_new_words_are_ten_and_no_split_repeats_another():
  pytest.importorskip("espeakng_loader")
  x, y = benchmark_data.new_words("adapt", 1, seed=0)
  other, _ = benchmark_data.new_words("test", 1, seed=0)
  assert y.tolist() == list(range(10))
  assert x.shape == other.shape == (10, 49, 40, 1)
  assert len({clip.tobytes() for clip in np.concatenate([x, other])}) == 20


def test_new_words_are_in_no_corpus():
  from apps.kws.synthetic import voices as domains

  known = {*domains.CLASSES, *domains.UNKNOWN_WORDS}
  assert not known & set(benchmark_data.NEW_WORDS)


def test_reaching_stops_at_the_goal_and_says_where_it_never_came(job):
  passes, seconds = benchmark_accuracy.plain_reach(job, job.plain, goal=0.0)
  assert passes == 0 and seconds == 0  # it stood there
  passes, seconds = benchmark_accuracy.plain_reach(job, job.plain, goal=0.6)
  assert 0 < passes <= 400 and seconds > 0
  assert passes % (2 * benchmark_accuracy.LOOK_EVERY) == 0  # looks are free
  passes, seconds = benchmark_accuracy.plain_reach(job, job.plain, goal=1.1)
  assert math.isnan(passes) and math.isnan(seconds)


def test_a_wide_head_takes_more_of_tflms_arena():
  pytest.importorskip("tflite_micro")
  model = models.conv_model()
  plan = tflm_fg.strip(tflm_fg.mark_trainable(model, "wide-head").data)
  before, after = (tflm_arena.arena(m) for m in (model, plan))
  assert 0 < before < after
  x = models.int8_samples((6, 5, 2), 8)
  equal, lsb = benchmark_accuracy.agreement(plan, x)
  assert equal >= 0.8 and lsb <= 1


def test_stacked_layers_run_and_have_the_weights_that_they_should():
  model = benchmark_models.dense_stack([6, 5, 4])
  case = benchmark_timing.Case(model, "tiny", "all", 3, what="growth")
  timing = case.timing_of_one_round()
  assert timing.weights == 6 * 5 + 5 + 5 * 4 + 4
  assert (timing.layers, timing.batch, timing.directions) == (2, 3, 1)
  assert 0 < timing.invoke_us < timing.step_us


def test_speed_runs_every_pair_that_a_ratio_needs(monkeypatch):
  monkeypatch.setattr(benchmark_timing, "ROUNDS", 1)
  monkeypatch.setattr(benchmark_timing, "ROUND_SECONDS", 0.0)
  timings = list(benchmark_timing.speed(models.dense_model()))
  text = benchmark_tables.ratios(timings)
  assert text.count("in place over rebuilt") == 2  # one and two directions
  assert text.count("one worker over two, rebuild") == 2
  assert text.count("one worker over two, in-place") == 2


def rows_of(path):
  rows = benchmark_tables.Rows(None)
  rows.read(str(path))
  return rows


def test_the_program_makes_rows_tables_and_a_plot(tmp_path, samples):
  (tmp_path / "model.tflite").write_bytes(models.dense_model())
  done = programs.run(
    tmp_path,
    "apps.benchmark",
    "--model=model.tflite",
    "--data=clips.npz",
    "--train_clips=200",
    "--test_clips=100",
    "--seeds=0,1",
    "--what=accuracy",
    "--steps=200",
    "--methods=before,descent,head,plain,self-set",
    "--out=rows.csv",
    "--plot=bars.png",
  )
  assert done.returncode == 0, done.stderr
  first = "| data | before | descent | head | plain | self-set |"
  assert done.stdout.startswith(first)
  rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
  assert [row["seed"] for row in rows] == ["0"] * 5 + ["1"] * 5
  found = {row["method"]: float(row["accuracy"]) for row in rows}
  assert found["head"] > found["before"]
  assert found["descent"] >= found["head"] - 0.05
  assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
  again = rows_of(tmp_path / "rows.csv")
  assert benchmark_tables.markdown(again) == done.stdout.rstrip("\n")


def test_timings_are_drawn_and_read_back(tmp_path):
  case = benchmark_timing.Case(
    benchmark_models.dense_stack([4, 3]), "clips", "all", 2, what="growth"
  )
  rows = benchmark_tables.Rows(str(tmp_path / "rows.csv"))
  rows.add(case.timing_of_one_round())
  assert rows_of(tmp_path / "rows.csv").timings == rows.timings
  assert benchmark_plots.draw(rows).startswith(b"\x89PNG")


def test_a_strange_csv_is_refused(tmp_path):
  (tmp_path / "rows.csv").write_text("what,data\naccuracy,a\n")
  with pytest.raises(TflmFgError, match="line 2 is no row"):
    rows_of(tmp_path / "rows.csv")


@pytest.mark.parametrize(
  ("flag", "said"),
  [
    ("--data=few.npz", "need 500"),
    ("--what=everything", "choose of accuracy, speed, growth"),
    ("--methods=magic", "choose of before, descent"),
    ("--seeds=one", "no whole number"),
  ],
)
def test_bad_input_is_one_line(tmp_path, flag, said):
  np.savez(tmp_path / "few.npz", x=np.zeros((9, 8)), y=np.zeros(9, int))
  done = programs.run(tmp_path, "apps.benchmark", flag)
  assert done.returncode == 1
  assert said in done.stderr.splitlines()[-1]
