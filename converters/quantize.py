"""Turn a Keras model or a SavedModel into a fully integer .tflite.

Keras 3, tf_keras and TFMOT's quantization-aware models all take the same way:
a concrete function of one sample, so that the graph has fixed shapes and no
shape arithmetic that a microcontroller would have to run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg import files
from tflm_fg.types import TflmFgError, one_line

ACTIVATIONS = ("int8", "int16")

MAX_CALIBRATION_SAMPLES = 500
"""More samples than this no longer move the ranges, and cost time."""


def load(path: str) -> Any:
  """Loads a .keras or .h5 file (Keras 3 or tf_keras) or a SavedModel folder.

  Raises:
    TflmFgError: if TensorFlow is missing or the model cannot be loaded.
  """
  if not os.path.exists(path):
    raise TflmFgError(f"{path}: no such file")
  tf = tensorflow()
  try:
    if os.path.isdir(path):
      return tf.saved_model.load(path)
    with _custom_layers():
      return _keras_for(path).models.load_model(path, compile=False)
  except TflmFgError:
    raise
  except Exception as fault:  # Keras raises what it likes on a bad file
    raise TflmFgError(
      f"{path}: not a model that loads: {one_line(fault, 200)}"
    ) from None


def to_integer(
  model: Any,
  representative: NDArray[np.floating] | None,
  activations: str = "int8",
) -> bytes:
  """Quantizes a model: int8 weights, int8 or int16 activations and I/O.

  Args:
    model: a Keras model (Keras 3, tf_keras, quantization-aware) or what
      `tf.saved_model.load` gives, with one input.
    representative: samples [N, ...] in the model's float units, for the ranges
      of activations; None only for a quantization-aware model.
    activations: "int8", or "int16" for int16 activations and 64-bit biases.

  Returns:
    The .tflite, unmarked.

  Raises:
    TflmFgError: if the model does not fit or the samples are of another shape.
  """
  if activations not in ACTIVATIONS:
    raise TflmFgError(
      f"--activations={activations!r}: choose one of {', '.join(ACTIVATIONS)}"
    )
  tf = tensorflow()
  function, shape = _one_sample_function(tf, model)
  samples = None
  if representative is not None:
    samples = calibration_samples(
      representative, shape, function.inputs[0].dtype.as_numpy_dtype
    )
  try:
    with tempfile.TemporaryDirectory() as folder:
      _export(tf, model, function, folder)
      converter = tf.lite.TFLiteConverter.from_saved_model(folder)
      _set_integer(tf, converter, samples, activations)
      return bytes(converter.convert())
  except Exception as fault:  # the converter's faults have no common type
    hint = "" if samples is not None else "; give --calibration=X.npz"
    raise TflmFgError(
      f"the model cannot be quantized: {one_line(fault, 300)}{hint}"
    ) from None


def _export(tf: Any, model: Any, function: Any, folder: str) -> None:
  """Writes a SavedModel of one sample, as each kind of model wants it."""
  if type(model).__module__.split(".")[0] == "keras":  # Keras 3
    signature = list(function.structured_input_signature[0])
    model.export(folder, input_signature=signature, verbose=False)
  else:
    tf.saved_model.save(model, folder, signatures=function)


def _set_integer(
  tf: Any,
  converter: Any,
  samples: list[NDArray[Any]] | None,
  activations: str,
) -> None:
  lite = tf.lite
  converter.optimizations = [lite.Optimize.DEFAULT]
  wide = activations == "int16"
  if (
    samples is not None
  ):  # without samples the model's own quantizers tell ranges
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [
      lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
      if wide
      else lite.OpsSet.TFLITE_BUILTINS_INT8
    ]
  io_type = tf.int16 if wide else tf.int8
  converter.inference_input_type = io_type
  converter.inference_output_type = io_type


def is_quantization_aware(model: Any) -> bool:
  """Whether TFMOT has put quantizers into the model."""
  layers = getattr(model, "layers", [])
  return any(type(layer).__name__.startswith("Quantize") for layer in layers)


def _one_sample_function(tf: Any, model: Any) -> tuple[Any, list[int]]:
  """The model as a concrete function of [1, ...], and that shape."""
  call, specs = _called(tf, model)
  if len(specs) != 1:
    raise TflmFgError(
      f"the model has {len(specs)} inputs; only models with one input can be "
      "converted"
    )
  if specs[0].shape.rank is None:
    raise TflmFgError("the model's input has no rank; fix its shape")
  shape = list(specs[0].shape)
  if len(shape) != 1 or shape[0] is None:  # [15600] is a sound without a batch
    shape = [1, *shape[1:]]
  if any(d is None for d in shape):
    raise TflmFgError(
      f"the model's input has shape {shape}; fix every size but the batch"
    )
  spec = tf.TensorSpec(shape, specs[0].dtype)
  return tf.function(call).get_concrete_function(spec), shape


def _called(tf: Any, model: Any) -> tuple[Callable[[Any], Any], list[Any]]:
  """A model as a call of one tensor, and what its inputs must be."""
  if hasattr(model, "signatures"):
    return _serving(model)
  inputs = _as_list(getattr(model, "inputs", None) or [])
  specs = [tf.TensorSpec(i.shape, i.dtype) for i in inputs]
  return _inference(model), specs


def _inference(model: Any) -> Callable[[Any], Any]:
  """A Keras model as a function of `x`, the name its input gets in the file."""

  def call(x: Any) -> Any:
    return model(x, training=False)

  return call


def _serving(model: Any) -> tuple[Callable[[Any], Any], list[Any]]:
  """A SavedModel's serving signature as a call of one tensor."""
  if "serving_default" not in model.signatures:
    raise TflmFgError(
      "the SavedModel has no signature 'serving_default', only "
      f"{sorted(model.signatures) or 'none'}; export it with one"
    )
  signature = model.signatures["serving_default"]
  inputs = signature.structured_input_signature[1]
  name = next(iter(inputs), "")
  return (
    lambda x: next(iter(signature(**{name: x}).values())),
    list(inputs.values()),
  )


