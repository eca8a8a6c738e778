"""Mark what a file that trains itself shall train."""

from __future__ import annotations

import dataclasses

from tflm_fg.marking import Model, mark_trainable
from tflm_fg.signatures import prompt_spec
from tflm_fg.tflite import GraphOptions, MarkedModel
from tflm_fg.types import NotApplicable, TflmFgError

CHOICES = ("auto", "head", "wide-head", "prompt")
"""What can train, beside "prompt,wide-head"; see `chosen`."""


def chosen(
  model: Model,
  trainable: str = "auto",
  graph_options: GraphOptions | None = None,
  batch_size: int = 8,
) -> MarkedModel:
  """Marks a model for `to_signatures`.

  Args:
    model: as for `mark_trainable`.
    trainable: "head", the last layer; "wide-head", the same, reading earlier
      layers too; "prompt", an offset for each channel of the input and one gain
      beside the head's weights, as they are; "prompt,wide-head"; or "auto", a
      head and, where the input takes one, a prompt.
    graph_options: how the graph may grow; a prompt has one gain in any case.
    batch_size: samples of a call of `adapt_input`.

  Returns:
    The marked file. If "auto" leaves the prompt out, a note says why.

  Raises:
    TflmFgError: if the model cannot train this.
  """
  options = graph_options or GraphOptions()
  parts = trainable.split(",")
  if trainable == "auto" or "prompt" in parts:
    head = "wide-head" if "wide-head" in parts else "head"
    with_gain = dataclasses.replace(options, gain=True, common_gain=True)
    try:
      marked = mark_trainable(model, f"prompt,{head}", graph_options=with_gain)
      prompt_spec(marked, batch_size)
    except NotApplicable as fault:
      if trainable != "auto":
        raise
      bare = mark_trainable(model, "head", graph_options=options)
      note = f"no prompt: {fault}"
      return bare._replace(notes=(*bare.notes, note))
    return marked
  if set(parts) - {*CHOICES}:
    raise TflmFgError(
      f"--trainable={trainable}: a file that trains itself trains one of "
      f"{', '.join(CHOICES)}, or prompt,wide-head"
    )
  return mark_trainable(model, trainable, graph_options=options)
