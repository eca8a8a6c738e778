"""16-bit weights on stock kernels: they answer alike, and train in place."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tflm_fg
from apps.compare.methods.float_twin import Twin, cross_entropy
from converters.to_float import to_float
from tests import models
from tests.options import method_of, options
from tests.programs import run
from tests.refusals import refused
from tests.sides import require_narrowed
from tflm_fg import journal, methods
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.state import TrainState
from tflm_fg.gradients.directions import Directions
from tflm_fg.gradients.perturbation import WeightBuffers
from tflm_fg.memory.footprint import trainer_bytes
from tflm_fg.placement.measure import with_source_means
from tflm_fg.placement.phase_record import masters_of, write_masters
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions, installed, open_session
from tflm_fg.samples import Dataset, model_input
from tflm_fg.tflite import model_file, training_metadata
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.layers import outputs_of
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import cut, exact_tensors, whole
from tflm_fg.tflite.tensors import Patchable, tensor_spec, weights_of
from tflm_fg.training.batch_passes import BatchPasses
from tflm_fg.types import Mark, Params, TflmFgError, Vectors

FINER = ("int16", "int8x2")
WORST = {"int16": 0.52, "int8x2": 1.2}
"""Steps that a layer may be off its exact product: 0.51 and 1.11 measured."""

INSTALLED = installed()


def engines_of(weights):
  """TensorFlow's own interpreter has no QUANTIZE from int8 to int16."""
  old = ("tf", "tflite-runtime") if weights == "int16" else ()
  return [name for name in INSTALLED if name not in old]


every_engine = pytest.mark.parametrize(
  ("weights", "runtime"),
  [(weights, name) for weights in FINER for name in engines_of(weights)],
)
"""The engine by name: tests on TensorFlow's own are marked by that."""


X, Y = models.separable()


def layer_model(kind, relu=False, per_channel=True):
  """One layer of 32 inputs: x -> dense or 1x1 convolution."""
  net = models.Network(3, per_channel=per_channel)
  if kind == "dense":
    x = net.activation("x", (1, 32), 4.0)
    out = net.dense(x, 16, "layer", relu=relu)
  else:
    x = net.activation("x", (1, 4, 3, 32), 4.0)
    out = net.convolution(x, 16, "layer", size=1, relu=relu)
  return net.finish([x.index], [out.index])


def output_of(data):
  """A part of the whole file up to its output, which may be behind logits."""
  output = int(model_file.read(data).subgraphs[0].outputs[0])
  return whole(data, Mark(trainable=(), logits=output, head_input=output))


def answers(data, x, runtime="litert"):
  return open_session(runtime, output_of(data)).run((x,))[0]


def samples_of(data, count=60):
  part = whole(data, unmarked(data))
  shape = tensor_spec(data, part.inputs[0]).shape[1:]
  return models.int8_samples(shape, count)


def apart(plain, finer, x, runtime="litert"):
  """Steps between the int8 logits of a file and of what was made of it."""
  logits = unmarked(plain)
  want, got = (
    open_session(runtime, whole(file, logits)).run((x,))[0]
    for file in (plain, finer)
  )
  assert want.dtype == got.dtype == np.int8
  assert len(np.unique(want)) > 5
  return np.abs(want.astype(int) - got).max()


def random_masters(marked, spread=50):
  layout = Layout(marked.mark.trainable)
  params = layout.params(weights_of(marked.data, marked.mark.trainable))
  drawn = np.random.default_rng(1).normal(0, spread * 256, layout.num_kernels)
  kernels = np.clip(drawn, -127 * 256, 127 * 256).astype(np.int16)
  return layout, Params(kernels, params.biases)


def written(marked, layout, params):
  return write_masters(marked.data, marked.mark, layout.scatter(params))


@every_engine
@pytest.mark.parametrize(
  "build", [models.deep_model, models.pointwise_model, models.conv_model]
)
def test_a_file_with_finer_weights_answers_within_a_step(
  build, runtime, weights
):
  for per_channel in (True, False):
    data = build(per_channel=per_channel)
    finer = mark_file(data, "all", weights=weights).data
    assert apart(data, finer, samples_of(data), runtime) <= 1


