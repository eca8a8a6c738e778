"""What converters leave untrainable is mended, and said, or refused."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import tflm_fg
from tests import models
from tests.options import options
from tflm_fg.placement.phase_record import masters_of, write_masters
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.registry import open_session
from tflm_fg.tflite import model_file, training_metadata
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import weights_of
from tflm_fg.types import TflmFgError


def outputs(data, x):
  """What a bare interpreter makes of the file as it is."""
  interpreter = Interpreter(
    model_content=bytes(bytearray(data)),
    experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    experimental_preserve_all_tensors=True,
  )
  interpreter.allocate_tensors()
  rows = []
  for sample in x:
    interpreter.set_tensor(
      interpreter.get_input_details()[0]["index"], sample[None]
    )
    interpreter.invoke()
    rows += [
      interpreter.get_tensor(d["index"])
      for d in interpreter.get_tensor_details()
      if d["name"].endswith("/out")
    ]
  return np.concatenate(rows, axis=None)


def edited(data, change):
  model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)  # writable
  change(model, model.subgraphs[0])
  return model_file.pack(model)


def tensor(graph, name):
  return next(t for t in graph.tensors if t.name == name)


X = models.int8_samples((8,), 20)


@pytest.mark.parametrize("wide", [False, True])
def test_a_dropped_bias_is_put_back_as_zeros(wide):
  data = models.dense_model(bias=False, wide=wide)
  marked = mark_file(data, "head")
  assert marked.notes == ("head/kernel: a bias of zeros put back",)
  bias = marked.mark.trainable[1]
  assert (bias.name, bias.role) == ("head/kernel/bias", "bias")
  assert bias.dtype == ("int64" if wide else "int32")
  assert not weights_of(marked.data, [bias])[0].any()
  x = models.int8_samples((8,), 20, dtype="int16" if wide else "int8")
  assert np.array_equal(outputs(data, x), outputs(marked.data, x))


def test_a_shared_buffer_is_unshared_and_the_output_stays():
  def share(model, graph):
    kernels = [tensor(graph, n) for n in (b"hidden/kernel", b"head/kernel")]
    for kernel in kernels:
      kernel.buffer = kernels[0].buffer

  data = edited(models.dense_model(inputs=8, hidden=8, classes=8), share)
  marked = mark_file(data, "head")
  assert marked.notes == ("head/kernel: given a buffer of its own",)
  model = model_file.read(marked.data)
  graph = model.subgraphs[0]
  assert (
    tensor(graph, b"hidden/kernel").buffer
    != tensor(graph, b"head/kernel").buffer
  )
  assert np.array_equal(outputs(data, X), outputs(marked.data, X))


def test_a_tensor_that_two_operators_read_is_copied_for_each():
  def tie(model, graph):
    first, second = graph.operators[:2]
    second.inputs = np.array([second.inputs[0], *first.inputs[1:]], np.int32)
    tensor(graph, b"x").quantization.scale = tensor(
      graph, b"hidden/out"
    ).quantization.scale

  data = edited(models.dense_model(inputs=8, hidden=8, classes=8), tie)
  marked = mark_file(data, "all")
  assert len({t.index for t in marked.mark.trainable}) == 4
  assert all("copied" in note for note in marked.notes)
  buffers = [
    model_file.read(marked.data).subgraphs[0].tensors[t.index].buffer
    for t in marked.mark.trainable
  ]
  assert len(set(buffers)) == 4


def kill(model, graph):
  """Gives channel 2 of the head zeros and the scale converters give zeros."""
  kernel, bias = tensor(graph, b"head/kernel"), tensor(graph, b"head/bias")
  values = np.array(model.buffers[kernel.buffer].data).view(np.int8)
  values.reshape(len(kernel.quantization.scale), -1)[2] = 0
  model.buffers[kernel.buffer].data = values.view(np.uint8)
  kernel.quantization.scale[2] = 3.9e-9
  hidden = tensor(graph, b"hidden/out").quantization.scale[0]
  old = bias.quantization.scale[2]
  bias.quantization.scale[2] = 3.9e-9 * hidden
  units = np.array(model.buffers[bias.buffer].data).view(np.int32)
  moved = round(units[2] * old / (3.9e-9 * hidden))
  units[2] = np.clip(moved, -(2**31) + 1, 2**31 - 1)
  model.buffers[bias.buffer].data = units.view(np.uint8)


@pytest.mark.parametrize("trainable", ["head", "head/kernel", "head/bias"])
def test_a_dead_channel_gets_a_scale_and_its_bias_stays_in_place(trainable):
  data = edited(models.dense_model(), kill)
  marked = mark_file(data, trainable)
  assert marked.notes == ("head/kernel: 1 channels of zeros got a scale",)
  scales = model_file.read(marked.data).subgraphs[0]
  scales = tensor(scales, b"head/kernel").quantization.scale
  assert scales[2] == pytest.approx(np.median([*scales[:2], scales[3]]))
  got, want = (outputs(d, X).astype(int) for d in (marked.data, data))
  assert np.abs(got - want).max() <= 1  # the bias is rounded to its new scale
  verdicts = write_check.check_visibility(
    open_session("litert", whole(marked.data, marked.mark)),
    marked.mark.trainable,
  )
  assert all(v.seen for v in verdicts)


@pytest.mark.parametrize("trainable", ["head", "all", "kernel"])
def test_mending_a_shared_constant_leaves_its_other_users_alone(trainable):
  def tie_and_kill(model, graph):
    first, second = graph.operators[:2]
    second.inputs = np.array([second.inputs[0], *first.inputs[1:]], np.int32)
    kernel = tensor(graph, b"hidden/kernel")
    kernel.quantization.scale[2] = 3.9e-9
    values = np.array(model.buffers[kernel.buffer].data).view(np.int8)
    values.reshape(8, 8)[2] = 0
    model.buffers[kernel.buffer].data = values.view(np.uint8)
    units = np.zeros(8, np.int32)
    bias = tensor(graph, b"hidden/bias")
    model.buffers[bias.buffer].data = units.view(np.uint8)
    in_scale = tensor(graph, b"x").quantization.scale[0]
    bias.quantization.scale[2] = 3.9e-9 * in_scale
    # Both layers read the same tensors, so both inputs have one scale.
    tensor(graph, b"hidden/out").quantization.scale[0] = in_scale

  data = edited(models.dense_model(inputs=8, hidden=8, classes=8), tie_and_kill)
  marked = mark_file(data, trainable)
  assert any("got a scale" in note for note in marked.notes)
  assert np.array_equal(outputs(data, X), outputs(marked.data, X))


@pytest.mark.parametrize("scale", [3.9e-9, 0.0])
def test_a_kernel_of_zeros_with_a_useless_scale_is_refused_by_name(scale):
  def zero(model, graph):
    kernel = tensor(graph, b"head/kernel")
    kernel.quantization.scale[:] = scale
    size = len(model.buffers[kernel.buffer].data)
    model.buffers[kernel.buffer].data = np.zeros(size, np.uint8)

  with pytest.raises(TflmFgError, match="head/kernel has a useless scale"):
    mark_file(edited(models.dense_model(), zero), "head")


def lowest(wide):
  """A model with some weights of -128, which converters may write."""

  def lower(model, graph):
    buffer = model.buffers[tensor(graph, b"head/kernel").buffer]
    values = np.array(buffer.data)
    values[:3] = 128  # -128 as int8
    buffer.data = values

  return edited(models.dense_model(wide=wide), lower)


@pytest.mark.parametrize("wide", [False, True])
def test_weights_of_minus_128_stay_as_they_are(wide):
  data = lowest(wide)
  marked = mark_file(data, "head")
  assert marked.notes == ()
  assert training_metadata.without_mark(marked.data) == data
  masters = masters_of(marked.data, marked.mark)
  assert write_masters(marked.data, marked.mark, masters).data == marked.data


@pytest.mark.parametrize("weights", ["int16", "int8x2"])
def test_weights_of_minus_128_stay_as_they_are_in_16_bits(weights):
  marked = mark_file(lowest(False), "head", weights=weights)
  masters = masters_of(marked.data, marked.mark)
  assert write_masters(marked.data, marked.mark, masters).data == marked.data


@pytest.mark.parametrize("wide", [False, True])
def test_weights_of_minus_128_train_and_never_come_back(wide):
  x, y = models.separable(samples=60)
  result = tflm_fg.adapt(
    lowest(wide),
    x,
    y,
    trainable="head",
    **options(method="sign-m-spsa", steps=3, validation_fraction=0.0),
  )
  tensors = training_metadata.read_mark(result.marked_model).trainable
  kernel, *_ = weights_of(result.marked_model, tensors)
  assert -127 <= kernel.min() < -120


def test_constants_off_their_boundary_are_moved_and_the_output_stays():
  class Plain(flatbuffers.Builder):
    pass

  model = model_file.read(models.dense_model())
  builder = Plain(1024)
  builder.Finish(model.Pack(builder), b"TFL3")
  data = bytes(builder.Output())
  assert not model_file.ModelFile.open(data).is_aligned
  marked = mark_file(data, "head")
  assert marked.notes == ("constants moved to 16-byte boundaries",)
  assert marked.file.is_aligned
  assert np.array_equal(outputs(data, X), outputs(marked.data, X))
  again = mark_file(training_metadata.without_mark(marked.data), "head")
  assert again.notes == ()


def test_asymmetric_and_sparse_weights_are_refused_by_name():
  def shift(model, graph):
    points = tensor(graph, b"head/kernel").quantization.zeroPoint
    points[:] = 3

  def sparse(model, graph):
    tensor(graph, b"head/kernel").sparsity = schema.SparsityParametersT()

  for change, message in ((shift, "asymmetric"), (sparse, "sparse")):
    with pytest.raises(TflmFgError, match=f"head/kernel.*{message}"):
      mark_file(edited(models.dense_model(), change), "head")


def fold_away(model, graph, channels=(2,)):
  """Gives channels of the head weights of 127 and a scale far too small."""
  kernel, bias = tensor(graph, b"head/kernel"), tensor(graph, b"head/bias")
  values = np.array(model.buffers[kernel.buffer].data).view(np.int8)
  units = np.array(model.buffers[bias.buffer].data).view(np.int32)
  hidden = tensor(graph, b"hidden/out").quantization.scale[0]
  for channel in channels:
    rows = values.reshape(len(kernel.quantization.scale), -1)
    rows[channel] = np.resize([127, -127], rows.shape[1])
    kernel.quantization.scale[channel] = 2e-7
    old = bias.quantization.scale[channel]
    bias.quantization.scale[channel] = 2e-7 * hidden
    units[channel] = round(units[channel] * old / (2e-7 * hidden))
  model.buffers[kernel.buffer].data = values.view(np.uint8)
  model.buffers[bias.buffer].data = units.view(np.uint8)


FOLDED = edited(models.dense_model(), fold_away)


def test_a_channel_that_was_folded_away_stays_as_it_is_and_this_is_said():
  marked = mark_file(FOLDED, "head")
  (note,) = marked.notes
  assert note.startswith("head/kernel: 1 of 4 channels")
  assert "do not train" in note
  assert training_metadata.without_mark(marked.data) == FOLDED
  kernel, bias = marked.mark.trainable
  assert list(kernel.trains) == list(bias.trains) == [1, 1, 0, 1]
  assert np.array_equal(outputs(FOLDED, X), outputs(marked.data, X))


@pytest.mark.parametrize(
  "settings",
  [
    {"method": "closed-form", "pull": 0.1, "steps": 4},
    {"method": "sign-m-spsa", "steps": 5, "rounding": "stochastic"},
    {"method": "sign-m-spsa", "steps": 5, "precision": "8w8a"},
    {"method": "spsa", "steps": 5, "momentum": 0.9},
    {"method": "sign-m-spsa", "steps": 5, "optimizer": "frank-wolfe"},
    {"method": "node", "steps": 5},
  ],
)
def test_no_method_moves_a_channel_that_was_folded_away(settings):
  x, y = models.separable(samples=60)
  given = {"batch_size": 60, "validation_fraction": 0.0, **settings}
  result = tflm_fg.adapt(FOLDED, x, y, trainable="head", **options(**given))
  tensors = training_metadata.read_mark(result.marked_model).trainable
  before, after = (
    weights_of(data, tensors) for data in (result.start, result.marked_model)
  )
  for old, new in zip(before, after):
    assert np.array_equal(old[2], new[2])
    assert all((old[c] != new[c]).any() for c in (0, 1, 3))


def test_a_layer_that_was_folded_away_whole_is_left_alone_or_refused():
  def fold_all(model, graph):
    fold_away(model, graph, range(4))

  data = edited(models.dense_model(), fold_all)
  with pytest.raises(TflmFgError, match=r"head/kernel.*train other layers"):
    mark_file(data, "head")
  names = [t.name for t in mark_file(data, "all").mark.trainable]
  assert names == ["hidden/kernel", "hidden/bias"]


def test_scales_on_an_axis_that_is_not_there_are_put_on_the_one_that_is():
  def turn(model, graph):
    tensor(graph, b"hidden/bias").quantization.quantizedDimension = 3

  data = edited(models.dense_model(), turn)
  marked = mark_file(data, "all")
  (note,) = marked.notes
  assert note.startswith("hidden/bias: its scales name an axis")
  want = outputs(models.dense_model(), X)
  assert np.array_equal(outputs(marked.data, X), want)  # LiteRT opens it
  x, y = models.separable(samples=40)
  result = tflm_fg.adapt(data, x, y, trainable="head")
  assert result.report.notes[0] == note
  assert tflm_fg.evaluate(data, x, y)["samples"] == 40


def test_scales_on_a_wrong_axis_of_a_kernel_are_still_refused():
  def turn(model, graph):
    tensor(graph, b"hidden/kernel").quantization.quantizedDimension = 1

  with pytest.raises(TflmFgError, match="16 scales on axis 1"):
    mark_file(edited(models.dense_model(), turn), "all")
