"""A legacy uint8 file rewritten to int8: the same numbers, and what is said."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg.runtimes.registry import installed, is_installed, open_session
from tflm_fg.tflite import model_file
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.surgery.ready import ready
from tflm_fg.tflite.surgery.uint8_to_int8 import _symmetric
from tflm_fg.tflite.tensors import Patchable

X, Y = models.separable(samples=96)
ENGINES = sorted({*installed()} - {"tf", "litert-reference", "litert-xnnpack"})


def mobile_model(per_channel=False):
  """conv, depthwise, average pooling, 1x1 conv, as MobileNet ends."""
  net = models.Network(3, per_channel=per_channel)
  x = net.activation("x", (1, 6, 6, 3), 4.0, models.IMAGE)
  flow = net.convolution(x, 8, "conv")
  flow = net.convolution(flow, 8, "depthwise", depthwise=True)
  pooled = net.activation("pooled", (1, 1, 1, 8), 4.0, flow.zero_point)
  model = net.graph.tensors
  model[pooled.index].quantization = model[flow.index].quantization
  pool = schema.Pool2DOptionsT()
  pool.filterHeight = pool.filterWidth = 6
  pool.strideH = pool.strideW = 1
  pool.padding = schema.Padding.VALID
  net.operator("AVERAGE_POOL_2D", [flow.index], pooled.index, pool, 2)
  flow = models.Flow(pooled.index, pooled.shape, flow.scale, flow.zero_point)
  flow = net.convolution(flow, 4, "head", size=1, relu=False, reach=8.0)
  return net.finish([x.index], [net.softmax(flow).index])


def joined_model():
  """Two layers of different scales, joined, and a head."""
  net = models.Network(5, per_channel=False)
  x = net.activation("x", (1, 8), 4.0, models.FEATURES)
  flows = [
    net.dense(x, 6, name, reach=reach)
    for name, reach in (("coarse", 6.0), ("fine", 3.0))
  ]
  both = net.activation("both", (1, 12), 6.0)
  joining = schema.ConcatenationOptionsT()
  joining.axis = 1
  inputs = [flow.index for flow in flows]
  net.operator("CONCATENATION", inputs, both.index, joining, 1)
  flow = net.dense(both, 4, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(flow).index])


BUILT = {
  "dense": (models.dense_model(per_channel=False), (8,)),
  "conv": (models.conv_model(per_channel=False), (6, 5, 2)),
  "mobile": (mobile_model(), (6, 6, 3)),
  "joined": (joined_model(), (8,)),
}


def samples(kind, count=24):
  random = np.random.default_rng(1)
  x = random.integers(0, 256, (count, *BUILT[kind][1]))
  return x.astype("uint8")


def rewritten(data):
  return ready(ModelFile.open(data), GraphOptions())


def logits(file, x, runtime="litert"):
  file = ModelFile.of(file)
  session = open_session(runtime, whole(file, unmarked(file)))
  return session.run((x,))[0].astype(int)


@pytest.mark.parametrize("points", [(128,), (110, 150, 128)])
@pytest.mark.parametrize("kind", BUILT)
def test_kernels_that_int8_can_hold_give_the_same_logits(kind, points):
  """Averages, and what is joined at another scale, round ties another way."""
  legacy = models.uint8_model(BUILT[kind][0], points)
  file, notes = rewritten(legacy)
  x = samples(kind)
  want = logits(legacy, x)
  assert len(np.unique(want)) > 5
  most = 0 if kind in ("dense", "conv") else 1
  assert np.abs(logits(file, x) - want).max() <= most
  assert " 0 quantized anew" in notes[0]
  dtypes = {t.dtype for t in file.subgraph.tensors}
  ends = (*file.subgraph.inputs, *file.subgraph.outputs)
  assert "int8" in dtypes
  assert [file.subgraph.tensors[i].dtype for i in ends] == ["uint8"] * 2
  assert sum(t.dtype == "uint8" for t in file.subgraph.tensors) == 2


@pytest.mark.parametrize("runtime", ENGINES)
@pytest.mark.parametrize("kind", BUILT)
def test_every_engine_runs_the_rewritten_file(kind, runtime):
  legacy = models.uint8_model(BUILT[kind][0], (140, 100))
  x = samples(kind)
  got = logits(rewritten(legacy).file, x, runtime)
  assert np.abs(got - logits(legacy, x)).max() <= 4


@pytest.mark.parametrize("kind", ["dense", "conv", "mobile"])
def test_kernels_beyond_int8_are_quantized_anew_and_the_change_is_said(kind):
  legacy = models.uint8_model(BUILT[kind][0], (60,), stretch=1.6)
  file, notes = rewritten(legacy)
  assert " 0 quantized anew" not in notes[0]
  x = samples(kind)
  change = np.abs(logits(file, x) - logits(legacy, x)).max()
  assert 0 < change <= 12
  result = tflm_fg.adapt(
    legacy,
    x,
    np.arange(len(x)) % 2,
    trainable="head",
    **options(method="closed-form", steps=1),
  )
  (said,) = [n for n in result.report.notes if "rewriting changes" in n]
  assert f"at most {change} steps of the logits" in said
  assert f"{len(x)} of your samples" in said


def test_a_channel_that_fits_keeps_its_weights():
  random = np.random.default_rng(0)
  weights = random.integers(-120, 120, (4, 3, 3, 2))
  weights[1, 0, 0, 0] = 200
  values, coarser = _symmetric(weights, 0)
  assert coarser[0] == coarser[2] == coarser[3] == 1
  assert coarser[1] == pytest.approx(200 / 127)
  assert np.array_equal(values[[0, 2, 3]], weights[[0, 2, 3]])
  assert np.abs(values[1] * coarser[1] - weights[1]).max() <= coarser[1] / 2


def test_weights_of_a_dense_layer_share_one_scale():
  weights = np.array([[100, 5], [-255, 7]])
  values, coarser = _symmetric(weights, None)
  assert coarser.shape == (1,)
  assert values.tolist() == [[50, 2], [-127, 3]]


def test_a_bias_stands_for_the_same_number_in_its_new_units():
  legacy = ModelFile.open(
    models.uint8_model(BUILT["conv"][0], (60,), stretch=1.6)
  )
  file = rewritten(legacy.data).file
  for name in ("conv/bias", "depthwise/bias", "head/bias"):
    real = []
    for one in (legacy, file):
      index = [t.name for t in one.subgraph.tensors].index(name)
      (held,) = Patchable(one, [index]).read()
      scales = np.array(one.subgraph.tensors[index].scales)
      real.append(held * scales)
    assert np.allclose(*real, atol=scales.max())


@pytest.mark.parametrize("trainable", ["head", "wide-head", "prompt", "all"])
def test_it_adapts_and_replays_from_the_users_file(trainable):
  legacy = models.uint8_model(models.deep_model(per_channel=False), (150, 90))
  method = "sign-m-spsa" if trainable in ("prompt", "all") else "closed-form"
  result = tflm_fg.adapt(
    legacy, X, Y, trainable=trainable, **options(method=method, steps=4)
  )
  assert tflm_fg.replay(result.journal, legacy) == result.marked_model
  plain = ModelFile.open(result.model)
  ends = (*plain.subgraph.inputs, *plain.subgraph.outputs)
  assert [plain.subgraph.tensors[i].dtype for i in ends] == ["uint8"] * 2
  assert result.report.added_bytes == len(result.model) - len(legacy)


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
def test_a_legacy_file_is_scored_as_it_is(loss):
  int8 = models.dense_model(per_channel=False, softmax=loss != "mse")
  y = Y if loss != "mse" else np.eye(4)[Y]
  scores = [
    tflm_fg.evaluate(model, X, y, loss=loss)["loss"]
    for model in (models.uint8_model(int8), int8)
  ]
  assert scores[0] == scores[1]


@pytest.mark.skipif(not is_installed("tflm"), reason="needs tflite-micro")
def test_tflm_is_not_given_what_it_has_no_kernels_for():
  legacy = models.uint8_model(models.dense_model(per_channel=False))
  refused(
    lambda: tflm_fg.evaluate(legacy, X, Y, runtime="tflm"),
    "legacy uint8 model",
    "tflm-fg-convert",
  )


def test_nothing_of_the_old_kernels_stays_in_the_file():
  legacy = models.uint8_model(BUILT["mobile"][0])
  file = rewritten(legacy).file
  held = sum(length for _, length in file.spans)
  assert held == sum(length for _, length in ModelFile.open(legacy).spans)


def test_floats_at_the_ends_stay_floats():
  net = models.Network(2, per_channel=False)
  x = net.tensor("x", (1, 8), "float32")
  flow = net.activation("grid", (1, 8), 4.0, models.FEATURES)
  net.operator("QUANTIZE", [x], flow.index, schema.QuantizeOptionsT(), 1)
  flow = net.dense(net.dense(flow, 16, "hidden", relu=True), 4, "head")
  out = net.tensor("out", (1, 4), "float32")
  net.operator("DEQUANTIZE", [flow.index], out, schema.DequantizeOptionsT(), 1)
  int8 = net.finish([x], [out])
  legacy = models.uint8_model(int8)
  file = rewritten(legacy).file
  assert not any(t.dtype == "uint8" for t in file.subgraph.tensors)
  scores = [tflm_fg.evaluate(m, X, Y)["loss"] for m in (legacy, file.data)]
  assert scores[0] == scores[1]


def test_a_leftover_that_no_operator_reads_stays_as_it_is():
  model = model_file.read(
    models.uint8_model(models.dense_model(per_channel=False))
  )
  spare = schema.TensorT()
  spare.name, spare.shape = b"spare", np.array([1], np.int32)
  spare.type, spare.buffer = schema.TensorType.UINT8, 0
  model.subgraphs[0].tensors.append(spare)
  file = rewritten(model_file.pack(model)).file
  (left,) = [t for t in file.subgraph.tensors if t.name == "spare"]
  assert left.dtype == "uint8"


def test_a_modern_file_with_uint8_ends_stays_as_it_is():
  modern = rewritten(models.uint8_model(models.dense_model(per_channel=False)))
  again = ready(modern.file, GraphOptions())
  assert again.file is modern.file and again.notes == ()


def test_marking_says_the_change_on_random_samples():
  legacy = models.uint8_model(models.dense_model(per_channel=False))
  notes = tflm_fg.mark_trainable(legacy, "head").notes
  assert "0 steps of the logits" in notes[1]
  assert "random samples" in notes[1]


def test_inspecting_says_what_marking_would_rewrite():
  legacy = models.uint8_model(models.dense_model(per_channel=False))
  report = tflm_fg.inspect(legacy)
  assert "uint8 rewritten to int8" in report["notes"][0]
  assert report["model_bytes"] == len(legacy)
  assert all(row["write_seen"] for row in report["tensors"])


def _unknown(model):
  code = model.operatorCodes[-1]
  code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.COS


def _without_scale(model):
  model.subgraphs[0].tensors[-1].quantization = None


def _shuffled(model):
  model.subgraphs[0].operators[0].builtinOptions.weightsFormat = 1


def _hybrid(model):
  model.subgraphs[0].tensors[0].type = schema.TensorType.FLOAT32


def _half(model):
  out = model.subgraphs[0].operators[0].outputs[0]
  model.subgraphs[0].tensors[out].type = schema.TensorType.INT16


def _a_scale_a_channel(model):
  grid = model.subgraphs[0].tensors[1].quantization
  grid.scale, grid.zeroPoint = np.repeat(grid.scale, 16), np.full(16, 128)


@pytest.mark.parametrize(
  ("edit", "words"),
  [
    (_hybrid, "operator 0 FULLY_CONNECTED mixes uint8 and floats"),
    (_half, "operator 0 FULLY_CONNECTED mixes uint8 and int16"),
    (_a_scale_a_channel, "operator 0 FULLY_CONNECTED has a uint8 tensor with"),
    (_unknown, "operator 2 COS has no int8 form"),
    (_without_scale, "operator 2 SOFTMAX has a uint8 tensor without a scale"),
    (_shuffled, "operator 0 FULLY_CONNECTED has shuffled weights"),
  ],
)
def test_what_int8_has_not_is_refused_by_name(edit, words):
  model = model_file.read(
    models.uint8_model(models.dense_model(per_channel=False))
  )
  edit(model)
  refused(lambda: tflm_fg.mark_trainable(model_file.pack(model)), words, "keep")


def test_an_unknown_choice_is_refused():
  refused(lambda: GraphOptions(uint8="float"), "--uint8", "rewrite, keep")