def float_outputs(model: Any) -> Callable[[NDArray[np.float32]], list[Any]]:
  """A loaded model as a function of one sample [1, ...].

  Returns:
    A function that gives the model's outputs as float32 arrays.
  """
  tf = tensorflow()
  call, specs = _called(tf, model)
  shape, dtype = specs[0].shape, specs[0].dtype

  def outputs(sample: NDArray[Any]) -> list[Any]:
    given = sample[0] if len(shape) == sample.ndim - 1 else sample
    flat = tf.nest.flatten(call(tf.constant(given, dtype)))
    return [np.asarray(value, np.float32) for value in flat]

  return outputs


def _as_list(value: Any) -> list[Any]:
  return list(value) if isinstance(value, (list, tuple)) else [value]


def calibration_samples(
  samples: NDArray[Any], shape: list[int], dtype: Any = np.float32
) -> list[NDArray[Any]]:
  """Chooses samples for the ranges of activations.

  Args:
    samples: [N, ...]: floats, or integers for a model that takes integers.
    shape: the model's input, [1, ...], or [...] without a batch axis.
    dtype: of the model's input.

  Returns:
    At most `MAX_CALIBRATION_SAMPLES` samples of that shape.

  Raises:
    TflmFgError: if there are none, or they are of another shape or dtype.
  """
  inner = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
  if samples.ndim == 0 or len(samples) == 0:
    raise TflmFgError("calibration x: no samples")
  if list(samples.shape[1:]) != inner:
    raise TflmFgError(
      f"calibration x: samples of shape {list(samples.shape[1:])}, the model "
      f"takes {inner}"
    )
  takes_integers = np.dtype(dtype).kind in "iu"
  if takes_integers and samples.dtype.kind not in "iu":
    raise TflmFgError(
      f"calibration x: dtype {samples.dtype}; the model takes integers, such "
      "as tokens"
    )
  if not takes_integers and (
    samples.dtype.kind != "f" or not np.all(np.isfinite(samples))
  ):
    raise TflmFgError(
      f"calibration x: dtype {samples.dtype}; need finite floats in the units "
      "the model was trained on"
    )
  stride = max(1, len(samples) // MAX_CALIBRATION_SAMPLES)
  chosen = samples[::stride][:MAX_CALIBRATION_SAMPLES].astype(dtype)
  return [sample.reshape(shape) for sample in chosen]


def tensorflow() -> Any:
  """Imports TensorFlow, or fails with the cure."""
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  try:
    import tensorflow as module
  except ImportError:
    raise TflmFgError(_NO_TENSORFLOW) from None
  return module


KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")


def require_loadable(path: str) -> None:
  """Refuses at once what TensorFlow could not load, before it is imported.

  Raises:
    TflmFgError: if there is no such file, it is neither a Keras file nor a
      SavedModel, or TensorFlow is missing.
  """
  if not os.path.exists(path):
    raise TflmFgError(f"{path}: no such file")
  if path.endswith(KERAS_SUFFIXES) and not os.path.isdir(path):
    file, _ = files.open_regular(path)
    with file:
      start = file.read(8)
    if start[:2] != b"PK" and start != b"\x89HDF\r\n\x1a\n":
      raise TflmFgError(
        f"{path}: not a model that loads: neither a Keras archive nor HDF5"
      )
  if importlib.util.find_spec("tensorflow") is None:
    raise TflmFgError(_NO_TENSORFLOW)


_NO_TENSORFLOW = (
  "converting a model needs TensorFlow: pip install 'tflm-fg[tf]'"
)


def _keras_for(path: str) -> Any:
  """Keras 3, or tf_keras for files that Keras 2 wrote."""
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
      version = json.loads(archive.read("metadata.json"))["keras_version"]
  elif path.endswith(KERAS_SUFFIXES[1:]):
    import h5py  # comes with TensorFlow

    with h5py.File(path, "r") as archive:
      version = archive.attrs.get("keras_version", "3")
  else:
    raise ValueError("neither a Keras archive nor HDF5")
  if not str(version).startswith("2"):
    import keras

    return keras
  return _tf_keras(path)


def _tf_keras(path: str) -> Any:
  try:
    import tf_keras
  except ImportError:
    raise TflmFgError(
      f"{path} was written by Keras 2: pip install tf_keras"
    ) from None
  return tf_keras


@contextlib.contextmanager
def _custom_layers() -> Iterator[None]:
  """Knows TFMOT's layers while loading, where TFMOT is installed."""
  try:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    import tensorflow_model_optimization as tfmot
  except ImportError:
    yield
    return
  with tfmot.quantization.keras.quantize_scope():
    yield
