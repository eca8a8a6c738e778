"""The measuring tool shifts samples, takes shifts back, and splits them."""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import pytest

from tools import measure_shifts, shift_samples
from tools.shift_methods import Ended


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
  random = np.random.default_rng(0)
  x = random.integers(-40, 80, (340, 49, 10, 1)).astype(np.int8)
  moved = x + np.arange(-5, 5)[:, None]
  y = np.arange(340) % 12
  np.savez(tmp_path / "clips.npz", x=x, y=y)
  for end in "ABC":
    file = tmp_path / f"clips_offset_{end}.npz"
    np.savez(file, x=moved.astype(np.int8), y=y)
  return tmp_path


@pytest.mark.parametrize("name", ["A", "offsets1", "none", "mixed1"])
def test_undoing_a_shift_gives_nearly_the_unshifted_samples(folder, name):
  plain, _ = shift_samples.samples(folder, "none")
  shifted, _ = shift_samples.samples(folder, name)
  again, _ = shift_samples.samples(folder, name, undo=True)
  apart = [np.abs(x.astype(int) - plain).mean() for x in (shifted, again)]
  assert apart[1] < 0.5
  assert name == "none" or apart[0] > 2


def test_a_slower_speaker_is_taken_back_where_nothing_was_cut_off(folder):
  frames = np.sin(np.arange(49) / 5)[None, :, None, None]
  shift = shift_samples.Shift(stretch=1.5)
  slow = shift_samples.shifted(frames, shift)
  again = shift_samples.undone(slow, shift)
  assert np.abs(slow - frames).max() > 0.5
  assert np.abs(again - frames)[:, 10:-10].max() < 0.02


def test_a_split_tests_on_what_it_does_not_train_on(folder):
  part = shift_samples.samples(folder, "none")
  for number in range(3):
    train, test = shift_samples.split(part, number)
    assert len(train[0]) == shift_samples.TRAIN
    together = np.concatenate([train[0], test[0]])
    unique = np.unique(together.reshape(len(together), -1), axis=0)
    assert len(unique) == len(part[0])
  x, y = shift_samples.few(train, 5, 0)
  assert np.bincount(y).tolist() == [5] * 12
  assert len(x) == 60


def test_a_run_that_the_cache_has_is_not_run_again(folder, monkeypatch):
  ran = []

  def run(model, train, test, seed):
    ran.append(seed)
    return Ended(0.5, 0.25 * seed, 10, 1.0, "head")

  monkeypatch.setitem(measure_shifts.METHODS, "default", run)
  given = argparse.Namespace(
    folder=folder,
    cache=folder / "runs.jsonl",
    per_class=0,
    splits=1,
    seeds=2,
  )
  first = measure_shifts._runs(given, "none", "default")
  given.seeds = 3
  second = measure_shifts._runs(given, "none", "default")
  assert ran == [0, 1, 2]
  assert second[:2] == first
  row = measure_shifts._row("none", "default", second)
  assert row == "| none | default | 0.500 | 0.250 | 0.204 | 10 | 1.0 |"