@every_engine
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kind", ["dense", "pointwise"])
def test_all_16_bits_of_a_weight_reach_the_output(kind, relu, weights, runtime):
  """Random masters, against the same product in float32, on every engine."""
  for per_channel in (True, False):
    marked = mark_file(
      layer_model(kind, relu, per_channel), "all", weights=weights
    )
    data = written(marked, *random_masters(marked))
    part = output_of(data)
    spec = tensor_spec(data, part.outputs[0])
    x = samples_of(data) // 2
    inputs = tensor_spec(data, part.inputs[0])
    real = (x.astype(np.float32) - inputs.zero_point) * np.float32(inputs.scale)
    exact = answers(to_float(data), real) / spec.scale + spec.zero_point
    got = answers(data, x, runtime).astype(int)
    off = np.abs(got - exact)[np.abs(got) < 127]  # where none saturates
    assert off.size > 100
    assert off.max() <= WORST[weights]


@every_engine
def test_extreme_weights_and_inputs_overflow_nowhere(weights, runtime):
  """The largest sums: all engines saturate alike, and as int8 layers do."""
  data = layer_model("dense", per_channel=False)
  plain, marked = (
    mark_file(data, "all"),
    mark_file(data, "all", weights=weights),
  )
  layout, params = random_masters(marked)
  signs = np.where(np.arange(layout.num_kernels) % 3 > 0, 1, -1)
  x = np.array([[127] * 32, [-128] * 32, [127, -128] * 16], np.int8)
  for kernels in (signs, np.abs(signs)):
    extreme = Params((kernels * 127 * 256).astype(np.int16), params.biases)
    file = written(marked, layout, extreme)
    same = Params(extreme.kernels, masters_bias(plain))
    want = answers(written(plain, Layout(plain.mark.trainable), same), x)
    got = answers(file, x, runtime)
    assert np.abs(got.astype(int) - want).max() <= 1
    assert np.abs(got.astype(int)).max() > 120


def masters_bias(marked):
  return weights_of(marked.data, marked.mark.trainable)[1]


@functools.cache
def layer_of(weights):
  return mark_file(layer_model("dense"), "all", weights=weights)


@given(st.integers(0, 2**32 - 1))
def test_what_the_engine_holds_gives_the_master_back(seed):
  """int16 whole; in two bytes but for 128 units, where -128 is left out."""
  random = np.random.default_rng(seed)
  kernels = random.integers(-127 * 256, 127 * 256 + 1, 32 * 16, np.int16)
  for weights in FINER:
    marked = layer_of(weights)
    layout, params = random_masters(marked)
    held = layout.weights(Params(kernels, params.biases))
    back = layout.params(held).kernels
    left_out = (kernels & 255 == 128) & (weights == "int8x2")
    assert np.array_equal(back[~left_out], kernels[~left_out])
    assert np.array_equal(back[left_out], kernels[left_out] + 1)
    if weights == "int8x2":
      high, low, _ = held
      assert min(high.min(), low.min()) >= -127
      assert np.array_equal(high, layer_high(kernels))


def layer_high(kernels):
  return np.clip((kernels.astype(int) + 128) >> 8, -127, 127).reshape(16, 32)


@pytest.mark.parametrize("weights", FINER)
def test_both_sides_are_what_their_sums_and_differences_narrow_to(weights):
  marked = mark_file(models.conv_model(), "all", weights=weights)
  layout = Layout(marked.mark.trainable)
  params = layout.params(weights_of(marked.data, marked.mark.trainable))
  random = np.random.default_rng(0)
  delta = Vectors(
    random.integers(-(2**17), 2**17, (2, layout.num_kernels)),
    random.integers(-(2**31), 2**31, (2, layout.num_biases)),
  )
  moved = WeightBuffers(layout, 2).move(params, delta)
  require_narrowed(layout, params, delta, moved)


def agreement(data, weights, epsilon, steps=40):
  """Correlation of loss differences with the float twin's."""
  marked = mark_file(data, "kernel", weights=weights)
  graph = SplitModel(marked.data, marked.mark, RuntimeOptions(workers=1))
  samples = graph.samples(Dataset(X, Y), "train")
  passes = BatchPasses(graph.suffix, graph.loss(), samples)
  layout = Layout(marked.mark.trainable)
  params = layout.gather(masters_of(marked.data, marked.mark))
  method = method_of("spsa", epsilon_lsb=epsilon, learning_rate_lsb=1.0)
  estimator = method.estimator(layout, len(samples))
  twin = Twin.of(marked)
  held = twin.samples((X, Y))
  pairs = []
  for step in range(steps):
    plus, minus = estimator(passes, TrainState(step, params)).losses
    z = Directions(layout, 0).flat_at(step, 1)[0] * epsilon * twin.steps
    exact = [
      cross_entropy(twin.logits(twin.start + side, held), held.labels)
      for side in (z, -z)
    ]
    pairs.append((plus - minus, exact[0] - exact[1]))
  measured, ideal = np.array(pairs).T
  return np.corrcoef(measured, ideal)[0, 1] if measured.any() else 0.0


