"""Room in a head's kernel is exact in scales, and moves outputs as it says."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.refusals import refused
from tflm_fg import journal, methods, replaying
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import weights_of

BUILDERS = {
  "dense": (models.dense_model, (8,)),
  "pointwise": (models.pointwise_model, (6, 5, 2)),
}


def marked_with(model, bits, trainable="head", **options):
  return mark_file(
    model,
    trainable,
    graph_options=GraphOptions(head_room=bits, **options),
  )


def held(marked):
  """The head's kernel and bias with their scales."""
  values = weights_of(marked.file, marked.mark.trainable)
  tensors = marked.mark.trainable
  return {t.role: (w, np.array(t.scales)) for t, w in zip(tensors, values)}


def logits(file, x):
  session = open_session("litert-reference", whole(file, unmarked(file)))
  return session.run((x,))[0].astype(int)


@pytest.mark.parametrize("wide", [False, True], ids=["int8", "int16x8"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", BUILDERS)
def test_scales_grow_exactly_and_outputs_move_within_the_note(
  kind, per_channel, wide
):
  build, shape = BUILDERS[kind]
  model = build(per_channel=per_channel, wide=wide)
  before, after = marked_with(model, 0), marked_with(model, 2)
  old, new = held(before), held(after)
  for role in ("kernel", "bias"):
    assert np.array_equal(new[role][1], 4 * old[role][1])
    assert np.array_equal(new[role][0], np.rint(old[role][0] / 4))
  info = np.iinfo("int16" if wide else "int8")
  x = np.random.default_rng(0).integers(info.min, info.max + 1, (200, *shape))
  x = x.astype(info.dtype)
  moved = np.abs(logits(before.file, x) - logits(after.file, x)).max()
  (said,) = re.findall(r"may move by (\d+) steps", after.notes[-1])
  assert moved <= int(said)
  if not wide:
    assert int(said) <= 8 * max(moved, 1)


def test_the_steps_of_the_note_count_inputs_from_their_zero():
  before, after = (marked_with(models.dense_model(), bits) for bits in (0, 3))
  old, new = held(before)["kernel"], held(after)["kernel"]
  lost = old[0] * old[1][:, None] - new[0] * new[1][:, None]
  # What flows in comes of a ReLU: from 0 to 255 steps, never below.
  most = 255 * max(lost.clip(0).sum(1).max(), -lost.clip(None, 0).sum(1).min())
  graph = after.file.subgraph
  source = graph.tensors[after.mark.head_input]
  assert source.zero_points == (-128,)
  steps = most * source.scales[0] / graph.tensors[after.mark.logits].scales[0]
  assert f"may move by {int(np.ceil(steps)) + 1} steps" in after.notes[-1]


def test_only_weights_and_scales_of_the_head_change():
  model = models.dense_model()
  plain, roomy = (
    ModelFile.open(data).subgraph
    for data in (
      marked_with(model, 0).data,
      marked_with(model, 3).data,
    )
  )
  assert plain.operators == roomy.operators
  other = [
    (a.name, b.name)
    for a, b in zip(plain.tensors, roomy.tensors, strict=True)
    if a.scales != b.scales
  ]
  assert other == [("head/kernel",) * 2, ("head/bias",) * 2]


def test_a_wide_head_and_16_bit_weights_take_room_too():
  model = models.deep_model()
  old, new = (held(marked_with(model, b, "wide-head")) for b in (0, 1))
  assert np.array_equal(new["kernel"][1], 2 * old["kernel"][1])
  fine = marked_with(model, 1, weights="int8x2")
  assert any("scale is 2 times" in note for note in fine.notes)
  assert any("int8x2 weights" in note for note in fine.notes)


def test_room_replays_to_the_same_bytes():
  x, y = models.detectable(60)
  result = tflm_fg.adapt(
    models.regression_model(1, tail="logistic"),
    x,
    y,
    trainable="head",
    method=methods.ClosedForm(steps=3),
    graph_options=GraphOptions(head_room=2),
  )
  content = result.journal.to_bytes()
  again = journal.parse(content)
  assert again.plan.graph_options.head_room == 2
  made = replaying.replay(content, models.regression_model(1, tail="logistic"))
  assert made == result.marked_model


def test_room_without_a_head_that_trains_is_refused():
  model = models.dense_model()
  for choice in ("prompt", "bias"):
    refused(
      lambda c=choice: marked_with(model, 2, c),
      "--head_room=2 needs a head that trains",
      "--trainable=head",
    )
  finer = mark_file(model, "head", weights="int8x2").file
  refused(lambda: marked_with(finer, 1), "16-bit weights already")


@pytest.mark.parametrize("bits", [-1, 5, 1.5, True, "2"])
def test_bits_of_room_are_a_whole_number_of_0_to_4(bits):
  refused(lambda: GraphOptions(head_room=bits), "--head_room", "0 to 4")
