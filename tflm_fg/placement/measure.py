"""Measure pooled activations on some samples, to widen a head with them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tflm_fg.checkpoint.memo import NOTHING_KEPT, Memo
from tflm_fg.fixed_point.arithmetic import channel_means
from tflm_fg.losses.base import Loss
from tflm_fg.placement.split_model import SplitModel
from tflm_fg.runtimes.registry import RuntimeOptions, open_session
from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.graph_options import GraphOptions, Pooled
from tflm_fg.tflite.layers import outputs_of
from tflm_fg.tflite.model_file import ModelFile, Source
from tflm_fg.tflite.select_trainable import MarkedModel, mark_file
from tflm_fg.tflite.split_graph import up_to
from tflm_fg.tflite.surgery.wide_head import widths_of
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.metrics import BATCH, batch_of, logits_of
from tflm_fg.training.objective import Task
from tflm_fg.types import Array

MARGIN = 1.1
"""How far above the largest pooled value of some samples others may lie."""


def measured(
  model: Source,
  x: Array,
  graph_options: GraphOptions,
  runtime_options: RuntimeOptions,
  memo: Memo = NOTHING_KEPT,
) -> tuple[GraphOptions, int]:
  """The graph options with what the layers' pooled activations are like.

  Args:
    model: a .tflite whose head has not been widened.
    x: samples [N, ...] on its input grid; labels are not needed.
    graph_options: which layers.
    runtime_options: what runs the samples, twice.
    memo: where finished work is kept.

  Returns:
    The graph options, and the passes that it took.
  """
  model = ModelFile.of(model)
  runtime_options = dataclasses.replace(runtime_options, workers=1)
  # Measured in the steps of int8, whatever weights will read them.
  bare = dataclasses.replace(graph_options, pooled=(), weights="int8")
  count = len(widths_of(mark_file(model, "wide-head", graph_options=bare).file))
  whole = _pooled(model, x, bare, [1.0] * count, runtime_options, memo)
  reaches = [min(1.0, MARGIN * max(v.max(), 1) / 255) for v in whole]
  fine = _pooled(model, x, bare, reaches, runtime_options, memo)
  pooled = tuple(
    Pooled(reach, np.rint(v.mean(axis=0)).astype(np.int64), v.std(axis=0))
    for reach, v in zip(reaches, fine)
  )
  passes = 2 * math.ceil(len(x) / batch_of((x,)))
  return dataclasses.replace(graph_options, pooled=pooled), passes


def _pooled(
  model: Source,
  x: Array,
  bare: GraphOptions,
  reaches: Sequence[float],
  runtime_options: RuntimeOptions,
  memo: Memo,
) -> list[NDArray[np.int64]]:
  """Each layer's pooled values [N, C], in steps from zero at its reach."""
  pooled = tuple(Pooled(reach=reach) for reach in reaches)
  marked = mark_file(
    model, "wide-head", graph_options=dataclasses.replace(bare, pooled=pooled)
  )
  spec = tensor_spec(marked.file, marked.mark.head_input)
  graph = SplitModel(marked.file, marked.mark, runtime_options)
  (inputs,) = graph.features(x, memo)
  flat = inputs.reshape(len(inputs), -1).astype(np.int64) - spec.zero_point
  widths = widths_of(marked.file)
  ends = np.cumsum([flat.shape[1] - sum(widths), *widths])
  return [flat[:, a:b] for a, b in itertools.pairwise(ends)]


def with_source_means(
  marked: MarkedModel, x: Array, runtime_options: RuntimeOptions
) -> MarkedModel:
  """Writes each inner layer's channel means into the mark.

  Args:
    marked: a marked file.
    x: source samples [N, ...] on its input grid; a few hundred are enough.
    runtime_options: what runs them.
  """
  plain = training_metadata.stripped(marked.file)
  layers = mark_file(plain, "inner-bias").mark.trainable
  operators = [t.operator for t in layers]
  indices = list(outputs_of(marked.file.subgraph, operators).values())
  session = open_session(runtime_options.runtime, up_to(marked.file, indices))
  # Sums of a few hundred samples: the rest is noise under 1/16 of a step.
  outputs = session.run((x[:BATCH],))
  means = {
    index: tuple(int(mean) for mean in channel_means(output))
    for index, output in zip(indices, outputs)
  }
  known = dataclasses.replace(marked.mark, statistics=means)
  file = training_metadata.write_mark(plain, known)
  return MarkedModel(file, known, marked.notes)


def answers_of(
  file: ModelFile, x: Array, task: Task, runtime_options: RuntimeOptions
) -> tuple[Array, Loss]:
  """What a file answers, and the loss on it.

  Args:
    file: a plain file.
    x: samples [N, ...] on its input's grid.
    task: what is learned.
    runtime_options: the engine.

  Returns:
    Logits, integers [N, C], and their loss.
  """
  marked = mark_file(file, "head")
  graph = SplitModel(marked.file, marked.mark, runtime_options)
  return logits_of(graph.suffix, graph.features(x)), graph.loss(task)
