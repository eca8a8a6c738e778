"""Adaptations and timings are fair, and their rows become whole tables."""

import csv
import math

import numpy as np
import pytest

import tflm_fg
from apps import benchmark
from apps.compare import jobs, output_folder
from apps.compare.analyses import accuracy, dense_stack, speed, tflm_arena
from apps.compare.data import registry, voices
from apps.compare.data.registry import UserData
from apps.compare.methods import backprop_epochs, head_descent
from apps.compare.results import analysis_rows, bars, speed_tables
from tests import models, programs, refusals
from tests.options import method_of
from tflm_fg.samples import load_npz
from tflm_fg.types import TflmFgError

pytest.importorskip("scipy", reason="needs the extra kws")

SIZES = UserData(train_samples=200, test_samples=100, shots=1)


def loss(x, y, weights):
  logits = x @ weights
  logits = logits - logits.max(axis=1, keepdims=True)
  logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  return -logs[np.arange(len(y)), y].mean()


def test_descent_ends_where_the_gradient_is_small():
  random = np.random.default_rng(0)
  x = np.hstack([random.normal(0, 1, (200, 4)), np.ones((200, 1))])
  y = random.integers(0, 3, 200)  # no structure: the optimum is inside
  weights = head_descent.descend(x, y, np.zeros((5, 3)))
  best = loss(x, y, weights)
  for _ in range(50):
    nearby = weights + random.normal(0, 0.05, weights.shape)
    assert loss(x, y, nearby) > best - 1e-3


def test_descent_learns_what_can_be_separated():
  x, y = models.separable()
  x = np.hstack([x, np.ones((len(x), 1))])
  weights = head_descent.descend(x, y, np.zeros((x.shape[1], 4)))
  assert ((x @ weights).argmax(axis=1) == y).mean() > 0.95


@pytest.fixture
def task(samples):
  train, test = split_of(samples, 0)
  return accuracy.AccuracyTask(
    model=models.dense_model(),
    data="clips",
    seed=0,
    train=train,
    test=test,
    source=test,
    runtime="litert",
    plain_method="sign-m-spsa",
    plain_steps=200,
  )


def split_of(path, seed):
  episode = registry.load(path, seed, SIZES)
  return episode.train, episode.test


@pytest.fixture
def samples(tmp_path):
  x, y = models.separable(samples=300)
  np.savez(tmp_path / "clips.npz", x=x, y=y)
  return str(tmp_path / "clips.npz")


@pytest.mark.tensorflow
@pytest.mark.parametrize("trainable", ["head", "all"])
def test_keras_learns_from_the_weights_of_the_file(
  task, trainable, monkeypatch
):
  monkeypatch.setattr(backprop_epochs, "EPOCHS", 3)
  monkeypatch.setattr(backprop_epochs, "RATES", {trainable: (1e-4, 1e-2)})
  slow, fast = backprop_epochs.fit_keras(
    task.model, task.train, task.test, task.test, trainable=trainable, seed=0
  )
  before = accuracy._before(task).accuracy
  assert abs(slow.accuracies[0] - before) < 0.1
  assert fast.accuracies[-1] > before + 0.1
  assert fast.source == fast.accuracies[-1]  # the same samples
  assert len(fast.seconds) == 3 and fast.seconds == sorted(fast.seconds)


def test_a_curve_is_reached_at_its_first_good_epoch():
  curve = backprop_epochs.Curve(1e-3, [0.5, 0.8, 0.7], [1.0, 2.0, 3.0], 0.0)
  assert curve.reached(0.7) == 2.0
  assert math.isnan(curve.reached(0.9))


def test_seed_0_keeps_the_order_of_a_file_and_others_shuffle_it(samples):
  x = load_npz(samples).x
  (train, _), (test, _) = split_of(samples, 0)
  assert np.array_equal(np.concatenate([train, test]), x)
  (train, _), (test, _) = split_of(samples, 1)
  shuffled = np.concatenate([train, test])
  assert not np.array_equal(shuffled, x)
  assert np.array_equal(np.sort(shuffled, axis=0), np.sort(x, axis=0))


def test_new_words_are_ten_and_no_split_repeats_another():
  pytest.importorskip("espeakng_loader")
  x, y = voices.new_words("adapt", 1, seed=0)
  other, _ = voices.new_words("test", 1, seed=0)
  assert y.tolist() == list(range(10))
  assert x.shape == other.shape == (10, 49, 40, 1)
  assert len({clip.tobytes() for clip in np.concatenate([x, other])}) == 20


def test_new_words_are_in_no_corpus():
  from apps.kws.synthetic import voices as corpus

  known = {*corpus.CLASSES, *corpus.UNKNOWN_WORDS}
  assert not known & set(voices.NEW_WORDS)


def test_a_run_stops_at_its_goal_and_gives_nan_where_it_is_never_reached(task):
  own = method_of("sign-m-spsa", steps=200)
  passes, seconds = accuracy.plain_reach(task, own, goal=0.0)
  assert passes == 0 and seconds == 0  # it stood there
  passes, seconds = accuracy.plain_reach(task, own, goal=0.6)
  assert 0 < passes <= 400 and seconds > 0
  assert passes % (2 * accuracy.SCORE_EVERY) == 0  # scoring is free
  passes, seconds = accuracy.plain_reach(task, own, goal=1.1)
  assert math.isnan(passes) and math.isnan(seconds)


