"""Clips of the classes that a head knows, without any recording."""

from __future__ import annotations

import numpy as np

from apps.kws.model.head_model import Head
from apps.kws.model.saved_clips import Kept
from tflm_fg.fixed_point import dequantize, quantize
from tflm_fg.forgetting import LinearHead, imagine
from tflm_fg.tflite import tensor_spec, weights_of

CLIPS_A_CLASS = 100


def clips(head: Head, new: Kept, old: list[int], seed: int) -> Kept:
  """Imagines clips of the old classes, see `tflm_fg.forgetting.imagine`.

  Args:
    head: the model, cut in front of its last layer, before it learns.
    new: clips of new words, at the head's input.
    old: the outputs to imagine clips of.
    seed: of what is drawn.

  Returns:
    Up to CLIPS_A_CLASS clips a class: those that the head takes for it.
  """
  tensors = head.marked.mark.trainable
  kernel, bias = (
    array * np.reshape(t.scales, [-1] + [1] * (array.ndim - 1))
    for array, t in zip(weights_of(head.marked.data, tensors), tensors)
  )
  spec = tensor_spec(head.marked.data, head.marked.mark.head_input)
  x = dequantize(new.x.reshape(len(new.x), -1), spec.scale, spec.zero_point)
  made, labels = imagine(
    LinearHead(kernel.reshape(len(kernel), -1), bias.reshape(-1)),
    x,
    new.y,
    old,
    CLIPS_A_CLASS,
    seed,
  )
  grid = quantize(made, spec.scale, spec.zero_point, spec.dtype)
  return Kept(
    x=grid.reshape(-1, *new.x.shape[1:]),
    y=labels,
    classes=new.classes,
    frontend=new.frontend,
    layer="head",
    digest=new.digest,
  )
