"""Mark what may train in a file, and take the mark off again."""

from __future__ import annotations

import dataclasses
import os

from tflm_fg import files
from tflm_fg.runtimes import rewriting
from tflm_fg.runtimes.trial import require_loads, require_target
from tflm_fg.tflite import outside, select_trainable, training_metadata
from tflm_fg.tflite.choice.outputs import like, with_output
from tflm_fg.tflite.choice.own_mark import as_marked
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.inputs import refuse_foreign, resource_fault, with_input
from tflm_fg.tflite.known_forms import is_legacy
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import MarkedModel
from tflm_fg.tflite.surgery.pooled_head import pooled_head, trains_head
from tflm_fg.tflite.surgery.ready import ready
from tflm_fg.training.objective import output_spec
from tflm_fg.types import Array, TflmFgError

Model = bytes | str | os.PathLike[str] | ModelFile
"""A model as its bytes, its path, or opened."""


def mark_trainable(
  model: Model,
  trainable: str = "head",
  *,
  graph_options: GraphOptions | None = None,
  output: str | int | None = None,
  input: str | int | None = None,
  target: str = "any",
  name: str | None = None,
) -> MarkedModel:
  """Marks what may train in a .tflite.

  Args:
    model: the path or the bytes of an int8, int16x8 or legacy uint8 .tflite.
    trainable: "head", "wide-head", "prompt", "first-bias", "bias",
      "inner-bias", "all", a regular expression on tensors' names, or several of
      these with commas.
    graph_options: how the file may change for what shall train.
    output: which of several outputs shall be trained, by its position from 0,
      its name, or the name that the file's signature gives it; None for what
      the file's mark says, or the one that is left where there is no doubt.
    input: which of several inputs takes the samples, by its position from 0 or
      its name; the others get zeros. None for what the file's mark says, or the
      one that is no state and no single number.
    target: "any"; "tflm" or "litert" for a file that this engine must load and
      run here. For TFLM constants outside the flatbuffer are moved inside.
    name: what to call the model in errors; by default its path.

  Returns:
    The marked file, its mark, and a note for everything that was changed.

  Raises:
    TflmFgError: if the file is not sound or the choice cannot be trained.
    NotApplicable: if the target does not run the marked file, or the options
      do not allow the operators that the choice takes.

  Example:
    >>> marked = tflm_fg.mark_trainable("kws.tflite", "head")
    >>> open("marked.tflite", "wb").write(marked.data)
  """
  require_target(target)
  own = opened(model, name, output, input)
  if target == "tflm":
    own = _with_constants_inside(own)
  options = options_for(own, trainable, graph_options)
  file = with_change_told(own, in_known_form(own, options))
  marked = select_trainable.mark_file(file, trainable, graph_options=options)
  output_spec(marked.file, marked.mark, own.name)  # or nothing could train it
  require_loads(marked.file, target)
  return marked


def _with_constants_inside(file: ModelFile) -> ModelFile:
  """The file with all constants in its flatbuffer; itself if they are there."""
  if not outside.holds_constants(file.data):
    return file
  inside = ModelFile.open(file.repacked(file.unpack()), file.name)
  note = "constants moved into the flatbuffer, where TFLM reads them"
  return dataclasses.replace(like(inside, file), notes=(*file.notes, note))


def options_for(
  own: ModelFile, trainable: str | None, graph_options: GraphOptions | None
) -> GraphOptions:
  """The options, with a pooled head left as it is if it shall not train.

  Args:
    own: the user's file.
    trainable: as for `mark_trainable`; None and "auto" may train the head.
    graph_options: as the user gave them; None for none.

  Raises:
    TflmFgError: if it is not clear which output is meant.
  """
  options = graph_options or GraphOptions()
  graph = own.subgraph
  if pooled_head(graph, own.name) and not trains_head(graph, trainable):
    return dataclasses.replace(options, pooled_head="keep")
  return options


def in_known_form(own: ModelFile, graph_options: GraphOptions) -> ModelFile:
  """The file as it can be marked: rewritten where its form asks for it.

  Args:
    own: the user's file; one with a mark stays as it is.
    graph_options: how the file may change.

  Raises:
    TflmFgError: naming what cannot be rewritten, or state that no sample
      resets.
  """
  refuse_foreign(own)
  if fault := resource_fault(own.subgraph):
    raise TflmFgError(f"{own.name}: {fault}")
  if training_metadata.has_mark(own):
    return own
  file, notes = ready(own, graph_options)
  return dataclasses.replace(file, notes=(*own.notes, *notes))


def with_change_told(
  own: ModelFile, file: ModelFile, x: Array | None = None
) -> ModelFile:
  """Adds a note of how far rewriting has moved the outputs, if it was needed.

  Args:
    own: the user's file.
    file: what `in_known_form` made of it.
    x: samples on the input's grid; None for random ones.
  """
  was_legacy = is_legacy(own.subgraph) and not is_legacy(file.subgraph)
  if not was_legacy and own.operator_names == file.operator_names:
    return file
  told = rewriting.told_change(own, file, x)
  return dataclasses.replace(file, notes=(*file.notes, told))


def strip(model: Model, name: str | None = None) -> bytes:
  """Takes the mark off a file; one without a mark comes back as it is.

  Args:
    model: the path or the bytes of a .tflite.
    name: what to call the model in errors; by default its path.

  Raises:
    TflmFgError: if the file is not sound.
  """
  return training_metadata.without_mark(opened(model, name))


def opened(
  model: Model,
  name: str | None = None,
  output: str | int | None = None,
  input: str | int | None = None,
) -> ModelFile:
  """The model, verified and parsed; itself if it is open already.

  Args:
    model: as for `mark_trainable`.
    name: what to call it in errors; by default its path.
    output: as for `mark_trainable`.
    input: as for `mark_trainable`.

  Raises:
    TflmFgError: if it cannot be read, is not sound, or has no such output or
      input.
  """
  if not isinstance(model, ModelFile):
    model = ModelFile.open(*files.read_model(model, name))
  return as_marked(with_input(with_output(model, output), input))
