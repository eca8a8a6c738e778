"""Keras 3, tf_keras and quantization-aware models become integer files."""

import numpy as np
import pytest

import tflm_fg
from converters import comparison, quantize
from tests import models
from tflm_fg.fixed_point.arithmetic import dequantize
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.registry import open_session
from tflm_fg.samples import Dataset
from tflm_fg.tflite import ModelFile, input_spec, model_file
from tflm_fg.tflite.model_file import verify
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.objective import checked
from tflm_fg.types import TflmFgError

pytestmark = pytest.mark.tensorflow

SAMPLES = np.random.default_rng(0).normal(0, 1, (80, 8, 6, 2)).astype("f4")


def layers_of(library):
  layers = library.layers
  return [
    layers.Conv2D(4, 3, activation="relu", name="conv"),
    layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depth"),
    layers.GlobalAveragePooling2D(),
    layers.Dense(5, name="head"),
  ]


@pytest.fixture(scope="module")
def keras3():
  import keras

  keras.utils.set_random_seed(0)
  return keras.Sequential([keras.Input(SAMPLES.shape[1:]), *layers_of(keras)])


@pytest.fixture(scope="module")
def keras2():
  tf_keras = pytest.importorskip("tf_keras")
  tf_keras.utils.set_random_seed(0)
  inputs = tf_keras.Input(SAMPLES.shape[1:])
  flow = inputs
  for layer in layers_of(tf_keras):
    flow = layer(flow)
  return tf_keras.Model(inputs, flow)


def check(data, activations, model):
  """A sound file of the right types that does what the float model does."""
  verify(data)
  marked = tflm_fg.mark_trainable(data, "all")
  assert len(marked.mark.trainable) == 6
  spec = tensor_spec(marked.data, marked.mark.logits)
  assert spec.dtype == activations
  part = whole(marked.data, marked.mark)
  session = open_session("litert", part)
  assert session.traits.batches
  inputs = tensor_spec(marked.data, part.inputs[0])
  x = checked(Dataset(SAMPLES, np.zeros(80, int)), inputs, spec, "x")[0]
  got = dequantize(session.run((x,))[0], spec.scale, spec.zero_point)
  want = np.asarray(model(SAMPLES))
  reach = max(0.08 * np.abs(want).max(), 1.01 * spec.scale)
  assert np.abs(got - want).max() < reach
  seen = write_check.check_visibility(session, marked.mark.trainable, (x,))
  assert all(v.seen for v in seen)


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_keras_3_from_memory_and_from_file(keras3, activations, tmp_path):
  check(quantize.to_integer(keras3, SAMPLES, activations), activations, keras3)
  path = str(tmp_path / "model.keras")
  keras3.save(path)
  loaded = quantize.load(path)
  check(quantize.to_integer(loaded, SAMPLES, activations), activations, keras3)


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_tf_keras_from_file(keras2, activations, suffix, tmp_path):
  path = str(tmp_path / f"model.{suffix}")
  keras2.save(path)
  loaded = quantize.load(path)
  assert type(loaded).__module__.startswith("tf_keras")
  check(quantize.to_integer(loaded, SAMPLES, activations), activations, keras2)


def test_a_saved_model_folder(keras3, tmp_path):
  keras3.export(str(tmp_path / "saved"), verbose=False)
  loaded = quantize.load(str(tmp_path / "saved"))
  check(quantize.to_integer(loaded, SAMPLES), "int8", keras3)


def test_a_quantization_aware_model_needs_no_calibration(keras2, tmp_path):
  tfmot = pytest.importorskip("tensorflow_model_optimization")
  tf_keras = pytest.importorskip("tf_keras")
  clone = tf_keras.models.clone_model(keras2)
  clone.set_weights(keras2.get_weights())
  aware = tfmot.quantization.keras.quantize_model(clone)
  aware.compile("sgd", tf_keras.losses.SparseCategoricalCrossentropy(True))
  aware.fit(SAMPLES, np.arange(80) % 5, epochs=2, verbose=0)
  assert quantize.is_quantization_aware(aware)
  path = str(tmp_path / "aware.h5")  # TFMOT cannot load its own .keras
  aware.save(path)
  loaded = quantize.load(path)
  check(quantize.to_integer(loaded, None), "int8", aware)


