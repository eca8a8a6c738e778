"""Runs are what they say, stop and go on, and depend on no worker count."""

import csv
import dataclasses

import matplotlib.image
import numpy as np
import pytest
from absl.testing import flagsaver

import tflm_fg
from apps import cli
from apps.compare import __main__, jobs, output_folder, workers
from apps.compare.data import digits
from apps.compare.data.registry import UserData, fingerprint, load, title
from apps.compare.grid import Grid, cells_of
from apps.compare.methods import integer, run, scoring
from tests import programs, refusals
from tests.options import options
from tflm_fg.samples import Dataset
from tflm_fg.types import TflmFgError

TIMES = ("seconds",)


def without_times(path):
  with open(path, encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
  return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def test_forward_gradients_learn_and_take_the_passes_they_may(cell, user_data):
  found = run.run(cell, user_data)
  assert found.accuracy_after > found.accuracy_before + 0.1
  assert found.forward_passes == 120
  assert found.curve[0] == (0, found.accuracy_before)
  assert found.curve[-1] == (120, found.accuracy_after)
  assert len(found.curve) == scoring.NUM_SCORES


def test_what_is_scored_is_the_file_that_adapt_writes(cell, user_data):
  task = load(cell.domain, cell.seed, user_data)
  marked = integer.marked_of(cell, task)
  watch = scoring.TestScores(scoring.scorer_of(marked, Dataset(*task.test)))
  settings = options(
    method="sign-m-spsa", steps=40, batch_size=16, validation_fraction=0.0
  )
  result = tflm_fg.adapt(
    marked.data, *task.train, **settings, callbacks=[watch]
  )
  whole = tflm_fg.evaluate(result.model, *task.test, runtime=integer.RUNTIME)
  assert watch.scores[-1].accuracy == whole["accuracy"]
  assert watch.passes == 80


def test_scoring_is_no_training(cell, user_data, monkeypatch):
  often = run.run(cell, user_data)
  monkeypatch.setattr(scoring, "NUM_SCORES", 2)
  monkeypatch.setattr(
    scoring.TestScores.__init__, "__defaults__", (2, False), raising=False
  )
  seldom = run.run(cell, user_data)
  assert len(seldom.curve) == 2 < len(often.curve)
  assert seldom.accuracy_after == often.accuracy_after
  assert seldom.forward_passes == often.forward_passes


@pytest.mark.parametrize(
  "fields",
  [
    {"method": "closed-form", "trainable": "head"},
    {"method": "node", "trainable": "head"},
    {"method": "spsa"},
    {"variant": "m=3"},
    {"precision": "fp32"},
    {"precision": "8w8a"},
    {"precision": "8w8a-same-rate"},
    {"method": "auto", "trainable": "auto"},
  ],
)
def test_every_kind_of_cell_runs(cell, user_data, fields):
  found = run.run(dataclasses.replace(cell, **fields), user_data)
  assert 0 <= found.accuracy_after <= 1
  assert found.forward_passes > 0 and found.chosen
  assert [n for n, _ in found.curve] == sorted({n for n, _ in found.curve})


def test_float_and_8w8a_may_take_the_rate_that_16w8a_chose(cell, user_data):
  found = {
    precision: run.run(
      dataclasses.replace(cell, precision=precision), user_data
    )
    for precision in ("16w8a", "fp32", "8w8a-same-rate")
  }
  assert len({measured.chosen for measured in found.values()}) == 1
  assert len({measured.loss_after for measured in found.values()}) == 3


def test_zero_shot_is_the_file_as_it_is(cell, user_data):
  found = run.run(dataclasses.replace(cell, method="zero-shot"), user_data)
  task = load(cell.domain, 0, user_data)
  known = tflm_fg.evaluate(task.model, *task.test, runtime=integer.RUNTIME)
  assert found.accuracy_before == found.accuracy_after == known["accuracy"]
  assert found.forward_passes == 0


def test_a_users_data_set_is_sampled_into_episodes(tmp_path, cell):
  for letter in ("a", "b", "c"):
    folder = tmp_path / "drawings" / "Latin" / letter
    folder.mkdir(parents=True)
    for take in range(5):
      drawing = np.zeros((8, 8, 3))
      drawing[ord(letter) - ord("a") + 2 * (take % 3)] = 1.0
      matplotlib.image.imsave(str(folder / f"{take}.png"), drawing)
  (tmp_path / "digits.tflite").write_bytes(digits.shipped_model())
  name = f"omniglot:{tmp_path}/drawings:8"
  given = UserData(
    model=str(tmp_path / "digits.tflite"), shots=3, ways=2, test_samples=4
  )
  task = load(name, 1, given)
  assert len(task.train[1]) == 6 and len(task.test[1]) == 4
  assert title(name) == "omniglot:drawings:8"
  own = dataclasses.replace(
    cell, domain=name, seed=1, method="closed-form", trainable="head"
  )
  assert 0 <= run.run(own, given).accuracy_after <= 1


def test_a_cell_that_cannot_run_is_named(cell, user_data):
  odd = dataclasses.replace(cell, trainable="none-such")
  refusals.refused(lambda: run.run(odd, user_data), "none-such")
  far = dataclasses.replace(cell, domain="martian-5shot")
  refusals.refused(lambda: run.run(far, user_data), "martian")


def broken(job):
  if job == 1:
    raise TflmFgError("job 1 is broken")
  return 2 * job


def test_any_count_of_workers_gives_the_same():
  for count in (1, 2):
    assert dict(workers.run_all(abs, [-1, -2, -3], count)) == {
      -1: 1,
      -2: 2,
      -3: 3,
    }


@pytest.mark.parametrize("count", [1, 2])
def test_a_refusal_comes_back_from_a_worker_and_the_others_go_on(count):
  found = dict(workers.run_all(broken, [1, 2, 3], count))
  assert str(found[1]) == "job 1 is broken"
  assert (found[2], found[3]) == (4, 6)


def test_a_stopped_grid_goes_on_and_gives_the_same_rows(
  cell, user_data, tmp_path
):
  grid = Grid(
    methods=("zero-shot", "sign-m-spsa", "closed-form"),
    trainable=("head",),
    domains=(cell.domain,),
    seeds=(0, 1),
    passes=20,
    batch=16,
  )
  cells = cells_of([grid])
  for name in ("whole", "parts"):
    (tmp_path / name).mkdir()
  whole = output_folder.Folder(str(tmp_path / "whole"), cells, [], user_data)
  for job in whole.unfinished():
    whole.take(job, jobs.do(job, user_data))
  whole.finish("a command", 0.0)
  first = output_folder.Folder(str(tmp_path / "parts"), cells, [], user_data)
  job = jobs.longest_first(first.unfinished())[-1]
  first.take(job, jobs.do(job, user_data))
  second = output_folder.Folder(str(tmp_path / "parts"), cells, [], user_data)
  assert second.unfinished() == [c for c in cells if c != job]
  for job in reversed(second.unfinished()):
    second.take(job, jobs.do(job, user_data))
  assert (
    output_folder.Folder(
      str(tmp_path / "parts"), cells, [], user_data
    ).unfinished()
    == []
  )
  assert without_times(tmp_path / "parts" / "runs.csv") == without_times(
    tmp_path / "whole" / "runs.csv"
  )


def test_the_fingerprint_of_a_file_is_of_its_bytes_and_a_built_in_name_has_none(
  user_data, cell, tmp_path
):
  assert fingerprint("child-5shot", user_data) == ""
  known = fingerprint(cell.domain, user_data)
  assert fingerprint(cell.domain, user_data) == known
  fewer = dataclasses.replace(user_data, test_samples=20)
  elsewhere = dataclasses.replace(user_data, cache=str(tmp_path), shots=7)
  assert fingerprint(cell.domain, fewer) != known
  assert fingerprint(cell.domain, elsewhere) == known
  with np.load(cell.domain) as held:
    np.savez(cell.domain, x=held["x"] + np.float32(0.01), y=held["y"])
  assert fingerprint(cell.domain, user_data) != known
  folder = f"omniglot:{tmp_path}"
  assert fingerprint(folder, user_data) != fingerprint(folder, elsewhere)


def test_the_command_runs_a_grid_in_two_processes_and_goes_on(
  user_data, tmp_path, monkeypatch, capsys
):
  arguments = [
    "--preset=backprop",
    "--model=model.tflite",
    "--domains=clips.npz",
    "--train_samples=80",
    "--test_samples=40",
    "--methods=zero-shot,sign-m-spsa",
    "--trainable=head,all",
    "--seeds=0,1",
    "--passes=20",
    "--out_dir=out",
  ]
  done = programs.run(tmp_path, "apps.compare", *arguments, "--workers=2")
  assert done.returncode == 0, done.stderr
  text = (tmp_path / "out" / "tables.md").read_text()
  assert done.stdout.strip() == text.strip()
  assert "Seeds 0, 1" in text and "numpy" in text
  assert (tmp_path / "out" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
  kept = tmp_path / "out" / "runs.csv"
  both = without_times(kept)
  assert len(both) == 6
  kept.write_text("".join(kept.read_text().splitlines(keepends=True)[:-2]))
  monkeypatch.chdir(tmp_path)
  assert launch(*arguments, "--workers=1") == cli.DONE
  assert "2 jobs to do, 4 done before" in capsys.readouterr().err
  assert without_times(kept) == both
  fewer = [a.replace("test_samples=40", "test_samples=30") for a in arguments]
  assert launch(*fewer) == cli.FAILED
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert "other data" in line and '"test_samples": 30' in line


def test_a_refused_cell_is_named_and_the_others_are_in_tables(
  user_data, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)

  def forward(cell, task, cache):
    raise TflmFgError(f"{cell.seed} is\nunlucky")

  monkeypatch.setattr(integer, "forward", forward)
  status = launch(
    "--preset=backprop",
    "--model=model.tflite",
    "--domains=clips.npz",
    "--train_clips=80",
    "--test_clips=40",
    "--methods=sign-m-spsa,zero-shot",
    "--trainable=head",
    "--seeds=3,4",
    "--passes=20",
    "--workers=1",
    "--out_dir=out",
  )
  said = capsys.readouterr().err.splitlines()
  assert status == cli.FAILED
  assert sum("not done: " in line for line in said) == 2
  assert "2 of 4 jobs could not be done" in said[-1] and "unlucky" in said[-1]
  assert "zero-shot" in (tmp_path / "out" / "tables.md").read_text()
  kept = without_times(tmp_path / "out" / "runs.csv")
  assert [line["method"] for line in kept] == ["zero-shot"] * 2


def launch(*arguments):
  """The command in this process, whose flags are as they were afterwards."""
  with flagsaver.flagsaver():
    argv = ["tflm-fg-compare", *arguments]
    return cli.launch(__main__.main, __main__.__name__, argv)


@pytest.mark.parametrize(
  ("flag", "said"),
  [
    ("--methods=magic", "--methods: 'magic' is unknown"),
    ("--domains=martian-5shot", "martian-5shot"),
    ("--domains=missing.npz", "missing.npz: no such file"),
    ("--seeds=one", "no whole number"),
    ("--seeds=\u00b2", "no whole number"),
    (f"--seeds={1 << 64}", "no whole number"),
    ("--domains=", "--domains is empty"),
    ("--trainable=haed", "--trainable: 'haed' is unknown"),
  ],
)
def test_bad_input_is_one_line(tmp_path, flag, said, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert launch("--out_dir=out", flag) == cli.FAILED
  lines = capsys.readouterr().err.strip().splitlines()
  assert len(lines) == 1 and said in lines[0]
