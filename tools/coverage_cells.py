"""Samples of some classes only, and ways to adapt to them.

A setting is a model with samples of all its classes as they come now, and some
as they came before. A part takes the classes that are shown out of it: a few
samples of each to learn from, and others to score on, of the classes that are
shown and of those that are not.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import tflm_fg
from apps.compare.data import voices
from apps.compare.data.cache import cached
from apps.compare.methods import backprop
from apps.compare.methods.head_descent import quiet_tensorflow
from apps.kws.model.shipped import shipped_path
from tflm_fg.methods import Auto
from tflm_fg.runtimes import open_session
from tflm_fg.samples import model_input
from tflm_fg.tflite import input_spec, unmarked, whole
from tflm_fg.training import Batches, logits_of
from tools import shift_samples
from tools.shift_samples import Part

TINY_SHIFTS = {
  "tiny": "none",
  "tiny-A": "A",
  "tiny-B": "B",
  "tiny-C": "C",
}
"""MLPerf Tiny's spotter: as its samples are, and under three offsets."""

SETTINGS = (*TINY_SHIFTS, "whisper")
"""`whisper` is the spotter of this repository and a voice that is new to it."""

OLD_SAMPLES = 5
"""Samples of before a class, where some are given."""

MOST_SAMPLES, LEAST_SCORED = 30, 12
"""Samples of a class to learn from at most, and to score on at least."""

KERAS_RATE, KERAS_EPOCHS, BATCH = 1e-3, 20, 32
"""Plain fine-tuning: Adam with the learning rate that Keras sets by itself."""


@dataclasses.dataclass(frozen=True)
class Setting:
  """A model and samples of all its classes.

  Attributes:
    model: the .tflite.
    pool: samples to learn from, as they come now.
    test: others to score on, as they come now.
    unshown_test: samples to score classes on of which none are learned from;
      more than `test` has.
    old: a few samples of every class as they came before.
    old_test: others as they came before, to score on.
  """

  model: bytes
  pool: Part
  test: Part
  unshown_test: Part
  old: Part
  old_test: Part


class Shown(NamedTuple):
  """What is learned from and scored on where some classes are shown.

  Attributes:
    train: samples of the classes that are shown.
    shown: test samples of these classes.
    others: test samples of all other classes.
  """

  train: Part
  shown: Part
  others: Part


class Ended(NamedTuple):
  """Accuracies before and after, and what it took.

  Attributes:
    shown_before: of the file as it came, on classes that are shown.
    shown_after: of the adapted one.
    others_before: the same on the classes that are not shown.
    others_after: of the adapted one.
    old_before: the same on samples of all classes as they came before.
    old_after: of the adapted one.
    passes: runs of a batch; 0 for Keras.
    seconds: of the whole run.
    estimated: the change of the others that the report estimates; NaN where it
      estimates none.
  """

  shown_before: float
  shown_after: float
  others_before: float
  others_after: float
  old_before: float
  old_after: float
  passes: int
  seconds: float
  estimated: float = math.nan


@functools.lru_cache(maxsize=4)
def setting_of(
  name: str, seed: int, data: pathlib.Path | None, cache: pathlib.Path
) -> Setting:
  """The model and samples of a setting.

  Args:
    name: one of SETTINGS.
    seed: which samples are learned from, and which are scored on.
    data: the folder of MLPerf Tiny's spotter, see tools/measure_shifts.py.
    cache: a folder for samples of synthetic voices.
  """
  if name in TINY_SHIFTS:
    if data is None:
      raise SystemExit(f"{name}: needs --data=FOLDER")
    return _tiny(data, TINY_SHIFTS[name], seed)
  train, test = voices.split_of(name, MOST_SAMPLES, seed, str(cache))
  source = voices.source_samples(str(cache))
  old_test = cached(str(cache), "source-test-0", lambda: voices.source_test(0))
  return Setting(
    pathlib.Path(shipped_path()).read_bytes(),
    train,
    test,
    test,
    _few(source, range(12), OLD_SAMPLES),
    old_test,
  )


