"""Every placement on attention over tokens, as vision transformers have it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tests.options import options
from tflm_fg.runtimes.registry import installed, open_session
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.split_graph import whole

TOKENS, WIDTH, CLASSES = 16, 6, 3

ENGINES = sorted({*installed()} - {"tf"})

METHODS = {
  "head": "closed-form",
  "wide-head": "closed-form",
  "prompt": "per-sample",
  "first-bias": "per-sample",
  "bias": "per-sample",
  "gain": "per-sample",
}

TRAINED = {
  "head": {"head/kernel", "head/bias"},
  "first-bias": {"patches/bias"},
  "bias": {f"{n}/bias" for n in ("patches", *"qkv", "mixed", "head")},
}

pytestmark = pytest.mark.filterwarnings("ignore:.* kernel weights .* ended")

every_placement = pytest.mark.parametrize("placement", METHODS)


class Attention(models.Network):
  """Adds layers over [1, TOKENS, WIDTH]."""

  def per_token(self, flow, name):
    weights = self._weights(name, (WIDTH, WIDTH), 0, flow, True)
    out = self.activation(f"{name}/out", (1, TOKENS, WIDTH), 4.0)
    dense = schema.FullyConnectedOptionsT()
    dense.keepNumDims = True
    self.operator(
      "FULLY_CONNECTED", [flow.index, *weights], out.index, dense, 5
    )
    return out

  def product(self, left, right, name, shape, reach, turned=False):
    out = self.activation(name, shape, reach)
    matmul = schema.BatchMatMulOptionsT()
    matmul.adjY = turned
    both = [left.index, right.index]
    self.operator("BATCH_MATMUL", both, out.index, matmul, 2)
    return out

  def total(self, left, right, name):
    out = self.activation(name, left.shape, 4.0)
    both = [left.index, right.index]
    self.operator("ADD", both, out.index, schema.AddOptionsT(), 2)
    return out


@functools.cache
def attention_model():
  """Pictures [1, 4, 4, 2] -> tokens -> attention, dense -> mean -> head."""
  net = Attention(4)
  x = net.activation("x", (1, 4, 4, 2), 4.0, models.IMAGE)
  patches = net.convolution(x, WIDTH, "patches")
  shape = (1, TOKENS, WIDTH)
  target = net.tensor("shape", (3,), "int32", data=np.array(shape))
  index = net.tensor("tokens", shape, "int8", patches.scale, models.IMAGE)
  reshape = schema.ReshapeOptionsT()
  net.operator("RESHAPE", [patches.index, target], index, reshape, 1)
  tokens = models.Flow(index, shape, patches.scale, models.IMAGE)
  q, k, v = (net.per_token(tokens, name) for name in "qkv")
  square = (1, TOKENS, TOKENS)
  scores = net.product(q, k, "scores", square, 8.0, turned=True)
  seen = net.product(net.softmax(scores), v, "seen", shape, 2.0)
  flow = net.per_token(net.total(seen, tokens, "sum"), "mixed")
  axis = net.tensor("axis", (1,), "int32", data=np.array([1]))
  mean = net.activation("mean/out", (1, WIDTH), 4.0)
  reducer = schema.ReducerOptionsT()
  net.operator("MEAN", [flow.index, axis], mean.index, reducer, 2)
  head = net.dense(mean, CLASSES, "head", reach=8.0)
  return net.finish([x.index], [head.index])


@functools.cache
def learnable():
  """Pictures int8 [36, 4, 4, 2], noise around one for each class."""
  random = np.random.default_rng(0)
  y = np.arange(36) % CLASSES
  centres = random.uniform(-90, 90, (CLASSES, 4, 4, 2))
  x = centres[y] + random.normal(0, 15, (len(y), 4, 4, 2))
  return np.clip(x, -128, 127).astype("int8"), y


@functools.cache
def adapted(placement):
  x, y = learnable()
  return tflm_fg.adapt(
    attention_model(),
    x,
    y,
    test=(x, y),
    trainable=placement,
    **options(METHODS[placement], steps=20),
  )


def outputs(runtime, data):
  (made,) = open_session(runtime, whole(data, unmarked(data))).run(
    (learnable()[0],)
  )
  return made


@every_placement
@pytest.mark.parametrize("runtime", ENGINES)
def test_marking_attention_leaves_every_engines_outputs(runtime, placement):
  marked = tflm_fg.mark_trainable(attention_model(), placement)
  before = outputs(runtime, attention_model())
  assert len(np.unique(before)) > 3
  after = outputs(runtime, tflm_fg.strip(marked.data))
  assert before.tobytes() == after.tobytes()


@every_placement
def test_every_placement_trains_what_it_names(placement):
  marked = tflm_fg.mark_trainable(attention_model(), placement)
  names = {tensor.name for tensor in marked.mark.trainable}
  assert names == TRAINED.get(placement, names)
  result = adapted(placement)
  assert result.marked_model != result.start


@every_placement
def test_every_placement_on_attention_replays(placement):
  result = adapted(placement)
  again = tflm_fg.replay(result.journal, attention_model())
  assert again == result.marked_model


@pytest.mark.parametrize("placement", ["head", "wide-head"])
def test_heads_over_attention_learn(placement):
  report = adapted(placement).report
  assert report.accuracy_after > 0.8 > report.accuracy_before


def test_auto_on_attention_learns_and_replays():
  x, y = learnable()
  result = tflm_fg.adapt(attention_model(), x, y, test=(x, y))
  assert result.report.accuracy_after > 0.8
  again = tflm_fg.replay(result.journal, attention_model())
  assert again == result.marked_model
