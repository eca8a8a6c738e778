"""A file's output is chosen by its user, or where there is no doubt."""

import dataclasses
import functools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import tflm_fg
from tests import models
from tests.options import options
from tests.refusals import refused
from tflm_fg import journal
from tflm_fg.tflite import model_file
from tflm_fg.tflite.choice.outputs import (
  find_logits,
  last_head,
  meant_output,
  with_output,
)
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import read_mark

TWO, EMBEDDING = models.two_headed_model(), models.embedding_model()
X, Y = models.separable(samples=80)
QUICK = options(method="sign-m-spsa", steps=3)


def opened(data, output=None):
  return with_output(ModelFile.open(data, "m.tflite"), output)


def with_signature(data, names):
  model = model_file.read(data)
  signature = schema.SignatureDefT()
  signature.subgraphIndex = 0
  signature.inputs, signature.outputs = [], []
  for tensor, name in zip(model.subgraphs[0].outputs, names):
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), int(tensor)
    signature.outputs.append(entry)
  model.signatureDefs = [signature]
  return model_file.pack(model)


def run(data, x):
  """Every output of a plain file, in integers."""
  kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
  engine = Interpreter(
    model_content=data, experimental_op_resolver_type=kernels
  )
  engine.allocate_tensors()
  first = engine.get_input_details()[0]
  scale, zero = first["quantization"]
  rows = []
  for sample in x:
    on_grid = np.clip(
      np.rint(sample[None].astype(float) / scale + zero), -128, 127
    )
    engine.set_tensor(first["index"], on_grid.astype(np.int8))
    engine.invoke()
    rows.append(
      [engine.get_tensor(o["index"])[0] for o in engine.get_output_details()]
    )
  return [np.stack(column) for column in zip(*rows)]


def test_several_outputs_and_no_choice_are_refused_with_all_of_them_named():
  for data in (TWO, EMBEDDING):
    for call in (
      lambda data=data: tflm_fg.adapt(data, X, Y, name="m.tflite"),
      lambda data=data: tflm_fg.evaluate(data, X, Y, name="m.tflite"),
      lambda data=data: tflm_fg.inspect(data, name="m.tflite"),
      lambda data=data: tflm_fg.mark_trainable(data, name="m.tflite"),
    ):
      said = refused(call, "m.tflite", "2 outputs", "--output", "int8")
      assert "0 " in said
      assert "[1, 4]" in said


def test_logits_and_their_softmax_are_one_output_and_that_is_said():
  data = models.embedding_model(tail="logits")
  meant = meant_output(opened(data).subgraph)
  assert meant.position == 0
  assert "same numbers" in meant.reason
  report = tflm_fg.evaluate(data, X, Y)
  assert report["output"] == 0
  assert "2 outputs" in report["output_note"]
  again = tflm_fg.evaluate(data, X, Y, output=1)
  assert again["output_note"] == ""
  assert again["loss"] == report["loss"]


def test_an_output_that_no_quantized_layer_makes_is_never_chosen():
  net = models.Network(0)
  x = net.activation("x", (1, 8), 4.0, models.FEATURES)
  logits = net.dense(x, 4, "head", reach=8.0)
  data = net.finish([x.index], [x.index, logits.index])
  meant = meant_output(opened(data).subgraph)
  assert meant == (1, "every other one is made by no quantized layer")


@pytest.mark.parametrize("output", [1, "1", "numbers/out", "distance"])
def test_an_output_is_chosen_by_position_name_or_signature(output):
  data = with_signature(TWO, ["label", "distance"])
  graph = opened(data, output).subgraph
  assert graph.tensors[find_logits(graph)].name == "numbers/out"
  head = last_head(graph)
  assert graph.tensors[head.kernel].name == "numbers/kernel"


@pytest.mark.parametrize("output", [2, "-1", -1, "no such", "", True])
def test_an_output_that_is_not_there_is_refused_with_the_list(output):
  refused(lambda: opened(TWO, output), "m.tflite", "softmax", "numbers/out")


def test_the_head_is_that_of_the_output_and_not_the_last_in_the_file():
  for output, kernel in ((0, "scores/kernel"), (1, "numbers/kernel")):
    marked = tflm_fg.mark_trainable(TWO, "head", output=output)
    assert marked.mark.trainable[0].name == kernel
    everything = tflm_fg.mark_trainable(TWO, "all", output=output).mark
    names = {t.name.split("/")[0] for t in everything.trainable}
    assert names == {"hidden", kernel.split("/")[0]}


def test_what_does_not_lead_to_the_output_cannot_be_marked_for_it():
  refused(
    lambda: tflm_fg.mark_trainable(TWO, "numbers/kernel", output=0),
    "numbers/kernel",
    "does not lead",
    "--output",
  )


