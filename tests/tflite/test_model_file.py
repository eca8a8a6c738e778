"""The mark goes on and comes off without touching the file behind it."""

import dataclasses
import json

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

import tflm_fg
from tests import models
from tests.options import options
from tflm_fg.tflite import model_file, training_metadata
from tflm_fg.tflite.choice.outputs import find_logits
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile, verify
from tflm_fg.tflite.select_trainable import (
  input_spec,
  mark_file,
  present_mark,
)
from tflm_fg.tflite.split_graph import cut, whole
from tflm_fg.tflite.tensors import Patchable, weights_of
from tflm_fg.types import TflmFgError

MODELS = {
  "dense": models.dense_model(),
  "dense-per-tensor": models.dense_model(per_channel=False),
  "dense-16x8": models.dense_model(wide=True),
  "conv": models.conv_model(),
  "conv-16x8": models.conv_model(wide=True),
}
every_model = pytest.mark.parametrize("data", MODELS.values(), ids=MODELS)


def names(marked):
  return [t.name for t in marked.mark.trainable]


@every_model
@pytest.mark.parametrize("trainable", ["head", "bias", "all", "head,bias"])
def test_strip_gives_back_the_original_bytes(data, trainable):
  marked = mark_file(data, trainable)
  assert marked.notes == ()
  assert marked.data.endswith(data)
  assert training_metadata.without_mark(marked.data) == data


@every_model
def test_marking_is_sound_aligned_small_and_read_back(data):
  marked = mark_file(data, "all")
  verify(marked.data)
  assert marked.file.is_aligned
  assert len(marked.data) - len(data) < 300 + 110 * len(marked.mark.trainable)
  assert training_metadata.read_mark(marked.data) == marked.mark
  assert training_metadata.read_mark(data) is None


def test_marking_again_replaces_the_mark():
  data = MODELS["conv"]
  twice = mark_file(mark_file(data, "all").data, "head")
  assert twice.data == mark_file(data, "head").data


def test_other_metadata_survives_the_mark():
  model = model_file.read(MODELS["dense"])
  entry = schema.MetadataT()
  entry.name, entry.buffer = b"min_runtime_version", len(model.buffers)
  buffer = schema.BufferT()
  buffer.data = np.frombuffer(b"1.5.0".ljust(16, b"\0"), np.uint8)
  model.buffers.append(buffer)
  model.metadata = [entry]
  data = model_file.pack(model)
  marked = mark_file(data, "head").data
  found = [e.name for e in model_file.read(marked).metadata]
  assert found == [b"min_runtime_version", b"tflm_fg"]
  assert training_metadata.without_mark(marked) == data


def test_a_mark_that_another_tool_wrote_again_can_still_be_stripped():
  data = MODELS["dense"]
  rewritten = model_file.pack(model_file.read(mark_file(data, "head").data))
  assert training_metadata.read_mark(rewritten) is not None
  stripped = training_metadata.without_mark(rewritten)
  assert training_metadata.read_mark(stripped) is None
  verify(stripped)


@every_model
def test_patching_changes_the_tensors_own_bytes_alone(data):
  marked = mark_file(data, "all")
  indices = [t.index for t in marked.mark.trainable]
  patchable = Patchable(marked.data, indices)
  new = [
    np.where(w > 0, w - 1, w + 1).astype(w.dtype) for w in patchable.read()
  ]
  patched = patchable.write(new)
  for got, want in zip(weights_of(patched, marked.mark.trainable), new):
    assert np.array_equal(got, want)
  before = np.frombuffer(marked.data, np.uint8).copy()
  after = np.frombuffer(patched, np.uint8).copy()
  for start, length in patchable.spans:
    before[start : start + length] = after[start : start + length] = 0
  assert np.array_equal(before, after)
  assert patchable.write(patchable.read()) == marked.data


def test_a_patch_of_another_size_or_dtype_is_refused():
  marked = mark_file(MODELS["dense"], "head")
  patchable = Patchable(marked.data, [marked.mark.trainable[0].index])
  (kernel,) = patchable.read()
  for wrong in (kernel[:-1], kernel.astype(np.uint8)):
    with pytest.raises(TflmFgError, match="cannot hold"):
      patchable.write([wrong])


def test_constants_of_another_layout_are_refused():
  file = ModelFile.open(MODELS["dense"])
  other = bytes(len(file.data))
  assert file.with_constants(other).data == other
  for wrong in (file.data[:-1], file.data + b"\0"):
    with pytest.raises(ValueError, match=f"the file has {len(file.data)}"):
      file.with_constants(wrong)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_an_opened_file_stays_what_it_was_when_its_source_is_written_to(kind):
  source = bytearray(MODELS["dense"])
  file = ModelFile.open(kind(source))
  source[:] = bytes(len(source))
  assert type(file.data) is bytes
  assert file.data == MODELS["dense"]


def test_an_edit_of_one_unpacked_model_is_not_in_the_next():
  file = ModelFile.open(MODELS["dense"])
  edited = file.unpack()
  edited.subgraphs[0].operators.clear()
  assert file.unpack().subgraphs[0].operators


