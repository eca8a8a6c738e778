"""Open a file as its mark has it: what trains, and for which output."""

from __future__ import annotations

from tflm_fg.tflite.choice.outputs import (
  meant_output,
  served_logits,
  with_output,
)
from tflm_fg.tflite.inputs import with_input
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.types import Mark, TflmFgError


def as_marked(source: Source, name: str = "model") -> ModelFile:
  """The file, opened, with the output and input chosen that its mark says.

  A choice that was made for the opened file stands above the mark's.
  """
  file = ModelFile.of(source, name)
  graph = file.subgraph
  open_output = graph.chosen_output is None and len(graph.outputs) > 1
  open_input = graph.chosen_input is None and len(graph.inputs) > 1
  if not open_output and not open_input:
    return file
  try:
    mark = read_mark(file)
  except TflmFgError:  # whoever needs the mark says what is wrong with it
    return file
  if mark is None:
    return file
  file = with_input(file, mark.input if open_input else None)
  return with_output(file, mark.output if open_output else None)


def own_mark(file: ModelFile) -> Mark | None:
  """The mark of a file that shall train as it is marked; None without one.

  Raises:
    TflmFgError: if the mark is not sound, or made for another output than the
      one that is chosen.
  """
  mark, chosen = read_mark(file), file.subgraph.chosen_output
  if mark is not None and chosen is not None and mark.output != chosen:
    raise TflmFgError(
      f"{file.name}: its mark is for output {mark.output}, not for output "
      f"{chosen}; leave --output out, or say with --trainable what shall train"
    )
  return mark


def unmarked(source: Source, name: str = "model") -> Mark:
  """What evaluating must know of a file in which nothing shall train."""
  file = as_marked(source, name)
  graph = file.subgraph
  logits = served_logits(graph, file.name)
  output = meant_output(graph).position if len(graph.outputs) > 1 else None
  return Mark(
    trainable=(),
    logits=logits,
    head_input=logits,
    output=output,
    input=graph.chosen_input,
  )