def test_a_wide_head_takes_more_of_tflms_arena():
  pytest.importorskip("tflite_micro")
  model = models.conv_model()
  plan = tflm_fg.strip(tflm_fg.mark_trainable(model, "wide-head").data)
  before, after = (tflm_arena.arena(m) for m in (model, plan))
  assert 0 < before < after
  x = models.int8_samples((6, 5, 2), 8)
  equal, lsb = tflm_arena.agreement(plan, x)
  assert equal >= 0.8 and lsb <= 1


def timing_of_one_round(case):
  case.run()
  return case.timing()


def test_stacked_layers_run_and_have_the_weights_that_they_should():
  model = dense_stack.dense_stack([6, 5, 4])
  case = speed.Case(model, "tiny", "all", 3, what="growth")
  timing = timing_of_one_round(case)
  assert timing.weights == 6 * 5 + 5 + 5 * 4 + 4
  assert (timing.layers, timing.batch, timing.directions) == (2, 3, 1)
  assert 0 < timing.invoke_us < timing.step_us


def test_speed_runs_every_pair_that_a_ratio_needs(monkeypatch):
  monkeypatch.setattr(speed, "ROUNDS", 1)
  monkeypatch.setattr(speed, "ROUND_SECONDS", 0.0)
  timings = list(speed.speed(models.dense_model()))
  text = speed_tables.ratios(timings)
  assert text.count("in place over rebuilt") == 2  # one and two directions
  assert text.count("one worker over two, rebuild") == 2
  assert text.count("one worker over two, in-place") == 2


def rows_of(path):
  return analysis_rows.read_csv(str(path))


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
    "--out_dir=out",
  )
  assert done.returncode == 0, done.stderr
  assert "tflm-fg-compare --preset=accuracy" in done.stderr
  first = "| data | before | descent | head | plain | self-set |"
  assert f"\n\n{first}" in done.stdout
  folder = tmp_path / "out" / "accuracy"
  rows = list(csv.DictReader((folder / "rows.csv").open()))
  assert [row["seed"] for row in rows] == ["0"] * 5 + ["1"] * 5
  found = {row["method"]: float(row["accuracy"]) for row in rows}
  assert found["head"] > found["before"]
  assert found["descent"] >= found["head"] - 0.05
  assert (folder / "rows.png").read_bytes().startswith(b"\x89PNG")
  text = output_folder.joined([str(folder / "rows.csv")], str(tmp_path))
  assert done.stdout.rstrip("\n").endswith(text)


def test_timings_are_drawn_and_read_back(tmp_path):
  case = speed.Case(
    dense_stack.dense_stack([4, 3]), "samples", "all", 2, what="growth"
  )
  rows = [timing_of_one_round(case)]
  (tmp_path / "rows.csv").write_bytes(analysis_rows.to_csv(rows))
  assert rows_of(tmp_path / "rows.csv") == rows
  assert bars.draw(rows).startswith(b"\x89PNG")


def test_rows_that_depend_on_other_things_are_not_taken_up(tmp_path, samples):
  (tmp_path / "model.tflite").write_bytes(models.dense_model())
  mine = UserData(
    model=str(tmp_path / "model.tflite"), train_samples=200, test_samples=100
  )
  job = accuracy.Accuracy(domain=samples, seed=0, methods=("before",))
  folder = output_folder.Folder(str(tmp_path), [], [job], mine)
  folder.take(job, accuracy.run(job, mine))
  assert output_folder.Folder(str(tmp_path), [], [job], mine).unfinished() == []
  fewer = UserData(model=mine.model, train_samples=200, test_samples=50)
  refusals.refused(
    lambda: output_folder.Folder(str(tmp_path), [], [job], fewer),
    "line 2 was made with other data;",
    "--out_dir",
  )


def test_the_old_command_names_the_presets_that_it_runs():
  given = ["--what=accuracy,speed", "--data=a.npz", "--clips_per_word=9"]
  assert benchmark.commands_of([*given, "--model=m", "--out_dir=o"]) == [
    [
      "tflm-fg-compare",
      "--preset=accuracy",
      "--out_dir=o/accuracy",
      "--domains=a.npz",
      "--shots=9",
      "--model=m",
    ],
    [
      "tflm-fg-compare",
      "--preset=timing",
      "--out_dir=o/timing",
      "--shots=9",
      "--model=m",
    ],
  ]
  refusals.refused(lambda: benchmark.commands_of(["--out=a.csv"]), "rows.csv")


def test_an_invalid_csv_is_refused(tmp_path):
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


@pytest.mark.parametrize("job", [speed.Speed(), speed.Growth()])
def test_timings_are_jobs_whose_rows_become_tables(job, tmp_path, monkeypatch):
  monkeypatch.setattr(speed, "ROUNDS", 1)
  monkeypatch.setattr(speed, "ROUND_SECONDS", 0.0)
  case = speed.Case(dense_stack.dense_stack([4, 3]), "tiny", "all", 2)
  monkeypatch.setattr(speed, "speed", lambda model: [timing_of_one_round(case)])
  monkeypatch.setattr(speed, "growth", lambda: [timing_of_one_round(case)])
  folder = output_folder.Folder(str(tmp_path), [], [job], UserData())
  assert folder.unfinished() == [job]
  folder.take(job, jobs.do(job, UserData()))
  assert folder.unfinished() == []
  text = folder.finish("a command", 0.0)
  assert "| case | weights | layers | samples |" in text and "| tiny |" in text
  assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")
