"""Inputs without a batch, tokens, and inputs that no samples go to."""

import numpy as np
import pytest

import tflm_fg
from tests import models
from tests.models import schema
from tests.refusals import refused
from tflm_fg.runtimes import installed
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite import cut, input_spec, unmarked, whole
from tflm_fg.tflite.inputs import meant_input, with_input
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.types import TflmFgError

ENGINES = [name for name in installed() if name != "tf"]


def reshaped(net, index, shape, like):
  """A RESHAPE, and what flows out of it."""
  target = net.tensor("target", (len(shape),), "int32", data=np.array(shape))
  out = net.tensor("flat", shape, "int8", like.scale, like.zero_point)
  options = schema.ReshapeOptionsT()
  options.newShape = np.array(shape, np.int32)
  net.operator("RESHAPE", [index, target], out, options)
  return models.Flow(out, shape, like.scale, like.zero_point)


def sound_model(units=12) -> bytes:
  """x [40], without a batch -> [1, 40] -> dense, dense -> softmax of 3."""
  net = models.Network()
  x = net.activation("x", (40,), 4.0, models.FEATURES)
  flow = net.dense(reshaped(net, x.index, (1, 40), x), units, "hidden", True)
  head = net.dense(flow, 3, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(head).index])


def framed_model() -> bytes:
  """x [40] -> [5, 8] -> dense a frame [5, 4] -> [1, 20] -> softmax of 3."""
  net = models.Network()
  x = net.activation("x", (40,), 4.0, models.FEATURES)
  frames = reshaped(net, x.index, (5, 8), x)
  weights = net._weights("frames", (4, 8), 0, frames, True)
  each = net.activation("frames/out", (5, 4), 4.0)
  options = schema.FullyConnectedOptionsT()
  inputs = [frames.index, *weights]
  net.operator("FULLY_CONNECTED", inputs, each.index, options, 4)
  head = net.dense(reshaped(net, each.index, (1, 20), each), 3, "head", reach=8)
  return net.finish([x.index], [net.softmax(head).index])


def token_model(rows=20) -> bytes:
  """x [1, 6] int32 -> rows of a table [20, 4] -> dense -> softmax of 3."""
  net = models.Network()
  x = net.tensor("x", (1, 6), "int32")
  values = net.random.integers(-127, 128, (rows, 4))
  table = net.tensor("table", (rows, 4), "int8", 0.03, 0, data=values)
  found = net.tensor("found", (1, 6, 4), "int8", 0.03, 0)
  net.operator("GATHER", [table, x], found, schema.GatherOptionsT(), 2)
  like = models.Flow(found, (1, 6, 4), 0.03, 0)
  head = net.dense(reshaped(net, found, (1, 24), like), 3, "head", reach=8.0)
  return net.finish([x], [net.softmax(head).index])


def state_model(state_first=True, with_state_out=True) -> bytes:
  """x [1, 8] and a state [1, 16] -> sum -> softmax of 4, and the next state."""
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0, models.FEATURES)
  flow = net.dense(x, 16, "hidden", relu=True)
  state = net.activation("state", (1, 16), 4.0, models.IMAGE)
  after = net.activation("after", (1, 16), 4.0, models.IMAGE)
  inputs = [flow.index, state.index]
  net.operator("ADD", inputs, after.index, schema.AddOptionsT(), 2)
  head = net.dense(after, 4, "head", reach=8.0)
  taken = [x.index, state.index]
  outputs = [net.softmax(head).index] + [after.index] * with_state_out
  return net.finish(taken[::-1] if state_first else taken, outputs)


def looped(model, raw_samples):
  """Logits' argmax by LiteRT itself, sample by sample, other inputs zero."""
  from ai_edge_litert.interpreter import Interpreter

  interpreter = Interpreter(model_content=model)
  interpreter.allocate_tensors()
  details = interpreter.get_input_details()
  index = interpreter.get_output_details()[0]["index"]
  answers = []
  for sample in raw_samples:
    for detail in details:
      value = sample
      if detail["name"] == "state":
        value = np.full(detail["shape"], detail["quantization"][1], np.int8)
      interpreter.set_tensor(detail["index"], value.reshape(detail["shape"]))
    interpreter.invoke()
    answers.append(int(interpreter.get_tensor(index).argmax()))
  return np.array(answers)