@pytest.mark.filterwarnings("ignore:epsilon_lsb")
def test_perturbations_under_one_int8_step_reach_the_output():
  """int8 kernels round all of a quarter step away where training begins."""
  data = models.deep_model()
  assert agreement(data, "int8", 1.0) > 0.9
  assert agreement(data, "int8", 0.25) == 0
  assert agreement(data, "int8x2", 0.25) > 0.7
  assert agreement(data, "int16", 0.25) > 0.95
  assert agreement(data, "int16", 1 / 16) > 0.85


QUICK = methods.SignSPSA(epsilon_lsb=4.0, learning_rate_lsb=1.0)


@functools.cache
def trained(trainable, weights):
  return tflm_fg.adapt(
    models.dense_model(),
    X,
    Y,
    trainable=trainable,
    graph_options=GraphOptions(weights=weights),
    method=dataclasses.replace(QUICK, steps=200),
  )


@every_engine
@pytest.mark.parametrize("trainable", ["head", "all"])
def test_a_trained_file_scores_alike_on_every_engine(
  trainable, weights, runtime
):
  plain = trained(trainable, weights).model
  scored = tflm_fg.evaluate(plain, X, Y)
  other = tflm_fg.evaluate(plain, X, Y, runtime=runtime)
  assert abs(other["accuracy"] - scored["accuracy"]) < 0.03


@pytest.mark.parametrize("weights", FINER)
@pytest.mark.parametrize("trainable", ["head", "all"])
def test_they_train_replay_and_strip_like_any_other(trainable, weights):
  data = models.dense_model()
  method = dataclasses.replace(QUICK, steps=200)
  result = trained(trainable, weights)
  assert result.report["loss_after"] < 0.8 * result.report["loss_before"]
  text = result.journal.to_bytes()
  assert tflm_fg.replay(journal.parse(text), data) == result.marked_model
  again = tflm_fg.adapt(result.start, X, Y, method=method)
  assert again.marked_model == result.marked_model, "it simply trains"
  plain = result.model
  # Only the trained bytes differ.
  indices = [t.index for t in mark_file(plain, trainable).mark.trainable]
  before = Patchable(tflm_fg.strip(result.start), indices)
  assert before.write(Patchable(plain, indices).read()) == plain


@pytest.mark.parametrize("trainable", ["head", "head/kernel", "wide-head"])
def test_a_head_of_finer_weights_has_a_closed_form_too(trainable):
  """It ends where the int8 head does; finer logits may end lower."""
  data, losses = models.deep_model(per_channel=False), {}
  for weights in ("int8", *FINER):
    graph_options = GraphOptions(weights=weights, head_room=0)
    result = tflm_fg.adapt(
      data, X, Y, trainable=trainable, graph_options=graph_options
    )
    marked = mark_file(data, trainable, graph_options=graph_options)
    indices = tuple(t.index for t in marked.mark.trainable)
    assert exact_tensors(marked.data, marked.mark) == indices
    assert result.report["method"] == "closed-form"
    text = result.journal.to_bytes()
    assert tflm_fg.replay(journal.parse(text), data) == result.marked_model
    losses[weights] = result.report["loss_after"]
  assert losses["int8"] < 0.7
  for weights in FINER:
    assert losses[weights] < 1.1 * losses["int8"] + 0.01


def test_node_perturbation_refuses_finer_weights_by_name():
  for weights in FINER:
    marked = mark_file(models.deep_model(), "head", weights=weights).data
    settings = options(method="node", steps=3)
    refused(lambda: tflm_fg.adapt(marked, X, Y, **settings), "'node'")  # noqa: B023


