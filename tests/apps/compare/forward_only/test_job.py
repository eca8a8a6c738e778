"""A job trains, quantizes and adapts; the preset makes jobs of its axes."""

import csv
import io

import numpy as np
import pytest
from absl.testing import flagsaver

from apps import cli
from apps.compare import __main__, forward_only, jobs
from apps.compare.forward_only import METHODS, FromScratch, Scratch, job
from apps.compare.forward_only.networks import Layer
from apps.compare.forward_only.to_int8 import stock
from tflm_fg.types import TflmFgError


def test_axes_make_a_job_for_each_data_seed_and_method():
  axes = Scratch(domains=("digits",), seeds=(0, 1), methods=("pepita",))
  found = axes.jobs({"epochs": 3})
  assert [(j.data, j.seed, j.method, j.epochs) for j in found] == [
    ("digits", 0, "pepita", 3),
    ("digits", 1, "pepita", 3),
  ]
  assert found[0].files == ("forward-only-digits-pepita-0.csv",)


def launch(*arguments):
  """The command in this process, whose flags are as they were afterwards."""
  with flagsaver.flagsaver():
    argv = ["tflm-fg-compare", "--preset=forward-only", *arguments]
    return cli.launch(__main__.main, __main__.__name__, argv)


def test_the_command_keeps_what_is_done_and_writes_one_table(
  tmp_path, monkeypatch, capsys
):
  seen = []

  def made(own):
    seen.append((own.method, own.seed, own.epochs))
    row = forward_only.Result(
      data=own.data, seed=own.seed, method=own.method, error=0.1
    )
    return {own.files[0]: forward_only.to_csv([row], own.made_with())}

  monkeypatch.setattr(jobs, "run_from_scratch", made)
  monkeypatch.chdir(tmp_path)
  given = ("--domains=digits", "--seeds=7", "--out_dir=out", "--workers=1")
  assert launch(*given, "--methods=pepita", "--epochs=2") == cli.DONE
  assert launch(*given, "--epochs=2") == cli.DONE
  assert seen[0] == ("pepita", 7, 2)
  assert sorted(seen) == sorted((name, 7, 2) for name in METHODS)
  assert f"{len(METHODS) - 1} jobs to do, 1 done" in capsys.readouterr().err
  text = (tmp_path / "out/tables.md").read_text()
  for name in METHODS:
    assert f"| {name} | 1 | 10.0 |" in text
  assert len((tmp_path / "out/scratch.csv").read_text().splitlines()) == 8
  assert launch(*given, "--epochs=3") == cli.FAILED
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert "was made with other epochs; choose another --out_dir" in line


@pytest.mark.parametrize(
  ("flag", "said"),
  [
    ("--methods=hebb", "--methods: 'hebb' is unknown; choose of backprop"),
    ("--domains=child", "'child' is no data to train on from scratch"),
    ("--variants=plain", "no such axis, only domains, seeds, methods"),
  ],
)
def test_bad_input_is_one_line(tmp_path, flag, said, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert launch("--out_dir=out", flag) == cli.FAILED
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert said in line


def plain(folded, x, top=None, normalized=False):
  """What stock layers give."""
  *hidden, last = folded
  for kernel, bias in hidden:
    x = np.clip(x @ kernel + bias, 0, top)
    if normalized:
      x = x / np.linalg.norm(x, axis=1, keepdims=True)
  return x @ last[0] + last[1]


@pytest.mark.parametrize("name", METHODS)
def test_stock_layers_give_the_logits_of_the_network(name):
  method = METHODS[name]
  network = method.start((12, 9, 7, 3), 0)
  random = np.random.default_rng(1)
  network = network.with_layers(
    [
      Layer(k, random.normal(0, 0.1, b.shape).astype(np.float32), 0.3)
      for k, b, _ in network.layers
    ]
  )
  x = random.uniform(0, 1, (40, 12)).astype(np.float32)
  binary = network.binary_activations
  found = plain(stock(network), x, 6 if binary else None, network.normalized)
  wanted = network.logits(x)
  same = np.abs(found - wanted).max(axis=1) < 1e-4
  # On a step's ramp, a fiftieth of its height, it may be neither 0 nor 1.
  assert same.mean() > (0.7 if binary else 0.99)


def test_going_on_takes_the_rate_that_does_best_on_what_is_kept_aside(toy):
  x, y = toy
  method = METHODS["backprop"]
  start = method.start((12, 16, 3), 0)
  network, rate = job.went_on(method, start, (x, y), seed=0)
  assert rate in job.OWN_RATES
  assert forward_only.backprop.networks.error(network, x, y) < 0.2


def test_going_on_leaves_a_network_that_no_rate_makes_better(toy):
  x, y = toy
  method = METHODS["backprop"]
  good = method.train(method.start((12, 16, 3), 0), x, y, epochs=60, seed=0)
  held = np.arange(len(y)) % job.OWN_HELD == 0
  right = good.logits(x).argmax(axis=1)  # so that nothing is left to learn
  network, rate = job.went_on(method, good, (x, right), seed=0)
  assert rate == 0 and network is good
  assert (right[held] == good.logits(x[held]).argmax(axis=1)).all()


def test_a_network_that_died_is_refused_by_name(monkeypatch):
  kind = type(METHODS["pepita"])

  def died(self, network, x, y, **others):
    return network.with_layers([Layer(k * 0, b) for k, b, _ in network.layers])

  monkeypatch.setattr(kind, "train", died)
  own = FromScratch(data="digits", seed=0, method="pepita")
  with pytest.raises(TflmFgError, match=r"pepita on digits, seed 0: .*alike"):
    forward_only.run(own)


@pytest.mark.tensorflow
def test_a_job_trains_quantizes_and_adapts_and_names_itself_if_it_cannot():
  small = FromScratch(
    data="digits",
    seed=0,
    method="tinyfoa",
    epochs=30,
    test_samples=200,
    shots=5,
    hidden=(24,),
    shifts=("contrast:5",),
  )
  content = forward_only.run(small)[small.files[0]].decode()
  scratch, shift = csv.DictReader(io.StringIO(content))
  assert float(scratch["error"]) < 0.5
  # Steps are ramps in the file, and its numbers have 8 bits.
  assert abs(float(scratch["error_int8"]) - float(scratch["error"])) < 0.1
  assert shift["shift"] == "contrast:5"
  assert float(shift["error_ours"]) <= float(shift["error_int8"]) + 0.02
  with pytest.raises(
    TflmFgError, match=r"tinyfoa on nowhere, seed 0: .*nowhere"
  ):
    forward_only.run(FromScratch(data="idx:/nowhere", seed=0, method="tinyfoa"))