def test_the_mark_keeps_the_output_for_whoever_opens_the_file_later():
  marked = tflm_fg.mark_trainable(TWO, "head", output=1)
  assert read_mark(marked.data).output == 1
  assert tflm_fg.inspect(marked.data)["outputs"][1]["is_meant"]
  y = np.random.default_rng(0).normal(0, 2, (80, 3))
  result = tflm_fg.adapt(marked.data, X, y, loss="mse", **QUICK)
  assert result.report.output == 1
  refused(
    lambda: tflm_fg.adapt(marked.data, X, Y, output=0, **QUICK),
    "mark is for output 1",
    "--trainable",
  )
  chosen = tflm_fg.adapt(marked.data, X, Y, output=0, trainable="head", **QUICK)
  assert chosen.report.output == 0


def test_a_mark_without_an_output_means_the_one_whose_logits_it_names():
  marked = tflm_fg.mark_trainable(TWO, "head", output=1)
  text = b'"output":1'
  assert marked.data.count(text) == 1
  old = marked.data.replace(text, b'"outlet":1')
  assert read_mark(old).output == 1


@pytest.mark.parametrize("position", [b"7", b"t", b"[]", b'"a"'])
def test_a_mark_with_an_output_that_is_not_there_is_broken(position):
  marked = tflm_fg.mark_trainable(TWO, "head", output=1)
  text = b'"version":1,'
  assert marked.data.count(text) == 1
  room = b'"output":1'
  broken = marked.data.replace(room, (b'"output":' + position)[: len(room)])
  refused(lambda: read_mark(broken), "broken")


def test_a_marked_file_of_one_output_says_nothing_of_outputs():
  marked = tflm_fg.mark_trainable(models.dense_model(), "head")
  assert marked.mark.output is None
  assert b'"output"' not in marked.data


def test_a_regression_is_scored_on_its_own_outputs_grid_and_operator():
  """The softmax stands behind the numbers in the file and bends nothing."""
  net = models.Network(0)
  x = net.activation("x", (1, 8), 4.0, models.FEATURES)
  hidden = net.dense(x, 16, "hidden", relu=True)
  numbers = net.dense(hidden, 3, "numbers", reach=8.0)
  scores = net.softmax(net.dense(hidden, 4, "scores", reach=1.0))
  data = net.finish([x.index], [scores.index, numbers.index])
  y = np.random.default_rng(0).normal(0, 1, (80, 3))
  report = tflm_fg.evaluate(data, X, y, loss="mse", output=1)
  found = (run(data, X)[1].astype(float) - numbers.zero_point) * numbers.scale
  assert report["mae"] == pytest.approx(np.abs(found - y).mean(), rel=1e-4)
  other = net.finish([x.index], [numbers.index, scores.index])
  y = np.zeros((80, 4))
  zeros = functools.partial(tflm_fg.evaluate, x=X, y=y, loss="mse")
  refused(lambda: zeros(data, output=0), "SOFTMAX")
  refused(lambda: zeros(other, output=1), "SOFTMAX")


def test_outputs_that_were_not_trained_are_watched():
  result = tflm_fg.adapt(TWO, X, Y, output=0, trainable="head", **QUICK)
  (row,) = result.report.other_outputs
  assert row["index"] == 1
  assert row["largest"] == 0
  result = tflm_fg.adapt(TWO, X, Y, output=0, trainable="hidden/bias", **QUICK)
  (row,) = result.report.other_outputs
  before, after = (
    run(data, X)[1].astype(float) for data in (TWO, result.model)
  )
  graph = opened(TWO, 1).subgraph
  away = np.abs(after - before) * graph.tensors[find_logits(graph)].scales[0]
  assert row["largest"] == pytest.approx(away.max())
  assert row["mean"] == pytest.approx(away.mean())
  assert row["mean"] > 0
  changed = (before.argmax(1) != after.argmax(1)).mean()
  assert row["other_answers"] == pytest.approx(changed)


def test_a_file_of_one_output_has_none_to_watch():
  result = tflm_fg.adapt(models.dense_model(), X, Y, trainable="head", **QUICK)
  assert result.report.other_outputs == []
  assert result.report.output == 0


def test_replaying_trains_the_output_that_was_trained():
  result = tflm_fg.adapt(EMBEDDING, X, Y, output=1, trainable="head", **QUICK)
  recorded = journal.parse(result.journal.to_bytes())
  assert recorded.plan.output == 1
  assert tflm_fg.replay(recorded, EMBEDDING) == result.marked_model
  other = dataclasses.replace(recorded, plan=recorded.plan._replace(output=0))
  refused(lambda: tflm_fg.replay(other, EMBEDDING), "not the file")


def test_auto_adapts_a_chosen_output_of_real_numbers():
  y = run(TWO, X)[1] @ np.eye(3)[[1, 2, 0]] * 0.03
  method = tflm_fg.methods.Auto(steps=3)
  result = tflm_fg.adapt(TWO, X, y, loss="mse", output=1, method=method)
  assert result.report.mae_after < result.report.mae_before
