"""Load samples for a model from files and folders as people hold them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from tflm_fg.marking import Model, opened
from tflm_fg.samples.reading import LoadedSamples, read
from tflm_fg.samples.units import in_units
from tflm_fg.samples.wanted import Wanted
from tflm_fg.tflite.choice.own_mark import unmarked
from tflm_fg.tflite.contents.class_names import known_names
from tflm_fg.tflite.inputs import spec_of
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.objective import width


def load_samples(
  source: str | os.PathLike[str],
  model: Model,
  *,
  part: str = "train",
  labels: bool = True,
  classes: Sequence[str] | None = None,
  window: int | None = None,
  stride: int | None = None,
  pixel_range: tuple[float, float] | None = None,
  strict: bool = False,
  output: str | int | None = None,
  input: str | int | None = None,
) -> LoadedSamples:
  """Loads samples for a model, from what people hold; see docs/data.md.

  Args:
    source: an .npz with x and y, or other usual names; "x.npy,y.npy"; a .csv
      with a row a sample, or rows in time; or a folder with CLASS/*.png.
    model: the path or the bytes of the .tflite that they are for.
    part: "train" or "test", for a source that has both.
    labels: whether there must be targets.
    classes: names of the model's outputs in order; None for what the file says.
    window: rows of a table in a sample; None for what the input's shape says.
    stride: rows from one window to the next; None for windows side by side.
    pixel_range: what the pixels 0 and 255 are in the model's units; None for
      what the input's grid says.
    strict: refuse a damaged image, which is else named and passed over.
    output: which of several outputs the classes are of, as for
      `mark_trainable`.
    input: which of several inputs takes the samples, as for `mark_trainable`.

  Returns:
    x and y for `adapt` and `evaluate`, and what should be known of them.

  Raises:
    TflmFgError: in one line, if they cannot be read or do not fit.

  Example:
    >>> held = tflm_fg.load_samples("photos", "model.tflite")
    >>> result = tflm_fg.adapt("model.tflite", held.x, held.y)
  """

  def wanted() -> Wanted:
    file = opened(model, None, output, input)
    outputs = width(tensor_spec(file, unmarked(file).logits))
    return Wanted(
      shape=spec_of(file).shape[1:],
      outputs=outputs,
      classes=tuple(classes) if classes else known_names(file, outputs),
      window=window,
      stride=stride,
      strict=strict,
    )

  loaded = read(os.fspath(source), wanted, part=part, labels=labels)
  if pixel_range is None:
    return loaded
  x = in_units(loaded.x, pixel_range, os.fspath(source))
  return dataclasses.replace(loaded, x=x)