def _tiny(data: pathlib.Path, shift: str, seed: int) -> Setting:
  """Samples are one pool on disk: each class is divided by the seed."""
  x, y = shift_samples.samples(data, shift)
  plain, _ = shift_samples.samples(data, "none")
  order = np.random.default_rng([5, seed]).permutation(len(y))
  rank = np.empty(len(y), np.int64)
  limit = np.empty(len(y), np.int64)
  for label in np.unique(y):
    members = order[y[order] == label]
    rank[members] = np.arange(len(members))
    limit[members] = min(MOST_SAMPLES, len(members) - LEAST_SCORED)
  pool, test = order[(rank < limit)[order]], rank >= limit
  old, unshown = rank < OLD_SAMPLES, rank >= OLD_SAMPLES
  return Setting(
    (data / "kws_ref_model.tflite").read_bytes(),
    (x[pool], y[pool]),
    (x[test], y[test]),
    (x[unshown], y[unshown]),
    (plain[old], y[old]),
    (plain[test], y[test]),
  )


def shown_of(setting: Setting, classes: int, samples: int, seed: int) -> Shown:
  """Takes some classes; the seed says which, and more have fewer in them.

  Args:
    setting: the samples.
    classes: how many are shown.
    samples: of each of them to learn from, at most.
    seed: which ones.
  """
  every = np.unique(setting.test[1])
  chosen = np.random.default_rng([6, seed]).permutation(every)[:classes]
  return Shown(
    _few(setting.pool, chosen, samples),
    _take(setting.test, np.isin(setting.test[1], chosen)),
    _take(setting.unshown_test, ~np.isin(setting.unshown_test[1], chosen)),
  )


def _few(part: Part, classes: Any, count: int) -> Part:
  """The first samples of some classes."""
  rows = [np.flatnonzero(part[1] == label)[:count] for label in classes]
  return _take(part, np.concatenate(rows))


def _take(part: Part, rows: Any) -> Part:
  return part[0][rows], part[1][rows]


def adapted(setting: Setting, parts: Shown, seed: int, **given: Any) -> Ended:
  """Adapts with this library's defaults, but for what is given."""
  began = time.perf_counter()
  result = tflm_fg.adapt(
    setting.model, *parts.train, method=Auto(seed=seed), workers=1, **given
  )
  seconds = time.perf_counter() - began
  scores: list[float] = []
  for part in (parts.shown, parts.others, setting.old_test):
    scores += accuracy(setting.model, part), accuracy(result.model, part)
  told = result.report.forgetting or {}
  estimated = math.nan
  if told.get("measured_on") == "estimate":
    estimated = told["accuracy_after"] - told["accuracy_before"]
  return Ended(*scores, result.report.forward_passes, seconds, estimated)


def replayed(setting: Setting, parts: Shown, seed: int) -> Ended:
  """The default with samples of before, which are trained on too."""
  return adapted(setting, parts, seed, replay=setting.old)


def judged(setting: Setting, parts: Shown, seed: int) -> Ended:
  """The default with samples of before, by which it is judged alone."""
  return adapted(setting, parts, seed, old_data=setting.old)


def backpropagated(setting: Setting, parts: Shown, seed: int) -> Ended:
  """Fine-tunes every weight of the float counterpart in Keras, and no more.

  Adam, KERAS_EPOCHS epochs in batches of BATCH with cosine decay.
  """
  _one_thread()
  began = time.perf_counter()
  nets = [
    backprop.float_net(setting.model, "all", parts.train, part)
    for part in (parts.shown, parts.others, setting.old_test)
  ]
  batches = Batches(len(parts.train[1]), BATCH, seed)
  steps = KERAS_EPOCHS * -(-len(parts.train[1]) // batches.size)
  rows = [batches.at(step) for step in range(steps)]
  found = nets[0].trained(rows, KERAS_RATE)[-1].values
  seconds = time.perf_counter() - began
  scores: list[float] = []
  for net in nets:
    scores += [net.scored(values)[0] for values in (net.start, found)]
  return Ended(*scores, 0, seconds)


METHODS: Mapping[str, Any] = {
  "default": adapted,
  "replay": replayed,
  "old-data": judged,
  "head": functools.partial(adapted, trainable="head"),
  "wide-head": functools.partial(adapted, trainable="wide-head"),
  "prompt": functools.partial(adapted, trainable="prompt"),
  "keras": backpropagated,
}


@functools.cache
def _one_thread() -> None:
  """What is compared runs beside other work, so each takes one core."""
  threads = quiet_tensorflow().config.threading
  threads.set_intra_op_parallelism_threads(1)
  threads.set_inter_op_parallelism_threads(1)


def accuracy(model: bytes, part: Part) -> float:
  """Share of right answers of a file; NaN where there are no samples."""
  x, y = part
  if not len(y):
    return float("nan")
  session = open_session("litert", whole(model, unmarked(model)))
  grid = model_input(x, input_spec(model))
  answers = logits_of(session, (grid,))
  return float((answers.argmax(axis=1) == y).mean())