def test_equal_constants_and_zero_biases_of_the_converter_are_mended():
  """The converter shares equal kernels and drops biases of zeros."""
  import keras

  keras.utils.set_random_seed(0)
  net = keras.Sequential(
    [
      keras.Input((6,)),
      keras.layers.Dense(6, name="one"),
      keras.layers.ReLU(),
      keras.layers.Dense(6, name="two"),
    ]
  )
  kernel = np.random.default_rng(0).normal(0, 0.5, (6, 6))
  for layer in net.layers:
    if layer.weights:
      layer.set_weights([kernel, np.zeros(6)])
  samples = np.random.default_rng(1).normal(0, 1, (50, 6)).astype("f4")
  marked = tflm_fg.mark_trainable(quantize.to_integer(net, samples), "all")
  graph = model_file.read(marked.data).subgraphs[0]
  tensors = marked.mark.trainable
  assert [t.role for t in tensors] == ["kernel", "bias"] * 2
  assert len({graph.tensors[t.index].buffer for t in tensors}) == 4
  assert any("put back" in note for note in marked.notes)


def test_a_head_of_zeros_is_refused_with_its_cure():
  import keras

  net = keras.Sequential(
    [
      keras.Input((6,)),
      keras.layers.Dense(4, name="body"),
      keras.layers.Dense(3, kernel_initializer="zeros", name="head"),
    ]
  )
  samples = np.random.default_rng(1).normal(0, 1, (50, 6)).astype("f4")
  data = quantize.to_integer(net, samples)
  with pytest.raises(TflmFgError, match=r"small random values|no scale"):
    tflm_fg.mark_trainable(data, "head")


@pytest.mark.parametrize(
  ("samples", "message"),
  [
    (SAMPLES[:0], "no samples"),
    (SAMPLES[:, :3], "samples of shape"),
    ((SAMPLES * 9).astype(np.int8), "need finite floats"),
    (SAMPLES * np.nan, "need finite floats"),
  ],
)
def test_calibration_samples_that_do_not_fit_are_refused(
  keras3, samples, message
):
  with pytest.raises(TflmFgError, match=message):
    quantize.to_integer(keras3, samples)


def test_a_model_of_tokens_is_calibrated_with_tokens():
  import keras

  keras.utils.set_random_seed(0)
  layers = keras.layers
  net = keras.Sequential(
    [
      keras.Input((6,), dtype="int32"),
      layers.Embedding(20, 4),
      layers.Flatten(),
      layers.Dense(3),
    ]
  )
  x = np.random.default_rng(0).integers(0, 20, (50, 6))
  data = quantize.to_integer(net, x)
  assert input_spec(data).dtype == "int32" and input_spec(data).rows == 20
  found = comparison.compare(quantize.float_outputs(net), data, x)
  assert found.same_answer > 0.9
  with pytest.raises(TflmFgError, match="takes integers, such as tokens"):
    quantize.to_integer(net, x / 2)


def test_a_saved_model_without_a_batch_axis_keeps_its_shape(tmp_path):
  import tensorflow as tf

  module = tf.Module()
  module.kernel = tf.Variable(tf.random.stateless_normal((40, 3), (0, 1)))

  def call(x):
    return tf.matmul(tf.reshape(x, (1, 40)), module.kernel)

  spec = [tf.TensorSpec([40], tf.float32, name="x")]
  function = tf.function(call, input_signature=spec)
  path = str(tmp_path / "saved")
  tf.saved_model.save(module, path, function.get_concrete_function())
  x = np.random.default_rng(0).normal(0, 1, (50, 40)).astype("f4")
  loaded = quantize.load(path)
  data = quantize.to_integer(loaded, x)
  assert ModelFile.open(data).subgraph.tensors[0].shape == (40,)
  found = comparison.compare(quantize.float_outputs(loaded), data, x)
  assert found.same_answer > 0.9


def test_models_that_cannot_be_converted_are_refused(tmp_path):
  import keras

  two = [keras.Input((3,)), keras.Input((3,))]
  both = keras.Model(two, keras.layers.Add()(two))
  with pytest.raises(TflmFgError, match="2 inputs"):
    quantize.to_integer(both, SAMPLES)
  open_ended = keras.Sequential(
    [keras.Input((None, 3)), keras.layers.GlobalAveragePooling1D()]
  )
  with pytest.raises(TflmFgError, match="fix every size"):
    quantize.to_integer(open_ended, SAMPLES)
  with pytest.raises(TflmFgError, match="no such file"):
    quantize.load(str(tmp_path / "missing.keras"))
  text = tmp_path / "text.keras"
  text.write_text("not a model")
  with pytest.raises(TflmFgError, match="not a model that loads"):
    quantize.load(str(text))
  with pytest.raises(TflmFgError, match="--activations='int4'"):
    quantize.to_integer(both, SAMPLES, "int4")


def test_built_models_and_converted_ones_agree_on_what_a_head_is(keras3):
  marked = tflm_fg.mark_trainable(quantize.to_integer(keras3, SAMPLES), "head")
  built = tflm_fg.mark_trainable(models.conv_model(), "head")
  for one, two in zip(marked.mark.trainable, built.mark.trainable, strict=True):
    assert (one.role, one.op_name) == (two.role, two.op_name)
