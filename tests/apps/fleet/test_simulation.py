"""The simulated fleet: samples dealt, FedAvg, the demo and its table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from apps.fleet import telling
from apps.fleet.faults import Faults
from apps.fleet.simulation import clients, fedavg, schemes, speech, table
from tests import programs
from tests.apps.fleet import fleets
from tflm_fg.types import TflmFgError


def samples(count=120, classes=12):
  x = np.arange(count, dtype=np.float32)[:, None]
  return clients.Samples(x, np.arange(count) % classes)


def small_fleet():
  x, y = fleets.samples()
  parts = [clients.Samples(*part) for part in fleets.parts()]
  return clients.Fleet(parts, clients.Samples(x, y))


def test_clients_get_few_words_each_and_every_sample_once():
  parts = clients.dealt(samples(), 10, "words", 0)
  assert max(len(set(part.y)) for part in parts) <= 4
  dealt = np.sort(np.concatenate([part.x for part in parts]).reshape(-1))
  assert (dealt == np.arange(120)).all()
  mixed = clients.dealt(samples(), 10, "mixed", 0)
  assert min(len(set(part.y)) for part in mixed) > 4


def test_another_seed_deals_otherwise():
  one, other = (clients.dealt(samples(), 5, "words", s) for s in (0, 1))
  assert any((a.y != b.y).any() for a, b in zip(one, other))


def test_fewer_samples_than_clients_are_refused():
  with pytest.raises(TflmFgError, match="5 samples for 10 clients"):
    clients.dealt(samples(5), 10, "words", 0)


def test_a_pool_gives_each_seed_a_half_of_every_class():
  found = clients.drawn(samples(), 2, 3)
  assert (np.bincount(found.y) == 5).all()
  again = clients.drawn(samples(), 2, 4)
  assert (found.x != again.x).any()


def test_a_client_that_drops_is_the_same_in_every_run():
  faults = Faults(0.3, 5)
  drops = [[faults.drops(n, d) for d in range(50)] for n in range(20)]
  assert drops == [[faults.drops(n, d) for d in range(50)] for n in range(20)]
  assert 0.25 < np.mean(drops) < 0.35
  assert not Faults().drops(1, 1)


def test_fedavg_of_one_client_is_its_own_descent_and_learns():
  fleet = small_fleet()
  floats = fedavg.FloatFleet(fleets.model(), fleet)
  found = floats.averaged(8, 1, 8, 0, Faults())
  start = fedavg._rightly(floats.start, floats.test).mean()
  assert found.accuracy > start
  assert found.rate in fedavg.RATES
  assert found.bytes_up == 4 * 8 * floats.start.size
  again = floats.averaged(8, 1, 8, 0, Faults())
  assert again.accuracy == found.accuracy


def test_a_row_of_all_samples_in_one_place_equals_the_fleets():
  results = [
    schemes.run(name, fleets.model(), small_fleet(), 0, Faults())[0]
    for name in ("central", "closed-form")
  ]
  assert results[0].accuracy == results[1].accuracy
  assert results[1].equal and results[1].replays


def test_the_table_has_means_and_spreads_and_says_when_masters_differ():
  row = table.Row(
    "x",
    [
      table.Result(0.9, 3, 1500, 2_500_000, 1.0, True, True),
      table.Result(0.8, 3, 1500, 2_500_000, 1.0, False, True),
    ],
  )
  line = table.line(row)
  assert "85.0 ± 7.1 %" in line and "1.5 kB" in line and "2.50 MB" in line
  assert row.said("equal") == "no" and row.said("replays") == "yes"
  assert "85.0 ± 7.1 %" in table.markdown(row)
  assert table.line(table.Row("y", [table.Result(0.5)])).endswith("%")


def test_the_demo_writes_what_it_prints(tmp_path):
  pytest.importorskip("espeakng_loader", reason="needs the extra kws")
  done = programs.run(
    tmp_path, "apps.fleet", "demo", "--rows=closed-form,one-round,fedavg",
    "--clients=2", "--samples_per_word=1", "--test_samples_per_word=1",
    "--seeds=1", "--dropout=0.2",
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert "masters equal: yes" in done.stdout
  assert "the journal replays: yes" in done.stdout
  told = json.loads((tmp_path / "fleet_demo" / "report.json").read_text())
  assert [row["scheme"] for row in told["rows"]][:2] == [
    "before",
    "closed form",
  ]
  assert (tmp_path / "fleet_demo" / "one-round.tflite").exists()


def test_a_row_that_is_none_is_refused(tmp_path):
  done = programs.run(tmp_path, "apps.fleet", "demo", "--rows=best")
  assert done.returncode == 1
  assert "--rows=best: need some of central" in done.stderr
  assert set(schemes.QUICK) <= set(schemes.NAMES)
  assert set(speech.VOICES) == {"whisper", "child", "hungarian"}


def test_a_model_that_became_worse_is_told_of(capsys):
  told = {
    "clients": 2, "rounds": 3, "scheme": "signs", "contributions": 6,
    "missed": 0, "epsilon": 2.0, "delta": 1e-5, "refused": ["client a: late"],
    "bytes_up": 5, "bytes_down": 7, "masters_equal": True,
    "masters_compared": 2, "masters_sha256": "0" * 64,
    "losses": [None, 1.5, 1.25], "accuracy_before": 0.9, "accuracy_after": 0.8,
  }  # fmt: skip
  telling.tell(told)
  printed = capsys.readouterr().out
  assert "1.5000 -> 1.2500" in printed and "epsilon 2 at delta" in printed
  assert "refused: client a: late" in printed
  assert "note: the model is worse on --test" in printed
  telling.tell(told | {"accuracy_after": 0.95})
  assert "worse" not in capsys.readouterr().out


def test_fedavg_weighs_each_client_by_its_samples():
  x, y = fleets.samples()
  x = np.hstack([x, np.ones((len(x), 1))]).astype(np.float64)
  own = [
    fedavg.FloatClient(x[:36], y[:36]),
    fedavg.FloatClient(x[36:], y[36:]),
  ]
  task = fedavg._Task(np.zeros((9, 4)), 1, 1, 8, 0, Faults())
  step = 2 * len(x) / np.linalg.norm(x, 2) ** 2
  one, other = (
    task._descend(client, (0, 0, n), task.start, step)
    for n, client in enumerate(own)
  )
  assert np.allclose(task.run(own, 1.0), 0.75 * one + 0.25 * other)