KINDS = {
  "sound": (sound_model(), models.int8_samples((40,), 60)),
  "frames": (framed_model(), models.int8_samples((40,), 60)),
  "tokens": (
    token_model(),
    np.random.default_rng(0).integers(0, 20, (60, 6)).astype(np.int32),
  ),
  "state": (state_model(), models.int8_samples((8,), 60)),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_sessions_give_what_the_engine_gives_sample_by_sample(kind, engine):
  model, x = KINDS[kind]
  part = whole(model, unmarked(model))
  session = open_session(engine, part)
  assert session.input_specs == ((x.shape[1:], x.dtype.name),)
  (got,) = session.run((x,))
  assert got.shape[0] == len(x)
  same = (got.reshape(len(x), -1).argmax(1) == looped(model, x)).mean()
  assert same == 1 if engine == "litert" else same > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_prefix_then_suffix_is_the_whole(kind):
  model, x = KINDS[kind]
  marked = tflm_fg.mark_trainable(model, "head")
  pieces = cut(marked.file, marked.mark)
  assert pieces.prefix is not None
  flow = open_session("litert", pieces.prefix).run((x,))
  (got,) = open_session("litert", pieces.suffix).run(flow)
  (want,) = open_session("litert", whole(model, marked.mark)).run((x,))
  assert np.array_equal(got, want)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_adapted_and_scored_as_a_loop_scores_it(kind):
  model, x = KINDS[kind]
  wanted = looped(model, x)
  y = np.where(np.arange(60) % 4 == 0, (wanted + 1) % 3, wanted % 3)
  result = tflm_fg.adapt(model, x, y, test=(x, y), trainable="head")
  after = looped(result.model, x)
  assert result.report.accuracy_after == pytest.approx((after == y).mean())
  assert result.report.accuracy_before == pytest.approx((wanted == y).mean())
  again = tflm_fg.replay(result.journal, result.start, "m")
  assert again == result.marked_model
  scored = tflm_fg.evaluate(result.model, x, y)["accuracy"]
  assert scored == result.report.accuracy_after


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_inspected_and_tried_everywhere(kind):
  model, x = KINDS[kind]
  assert tflm_fg.inspect(model)["engine_agreement"]
  y = np.arange(60) % 3
  assert tflm_fg.adapt(model, x, y).report.candidates


def test_tokens_that_no_table_has_are_refused():
  model, x = KINDS["tokens"]
  y = np.arange(60) % 3
  assert input_spec(model).rows == 20
  for wrong in (x + 1, x - 1):
    refused(lambda w=wrong: tflm_fg.adapt(model, w, y), "rows 0 to 19")
  assert tflm_fg.evaluate(model, x.astype(np.int64), y)["samples"] == 60
  refused(lambda: tflm_fg.adapt(model, x + 0.5, y), "the model takes int32")


def test_the_input_that_is_no_state_takes_the_samples():
  for first in (True, False):
    graph = ModelFile.open(state_model(state_first=first)).subgraph
    assert graph.tensors[meant_input(graph)].name == "x"


def test_where_two_inputs_are_left_the_user_says_which():
  model = ModelFile.open(state_model(with_state_out=False), "m.tflite")
  with pytest.raises(TflmFgError, match=r"2 inputs, 0 'state' .*--input=NAME"):
    meant_input(model.subgraph)
  for chosen in ("x", 1, "1"):
    assert input_spec(with_input(model, chosen)).shape == (1, 8)
  with pytest.raises(TflmFgError, match="'z' is none of its inputs"):
    with_input(model, "z")


def test_a_batch_of_several_samples_is_refused():
  net = models.Network()
  x = net.activation("x", (8, 6), 4.0)
  weights = net._weights("head", (3, 6), 0, x, True)
  out = net.activation("out", (8, 3), 8.0)
  options = schema.FullyConnectedOptionsT()
  net.operator("FULLY_CONNECTED", [x.index, *weights], out.index, options, 4)
  model = net.finish([x.index], [out.index])
  refused(lambda: input_spec(model), "batch of 1")


def test_a_chosen_input_is_kept_in_the_mark_from_adapting_to_replay():
  model = state_model(with_state_out=False)
  x = models.int8_samples((8,), 60)
  wanted = looped(model, x)
  y = np.where(np.arange(60) % 4 == 0, (wanted + 1) % 4, wanted)
  refused(lambda: tflm_fg.adapt(model, x, y), "2 inputs", "--input=NAME")
  for trainable in ("auto", "head", "wide-head", "prompt"):
    given = {"trainable": trainable, "test": (x, y), "input": "x"}
    result = tflm_fg.adapt(model, x, y, **given)
    after = (looped(result.model, x) == y).mean()
    assert result.report.accuracy_after == pytest.approx(after)
    again = tflm_fg.replay(result.journal, result.start, "m")
    assert again == result.marked_model
  further = tflm_fg.adapt(result.marked_model, x, y)
  assert further.report.accuracy_before == pytest.approx(after, abs=0.2)
  assert tflm_fg.evaluate(result.marked_model, x, y)["samples"] == 60
  refused(lambda: tflm_fg.evaluate(result.model, x, y), "2 inputs")
  assert tflm_fg.evaluate(result.model, x, y, input=1)["accuracy"] == after
  assert tflm_fg.inspect(model, input="x")["tensors"]


def test_a_prompt_stands_behind_the_input_that_takes_the_samples():
  for first in (True, False):
    marked = tflm_fg.mark_trainable(state_model(state_first=first), "prompt")
    (prompt,) = marked.mark.trainable
    reader = marked.file.subgraph.operators[prompt.operator]
    names = [marked.file.subgraph.tensors[i].name for i in reader.inputs]
    assert "x" in names