@pytest.mark.parametrize("weights", FINER)
def test_rebuilt_in_place_and_tflm_take_the_same_steps(weights):
  """After training, all hold masters that came from the same slopes."""
  method = dataclasses.replace(QUICK, steps=6)
  data = mark_file(models.deep_model(), "head", weights=weights).data
  x, y = X[:24], Y[:24]
  models_made = {
    (runtime, strategy): tflm_fg.adapt(
      data, x, y, runtime=runtime, strategy=strategy, method=method
    )
    for runtime, strategy in (
      ("litert-reference", "in-place"),
      ("litert-reference", "rebuild"),
      *((("tflm", "in-place"),) if "tflm" in INSTALLED else ()),
    )
  }
  assert len({result.marked_model for result in models_made.values()}) == 1


@pytest.mark.parametrize("weights", FINER)
def test_marking_again_finds_the_same_layers(weights):
  data = models.conv_model()
  marked = mark_file(data, "all", weights=weights)
  again = mark_file(tflm_fg.strip(marked.data), "all")
  assert again.data == marked.data
  assert not again.notes
  assert training_metadata.read_mark(marked.data) == marked.mark
  only = mark_file(tflm_fg.strip(marked.data), "head/kernel").mark.trainable
  roles = {"int16": ["kernel"], "int8x2": ["kernel", "low"]}[weights]
  assert [t.role for t in only] == roles
  bias = mark_file(tflm_fg.strip(marked.data), "head/bias").mark.trainable
  assert [t.role for t in bias] == ["bias"]


@pytest.mark.parametrize("weights", FINER)
def test_frozen_layers_run_once_and_a_master_counts_once(weights):
  data = models.deep_model()
  marked, plain = (
    mark_file(data, "head", weights=weights),
    mark_file(data, "head"),
  )
  pieces = cut(marked.data, marked.mark)
  assert pieces.prefix is not None
  suffix = pieces.suffix.file.operator_names
  assert (
    suffix
    == {
      "int16": ("BATCH_MATMUL", "ADD"),
      "int8x2": ("FULLY_CONNECTED", "FULLY_CONNECTED", "ADD"),
    }[weights]
  )
  assert marked.mark.numbers == plain.mark.numbers
  counted = [
    trainer_bytes(m.mark.trainable, (), 4).total for m in (marked, plain)
  ]
  assert counted[0] == counted[1]


@pytest.mark.parametrize("weights", FINER)
def test_a_dropped_bias_is_put_back_and_trains_only_where_asked(weights):
  data = models.dense_model(bias=False)
  marked = mark_file(data, "head/kernel", weights=weights)
  assert marked.notes == (
    "head/kernel: a bias of zeros put back",
    f"head/kernel: {weights} weights",
  )
  assert "bias" not in [t.role for t in marked.mark.trainable]
  assert apart(data, marked.data, samples_of(data)) <= 1


def test_int16_sums_become_logits_of_16_bits():
  marked = mark_file(models.deep_model(), "head", weights="int16")
  logits = tensor_spec(marked.data, marked.mark.logits)
  plain = models.deep_model()
  coarse = tensor_spec(plain, unmarked(plain).logits)
  assert (logits.dtype, coarse.dtype) == ("int16", "int8")
  assert coarse.scale / 120 < logits.scale < coarse.scale / 80


def test_statistics_count_in_the_layers_int8_steps():
  """The means are those of the int8 file, within the rounding of a step."""
  data, x = models.deep_model(), models.int8_samples((8,), 200)
  rows = []
  for weights in ("int8", "int16"):
    finer = tflm_fg.strip(mark_file(data, "all", weights=weights).data)
    marked = with_source_means(
      mark_file(finer, "inner-bias"), x, RuntimeOptions()
    )
    operators = [t.operator for t in marked.mark.trainable]
    outputs = outputs_of(marked.file.subgraph, operators).values()
    rows.append([marked.mark.statistics[index] for index in outputs])
  for coarse, fine in zip(*rows, strict=True):
    assert np.abs(np.array(coarse) - fine).max() <= 4  # of 1/16 of a step


