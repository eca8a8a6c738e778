"""A file that grows answers as before, on every engine, and then adapts."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg.placement.measure import measured
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions, installed, open_session
from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions, Pooled
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.input_prompt import (
  GAIN_ONE,
  OFFSET_STEPS,
  channels_of,
)
from tflm_fg.tflite.surgery.wide_head import widths_of
from tflm_fg.tflite.tensors import Patchable, tensor_spec
from tflm_fg.types import TflmFgError

BUILDERS = {
  "dense": (models.deep_model, (8,)),  # [1, D]: QUANTIZE instead of MEAN
  "conv": (models.conv_model, (6, 5, 2)),
  "pointwise": (models.pointwise_model, (6, 5, 2)),  # the head is a 1x1 CONV
}
INSTALLED = installed()
GROWTHS = {
  "prompt": ("prompt", GraphOptions()),
  "prompt with gain": ("prompt", GraphOptions(gain=True)),
  "wide head": ("wide-head", GraphOptions()),
  "both": ("prompt,wide-head", GraphOptions(gain=True)),
}


@functools.cache
def model_of(kind, per_channel=True, wide=False):
  return BUILDERS[kind][0](per_channel=per_channel, wide=wide)


def samples_of(kind, count=40, dtype="int8"):
  """The whole range of the input, both ends too."""
  shape = BUILDERS[kind][1]
  info = np.iinfo(dtype)
  random = np.random.default_rng(7)
  x = random.integers(info.min, info.max + 1, (count, *shape)).astype(dtype)
  x[0], x[1] = info.min, info.max
  return x


def answers(data, x, runtime="litert-reference", strategy="auto"):
  part = whole(data, unmarked(data))
  return open_session(runtime, part, strategy).run((x,))[0]


@functools.cache
def plan(kind, growth, per_channel=True, measure=False):
  """Marked, with the pooled values measured or not."""
  trainable, graph_options = GROWTHS[growth]
  data = model_of(kind, per_channel)
  if measure:
    graph_options, _ = measured(
      data, samples_of(kind), graph_options, RuntimeOptions()
    )
  return mark_file(data, trainable, graph_options=graph_options)


def runtime_and_strategy():
  return [(name, "auto") for name in INSTALLED] + [("litert", "rebuild")]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize(("runtime", "strategy"), runtime_and_strategy())
def test_a_file_that_grew_answers_as_before_bit_for_bit(
  runtime, strategy, kind, per_channel
):
  x = samples_of(kind)
  want = answers(model_of(kind, per_channel), x, runtime, strategy)
  assert len(np.unique(want)) > 5
  for growth in GROWTHS:
    for measure in (False, True):
      data = plan(kind, growth, per_channel, measure).data
      got = answers(tflm_fg.strip(data), x, runtime, strategy)
      assert got.tobytes() == want.tobytes(), (growth, measure)


@pytest.mark.parametrize("kind", BUILDERS)
def test_the_head_reads_new_inputs_that_are_not_constant(kind):
  """Measured or not, so that there is something to learn from."""
  gained = {"dense": 16, "conv": 4, "pointwise": 4}[kind]
  for measure in (False, True):
    marked = plan(kind, "wide head", measure=measure)
    assert sum(widths_of(marked.data)) == gained
    (inputs,) = SplitModel(marked.data, marked.mark, RuntimeOptions()).features(
      samples_of(kind)
    )
    fresh = inputs.reshape(len(inputs), -1)[:, -gained:]
    assert (fresh.std(axis=0) > 0).mean() > 0.5


def test_measured_inputs_are_centred_and_of_one_spread():
  kind = "dense"
  x = samples_of(kind, 200)
  data = model_of(kind)
  graph_options, _ = measured(data, x, GraphOptions(), RuntimeOptions())
  marked = mark_file(data, "wide-head", graph_options=graph_options)
  (inputs,) = SplitModel(marked.data, marked.mark, RuntimeOptions()).features(x)
  fresh = inputs[:, -16:].astype(float)
  alive = fresh.std(axis=0) > 1
  assert alive.sum() > 8
  assert np.abs(fresh[:, alive].mean(axis=0)).max() < 20
  spread = fresh[:, alive].std(axis=0)
  assert spread.max() < 3 * spread.min()
  bare = mark_file(data, "wide-head").data
  assert widths_of(bare) == widths_of(marked.data) == [16]


def test_only_the_layers_that_are_told_are_joined():
  data = model_of("pointwise")
  one = mark_file(data, "wide-head", graph_options=GraphOptions(layers="^conv"))
  assert widths_of(one.data) == [4]
  with pytest.raises(TflmFgError, match="no layer before the head"):
    mark_file(data, "wide-head", graph_options=GraphOptions(layers="zzz"))


def test_wrong_layers_are_refused_in_one_line():
  refused(lambda: GraphOptions(layers="("), "wide_layers", "regular expression")


@pytest.mark.parametrize("trainable", ["prompt", "wide-head"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_int16_activations_take_no_growth(kind, trainable):
  data = model_of(kind, wide=True)
  message = refused(lambda: mark_file(data, trainable, "m.tflite"), "m.tflite")
  assert "int8" in message
  assert "--trainable" in message


def test_a_head_without_an_earlier_layer_is_refused_with_the_cure():
  refused(
    lambda: mark_file(models.dense_model(), "wide-head", "m.tflite"),
    "m.tflite",
    "no layer before the head",
    "--trainable=head",
  )


@pytest.mark.parametrize(
  ("shape", "channels"),
  [
    ((1, 8), (1, 8)),
    ((1, 49, 10, 1), (1, 1, 10, 1)),
    ((1, 32, 32, 3), (1, 1, 1, 3)),
    ((1, 1, 1, 1), (1, 1, 1, 1)),
    ((1, 7, 1), (1, 7, 1)),
  ],
)
def test_a_prompt_has_a_number_a_channel(shape, channels):
  assert channels_of(shape) == channels


@pytest.mark.parametrize("gain", [False, True])
def test_a_prompts_roles_and_sizes_are_marked(gain):
  marked = mark_file(
    model_of("conv"), "prompt,head", graph_options=GraphOptions(gain=gain)
  )
  roles = [t.role for t in marked.mark.trainable]
  assert roles == ["gain"] * gain + ["offset", "kernel", "bias"]
  assert all(t.size == 2 for t in marked.mark.trainable[:-2])
  assert f"prompt of {2 + 2 * gain} numbers" in marked.notes[0]
  assert training_metadata.read_mark(marked.data) == marked.mark


def test_offset_and_gain_count_in_their_steps():
  data = model_of("dense")
  marked = mark_file(data, "prompt", graph_options=GraphOptions(gain=True))
  indices = [t.index for t in marked.mark.trainable]
  x = models.int8_samples((8,), 30) // 4
  moves = np.arange(-4, 4, dtype=np.int8).reshape(1, 8)
  gain = np.full((1, 8), GAIN_ONE, np.int8)

  def written(gain, offset):
    file = Patchable(marked.data, indices).write([gain, offset])
    return answers(file, x)

  moved = written(gain, moves * OFFSET_STEPS)
  assert np.array_equal(moved, answers(data, x + moves, "litert-reference"))
  halved = written(gain // 2, moves * 0)
  assert np.array_equal(written(gain, moves * 0), answers(data, x))
  zero = tensor_spec(data, whole(data, unmarked(data)).inputs[0]).zero_point
  distance = (x - zero) // 2
  x = 2 * distance + zero
  halved = written(gain // 2, moves * 0)
  assert np.array_equal(halved, answers(data, distance + zero))


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("again", ["prompt", "prompt,head", "head"])
def test_marking_a_second_time_keeps_the_prompt(again, gain):
  first = mark_file(
    model_of("conv"), "prompt", graph_options=GraphOptions(gain=gain)
  )
  indices = [t.index for t in first.mark.trainable]
  found = [np.full((1, 1, 1, 2), 50 + i, np.int8) for i in range(len(indices))]
  adapted = Patchable(first.data, indices).write(found)
  x = samples_of("conv")
  want = answers(adapted, x)
  assert not np.array_equal(want, answers(first.data, x))
  second = mark_file(adapted, again, graph_options=GraphOptions(gain=gain))
  assert not any("inserted" in note for note in second.notes)
  assert np.array_equal(answers(second.data, x), want)
  marked = {t.name for t in second.mark.trainable}
  if "prompt" in again:
    assert {t.name for t in first.mark.trainable} <= marked


def test_marking_a_second_time_keeps_the_wide_head():
  first = mark_file(model_of("conv"), "wide-head")
  for again in ("wide-head", "head"):
    second = mark_file(first.data, again)
    assert tflm_fg.strip(second.data) == tflm_fg.strip(first.data)
    assert second.mark == first.mark
    assert not second.notes


@pytest.mark.parametrize("growth", GROWTHS)
def test_strip_gives_a_plain_file_that_holds_what_grew(growth):
  marked = plan("conv", growth, measure=True)
  plain = tflm_fg.strip(marked.data)
  assert training_metadata.read_mark(plain) is None
  assert tflm_fg.strip(plain) == plain
  assert b"tflm_fg" in plain  # the names of the new tensors
  x = samples_of("conv")
  assert np.array_equal(answers(plain, x), answers(model_of("conv"), x))


@pytest.mark.skipif("tflm" not in INSTALLED, reason="needs tflm")
@pytest.mark.parametrize("kind", BUILDERS)
def test_adapted_files_on_tflm_are_within_its_steps_of_the_reference(kind):
  x = samples_of(kind, 48)
  classes = answers(model_of(kind), x[:1]).size
  y = np.arange(48) % classes
  settings = options(validation_fraction=0.0, steps=30)
  for growth in ("prompt", "both"):
    trainable, graph_options = GROWTHS[growth]
    result = tflm_fg.adapt(
      model_of(kind),
      x,
      y,
      trainable=f"{trainable},head",
      graph_options=graph_options,
      **settings,
    )
    plain = result.model
    assert result.marked_model != result.start
    assert result.report["added_bytes"] > 0
    part = whole(plain, unmarked(plain))
    session = open_session("tflm", part)
    (got,) = session.run((x,))
    distance = np.abs(got.astype(int) - answers(plain, x)).max()
    assert distance <= session.traits.lsb_to_reference


def test_measuring_needs_no_labels_and_is_the_same_every_time():
  (one, passes), (two, _) = (
    measured(
      model_of("conv"), samples_of("conv"), GraphOptions(), RuntimeOptions()
    )
    for _ in range(2)
  )
  assert passes == 2  # at the whole reach, and at the one that was found
  for a, b in zip(one.pooled, two.pooled, strict=True):
    assert a.reach == b.reach
    assert np.array_equal(a.centre, b.centre)
    assert np.array_equal(a.spread, b.spread)
    assert 0 < a.reach <= 1


def test_what_was_measured_of_other_layers_does_not_fit():
  wrong = GraphOptions(pooled=(Pooled(),) * 3)
  with pytest.raises(ValueError, match="zip"):
    mark_file(model_of("conv"), "wide-head", graph_options=wrong)