def test_head_is_the_last_dense_layer_with_its_bias():
  assert names(mark_file(MODELS["conv"], "head")) == [
    "head/kernel",
    "head/bias",
  ]


def test_bias_and_all_take_every_layer_in_order():
  assert names(mark_file(MODELS["conv"], "bias")) == [
    "conv/bias",
    "depthwise/bias",
    "head/bias",
  ]
  assert len(names(mark_file(MODELS["conv"], "all"))) == 6


def test_a_regular_expression_chooses_by_name():
  assert names(mark_file(MODELS["conv"], "depth.*kernel,^head/b")) == [
    "depthwise/kernel",
    "head/bias",
  ]


def test_logits_stand_in_front_of_the_softmax_or_are_the_output():
  for softmax in (True, False):
    graph = ModelFile.open(models.dense_model(softmax=softmax)).subgraph
    assert graph.tensors[find_logits(graph)].name == "head/out"


@pytest.mark.parametrize("shaping", ["RESHAPE", "SQUEEZE"])
def test_logits_are_found_where_a_reshape_stands_behind_the_softmax(shaping):
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  soft = net.softmax(net.dense(x, 3, "head"))
  out = net.tensor("shaped", (1, 3), "int8", soft.scale, -128)
  net.operator(shaping, [soft.index], out, shaping_options(shaping))
  graph = ModelFile.open(net.finish([x.index], [out])).subgraph
  assert graph.tensors[find_logits(graph)].name == "head/out"


def shaping_options(shaping):
  if shaping == "SQUEEZE":
    options = schema.SqueezeOptionsT()
    options.squeezeDims = []
    return options
  options = schema.ReshapeOptionsT()
  options.newShape = [1, 3]
  return options


def test_bias_steps_are_one_step_of_the_output():
  marked = mark_file(models.dense_model(per_channel=True), "head")
  bias = marked.mark.trainable[1]
  model = model_file.read(marked.data)
  out = model.subgraphs[0].tensors[marked.mark.logits].quantization.scale[0]
  for step, scale in zip(bias.output_step, bias.scales, strict=True):
    assert step * scale == pytest.approx(out, rel=0.5 / step)


def test_present_mark_prefers_the_files_own_then_head():
  data = MODELS["conv"]
  assert (
    names(present_mark(mark_file(data, "bias").data, None, "m"))[0]
    == "conv/bias"
  )
  assert names(present_mark(data, None, "m"))[0] == "head/kernel"
  assert len(names(present_mark(mark_file(data, "bias").data, "all", "m"))) == 6


@pytest.mark.parametrize(
  ("data", "trainable", "message"),
  [
    (models.float_model(), "head", "float/kernel.*float32 weights"),
    (models.float_model(), "all", "float32 weights"),
    (models.float_model("int8"), "head", "float/kernel.*hybrid"),
    (MODELS["dense"], "nothing-like-it", "matches no weight"),
    (MODELS["dense"], "(", "not a regular expression"),
    (MODELS["dense"], " , ", "names nothing"),
  ],
)
def test_what_cannot_be_trained_is_refused_by_name(data, trainable, message):
  with pytest.raises(TflmFgError, match=message):
    mark_file(data, trainable)


def test_a_delegates_operator_is_refused_by_name():
  model = model_file.read(MODELS["dense"])
  model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
  model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
  model.operatorCodes[0].customCode = b"edgetpu-custom-op"
  with pytest.raises(TflmFgError, match="edgetpu-custom-op"):
    mark_file(model_file.pack(model), "head")


def edit_mark(data, change):
  model = model_file.read(mark_file(data, "head").data)
  buffer = model.buffers[model.metadata[-1].buffer]
  content = json.loads(bytes(buffer.data))
  raw = json.dumps(change(content)).encode()
  buffer.data = np.frombuffer(raw, np.uint8)
  return model_file.pack(model)


@pytest.mark.parametrize(
  "change",
  [
    lambda c: {**c, "version": 99},
    lambda c: {**c, "logits": 10_000},
    lambda c: {**c, "trainable": 3},
    lambda c: {**c, "trainable": [{**c["trainable"][0], "index": 0}]},
    lambda c: {**c, "trainable": [{**c["trainable"][0], "operator": 77}]},
    lambda c: {**c, "trainable": [{**c["trainable"][0], "role": "bias"}]},
    lambda c: [],
  ],
)
def test_a_broken_mark_is_refused(change):
  with pytest.raises(TflmFgError, match=r"mark"):
    training_metadata.read_mark(edit_mark(MODELS["dense"], change))


