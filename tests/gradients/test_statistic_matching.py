"""Biases bring each channel's mean back to where it was on source samples."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg import journal
from tflm_fg.fixed_point.arithmetic import MEAN_BITS, channel_means
from tflm_fg.placement.measure import with_source_means
from tflm_fg.runtimes.registry import RuntimeOptions, installed, open_session
from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.layers import outputs_of
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import up_to

SETTINGS = options(method="statistics", validation_fraction=0.0)
BUILDERS = {
  "conv": (models.conv_model, (6, 5, 2)),
  "dense": (models.deep_model, (8,)),
}


def samples_of(kind, count=60, seed=0, shift=0):
  random = np.random.default_rng(seed)
  x = random.normal(0, 30, (count, *BUILDERS[kind][1])) + shift
  return np.rint(x).clip(-128, 127).astype(np.int8)


@functools.cache
def measured_model(kind, trainable="inner-bias"):
  marked = mark_file(BUILDERS[kind][0](), trainable)
  return with_source_means(marked, samples_of(kind, 200), RuntimeOptions())


def means_of(data, known, x):
  """Each inner layer's channel means, in the order of the mark."""
  indices = list(known.mark.statistics)
  session = open_session("litert", up_to(data, indices))
  return [channel_means(output) for output in session.run((x,))]


@pytest.mark.parametrize("kind", BUILDERS)
def test_means_in_the_mark_are_those_of_the_source_samples(kind):
  known = measured_model(kind)
  assert training_metadata.read_mark(known.data) == known.mark
  operators = [t.operator for t in known.mark.trainable]
  outputs = set(outputs_of(known.file.subgraph, operators).values())
  assert outputs == set(known.mark.statistics)
  got = means_of(known.data, known, samples_of(kind, 200))
  for mean, want in zip(got, known.mark.statistics.values(), strict=True):
    assert mean.tolist() == list(want)
  plain = tflm_fg.strip(known.data)
  assert plain == tflm_fg.strip(
    mark_file(BUILDERS[kind][0](), "inner-bias").data
  )


def test_channel_means_are_over_samples_and_places_in_sixteenths():
  x = np.random.default_rng(0).integers(-128, 128, (7, 3, 2, 5))
  got = channel_means(x.astype(np.int8))
  want = x.mean(axis=(0, 1, 2)) * (1 << MEAN_BITS)
  assert got.dtype == np.int64
  assert np.abs(got - want).max() <= 0.5


@pytest.mark.parametrize("kind", BUILDERS)
def test_matching_brings_the_means_back(kind):
  known, x = measured_model(kind), samples_of(kind, 100, 3, shift=15)
  result = tflm_fg.adapt(known.data, x, **SETTINGS)
  target = np.concatenate(list(known.mark.statistics.values()))

  def away(data):
    means = np.concatenate(means_of(data, known, x))
    return np.abs(means - target).mean()

  assert away(result.marked_model) < 0.5 * away(known.data)
  assert result.report["method"] == "statistics"


def test_labels_change_no_byte_and_the_journal_replays():
  known, x = measured_model("conv"), samples_of("conv", 60, 3, shift=15)
  y = np.random.default_rng(0).integers(0, 3, len(x))
  # Under "auto" the strategy, and with it the kernels, hang on the clock.
  one, again, seeded = (
    tflm_fg.adapt(known.data, x, y, **SETTINGS, strategy="in-place")
    for y in (None, None, y)
  )
  assert (
    one.marked_model == again.marked_model == seeded.marked_model != one.start
  )
  recorded = journal.parse(one.journal.to_bytes())
  assert tflm_fg.replay(recorded, one.start) == one.marked_model


@pytest.mark.parametrize("runtime", installed())
def test_every_runtime_matches_statistics(runtime):
  if runtime == "tf":
    pytest.skip("the same kernels as litert's")
  known, x = measured_model("conv"), samples_of("conv", 40, 3, shift=15)
  result = tflm_fg.adapt(known.data, x, runtime=runtime, **SETTINGS)
  assert result.marked_model != result.start


def test_a_file_without_means_is_refused_with_the_cure():
  for trainable in ("inner-bias", "bias"):
    refused(
      lambda t=trainable: tflm_fg.adapt(
        models.conv_model(), samples_of("conv"), trainable=t, **SETTINGS
      ),
      "'statistics'",
      "--statistics=",
    )


@pytest.mark.parametrize("trainable", ["head", "all", "conv/kernel"])
def test_more_than_biases_is_refused(trainable):
  known = measured_model("conv", trainable)
  refused(
    lambda: tflm_fg.adapt(known.data, samples_of("conv"), **SETTINGS),
    "'statistics'",
    "biases before the head alone",
  )


@pytest.mark.parametrize("length", [0, 1, 3, 5, 8])
def test_a_row_that_is_no_layers_is_refused(length):
  """The conv model's inner layers have four channels each."""
  known, x = measured_model("conv"), samples_of("conv", 40, 3, shift=15)
  result = tflm_fg.adapt(known.data, x, **SETTINGS)
  lines = result.journal.to_bytes().decode().splitlines()
  row = {"phase": 0, "step": 0, "slopes": [65536] * length}
  broken = "\n".join([lines[0], json.dumps(row), *lines[2:]]).encode()
  refused(lambda: tflm_fg.replay(journal.parse(broken, "j"), result.start))


BAD_MEANS = (
  None, 5, "a", {}, [[0]], [[None, [1]]], [[10**6, [1]]], [[0, "a"]],
  [[0, [0.5]]], [[0, [True]]], [[-1, [1]]], [[0, [1 << 70]]], [[0, None]],
  [5], [[0, [1], 2]],
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD_MEANS, ids=str)
def test_broken_means_in_a_mark_are_refused(bad):
  known = measured_model("conv")
  start = known.data.index(b'{"version"')
  text = json.loads(known.data[start:].split(b"\0")[0])
  content = json.dumps({**text, "statistics": bad}).encode()
  plain = tflm_fg.strip(known.data)
  broken = training_metadata.prepend_metadata(plain, "tflm_fg", content)
  refused(lambda: tflm_fg.adapt(broken, samples_of("conv"), **SETTINGS))
