"""What people hold as samples, made into what a model's input takes."""

from tflm_fg.samples.arrays import Dataset, array_of, counted
from tflm_fg.samples.inputs import model_input, shaped
from tflm_fg.samples.npz import load_npz
from tflm_fg.samples.numpy_files import read_npy, read_npz
from tflm_fg.samples.reading import LoadedSamples
from tflm_fg.samples.reading import read as read_samples
from tflm_fg.samples.targets import (
  binary_labels,
  class_labels,
  one_column,
  real_targets,
)
from tflm_fg.samples.wanted import Wanted

__all__ = [
  "Dataset",
  "LoadedSamples",
  "Wanted",
  "array_of",
  "binary_labels",
  "class_labels",
  "counted",
  "load_npz",
  "model_input",
  "one_column",
  "read_npy",
  "read_npz",
  "read_samples",
  "real_targets",
  "shaped",
]