def test_what_cannot_have_finer_weights_is_refused_in_one_line():
  conv, dense = models.conv_model(), models.dense_model()
  refused(
    lambda: mark_file(conv, "^conv", "m.tflite", weights="int16"),
    "m.tflite",
    "--weights=int16",
    "FULLY_CONNECTED",
  )
  refused(lambda: mark_file(conv, "bias", weights="int8x2"), "none is among")
  wide = models.dense_model(wide=True)
  refused(lambda: mark_file(wide, "head", weights="int16"), "int8 activations")
  refused(
    lambda: mark_file(conv, "head", weights="int12"), "int8, int16, int8x2"
  )
  finer = mark_file(models.deep_model(), "head", weights="int16").data
  refused(lambda: mark_file(finer, "wide-head"), "16-bit weights already")
  for trainable in (None, "auto"):
    refused(
      lambda trainable=trainable: tflm_fg.adapt(
        dense,
        X,
        Y,
        trainable=trainable,
        graph_options=GraphOptions(weights="int16"),
      ),
      "--weights=int16",
      "--trainable",
    )


def test_a_low_byte_alone_is_refused():
  marked = mark_file(models.deep_model(), "head/kernel", weights="int8x2")
  _, low = marked.mark.trainable
  with pytest.raises(TflmFgError, match="without its kernel"):
    Layout((low,))
  broken = training_metadata.write_mark(
    tflm_fg.strip(marked.data),
    dataclasses.replace(marked.mark, trainable=(low,)),
  )
  refused(
    lambda: training_metadata.read_mark(broken), "head/kernel", "train both"
  )


def test_a_wide_head_can_have_finer_weights():
  for weights in FINER:
    data = models.deep_model()
    marked = mark_file(data, "wide-head", weights=weights)
    assert apart(data, marked.data, samples_of(data)) <= 1
    assert marked.mark.numbers == mark_file(data, "wide-head").mark.numbers


def test_the_programs_convert_and_show_them(tmp_path):
  tmp_path.joinpath("m.tflite").write_bytes(models.conv_model())
  done = run(
    tmp_path,
    "apps.convert",
    *("--model=m.tflite", "--out=o.tflite", "--trainable=all"),
    "--weights=int8x2",
  )
  assert done.returncode == 0, done.stderr
  assert "head/kernel: int8x2 weights" in done.stdout
  shown = run(
    tmp_path, "apps.inspect_model", "--model=o.tflite", "--report=r.json"
  )
  assert shown.returncode == 0, shown.stderr
  rows = json.loads(tmp_path.joinpath("r.json").read_text())["tensors"]
  assert all(row["write_seen"] for row in rows)
  assert [row["role"] for row in rows][-3:] == ["kernel", "low", "bias"]


@pytest.mark.parametrize("given_test", [True, False])
def test_the_report_scores_the_answers_of_the_file_that_is_written(given_test):
  """A user sees int8 answers, whatever training looked at."""
  data = models.dense_model(classes=8, softmax=False, seed=3)
  x, y = models.separable(samples=400, classes=8, seed=3)
  x += np.random.default_rng(3).normal(0, 1.5, x.shape)
  x = x.clip(-4, 4)
  result = tflm_fg.adapt(
    data,
    x,
    y,
    test=(x, y) if given_test else None,
    trainable="head",
    graph_options=GraphOptions(weights="int16"),
    # Keeps the last step: what is scored is what is written.
    **options(method="closed-form", validation_fraction=0.0),
  )
  plain, report = result.model, result.report
  spec = tensor_spec(plain, whole(plain, unmarked(plain)).inputs[0])
  given = answers(plain, model_input(x, spec, "x"))
  assert given.dtype == np.int8
  assert report["accuracy_after"] == (given.argmax(axis=1) == y).mean()
  again = tflm_fg.evaluate(plain, x, y)
  assert again["accuracy"] == report["accuracy_after"]
  assert again["loss"] == report["loss_after"]


@pytest.mark.parametrize(
  ("held", "asked"), [("int16", "int8x2"), ("int8x2", "int16")]
)
def test_16_bit_weights_of_the_other_kind_are_not_changed_in_silence(
  held, asked
):
  finer = tflm_fg.strip(
    mark_file(models.deep_model(), "head", weights=held).data
  )
  refused(
    lambda: mark_file(finer, "head", "m.tflite", weights=asked),
    f"m.tflite: --weights={asked}",
    f"head/kernel: has {held} weights already",
  )
  again = mark_file(finer, "head", weights=held)
  assert again.notes == ()
  assert tflm_fg.strip(again.data) == finer
  mixed = mark_file(finer, "all", weights=asked)
  assert f"head/kernel: has {held} weights already, which stay" in mixed.notes
  assert f"first/kernel: {asked} weights" in mixed.notes