@settings(max_examples=30, deadline=None)
@given(
  st.integers(0, 1000),
  st.booleans(),
  st.booleans(),
  st.sampled_from([2, 5, 17]),
)
def test_mark_patch_strip_hold_for_any_dense_model(
  seed, wide, softmax, classes
):
  data = models.dense_model(
    seed=seed, wide=wide, softmax=softmax, classes=classes
  )
  marked = mark_file(data, "all")
  patchable = Patchable(marked.data, [t.index for t in marked.mark.trainable])
  adapted = patchable.write([w // 2 for w in patchable.read()])
  stripped = training_metadata.without_mark(adapted)
  assert len(stripped) == len(data)
  verify(stripped)


IMMUTABLE = (bytes, str, int, float, bool, type(None))


def parts_of(value):
  """A value and all that can be reached from it."""
  yield value
  inside = value if isinstance(value, tuple) else ()
  if dataclasses.is_dataclass(value):
    inside = [getattr(value, f.name) for f in dataclasses.fields(value)]
  for part in inside:
    yield from parts_of(part)


@pytest.mark.parametrize("kind", MODELS)
def test_nothing_that_a_model_file_hands_out_can_be_changed(kind):
  file = ModelFile.open(mark_file(MODELS[kind], "all").data)
  for part in parts_of(file):
    if not dataclasses.is_dataclass(part):
      assert isinstance(part, (tuple, *IMMUTABLE)), type(part)
      continue
    for field in dataclasses.fields(part):
      with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(part, field.name, None)


def test_an_unpacked_model_is_ones_own_to_change():
  file = ModelFile.open(MODELS["conv"])
  before = model_file.pack(file.unpack())
  model = file.unpack()
  model.subgraphs[0].tensors[0].name = b"changed"
  model.subgraphs[0].operators[0].inputs = []
  del model.buffers[1:]
  assert model_file.pack(file.unpack()) == before
  for buffer in file.unpack().buffers:
    if buffer.data is not None:
      with pytest.raises(ValueError, match="read-only"):
        buffer.data[:1] = 1


@pytest.fixture
def verified(monkeypatch):
  """The bytes that were verified and parsed, in order; nothing is kept."""
  seen = []

  def noting(data, name):
    seen.append(data)
    return verify(data, name)

  monkeypatch.setattr(model_file, "verify", noting)
  monkeypatch.setattr(model_file, "_MOST_BYTES_KEPT", 0)
  return seen


def test_equal_bytes_of_a_small_file_are_parsed_once():
  data = MODELS["conv"]
  opened = ModelFile.open(data, "one")
  assert ModelFile.open(bytes(bytearray(data)), "one") is opened
  assert ModelFile.open(data, "other").name == "other"


def test_a_large_file_is_not_kept(monkeypatch):
  data = MODELS["conv"]
  monkeypatch.setattr(model_file, "_MOST_BYTES_KEPT", len(data) - 1)
  assert ModelFile.open(data, "two") is not ModelFile.open(data, "two")


CONV_INPUT = input_spec(MODELS["conv"])


def adapted(trainable, graph_options=None, **settings):
  random = np.random.default_rng(0)
  x = random.integers(-100, 101, (24, *CONV_INPUT.shape[1:]))
  return tflm_fg.adapt(
    MODELS["conv"],
    x.astype(CONV_INPUT.dtype),
    np.arange(24) % 3,
    trainable=trainable,
    graph_options=graph_options,
    **options(**settings),
  )


def test_adapting_a_head_parses_the_source_and_nothing_else(verified):
  """What is written of a verified file is known without being read again."""
  adapted("head", GraphOptions(head_room=0), method="closed-form")
  assert verified == [MODELS["conv"]]


def test_adapting_parses_a_file_that_surgery_wrote_once(verified):
  result = adapted("prompt,head", steps=3)
  source, grown = verified
  assert source == MODELS["conv"]
  assert grown == tflm_fg.strip(result.start)


@pytest.mark.parametrize("trainable", ["wide-head", "auto"])
def test_no_file_is_parsed_twice_while_adapting_begins(trainable, verified):
  adapted(trainable, steps=3)
  assert verified.count(MODELS["conv"]) == 1


FACTS = [field.name for field in dataclasses.fields(ModelFile)]


def assert_same(known, opened):
  for fact in FACTS:
    assert getattr(known, fact) == getattr(opened, fact), fact


@every_model
def test_what_is_known_of_a_written_file_is_what_opening_it_tells(data):
  for trainable in ("head", "all", "first-bias"):
    marked = mark_file(data, trainable)
    assert_same(marked.file, ModelFile.open(marked.data))
    again = mark_file(marked.file, "bias").file
    assert_same(again, ModelFile.open(again.data))
    pieces = cut(marked.file, marked.mark)
    for part in (pieces.prefix, pieces.suffix, whole(marked.file, marked.mark)):
      if part is not None:
        assert_same(part.file, ModelFile.open(part.data))
    patchable = Patchable(marked.file, [t.index for t in marked.mark.trainable])
    zeros = [np.zeros_like(w) for w in patchable.read()]
    written = patchable.written(zeros)
    assert_same(written, ModelFile.open(written.data))


@every_model
def test_a_constants_span_is_where_its_bytes_are(data):
  file = ModelFile.open(data)
  model = file.unpack()
  for index, tensor in enumerate(file.subgraph.tensors):
    start, length = file.span(index)
    held = model.buffers[tensor.buffer].data
    content = b"" if held is None else bytes(held)
    assert file.data[start : start + length] == content
