"""Measure a model's mean activations on source clips, for its mark."""

from __future__ import annotations

import dataclasses

from tflm_fg import flatbuffer, runtimes
from tflm_fg.base import Array
from tflm_fg.flatbuffer_cut import up_to
from tflm_fg.flatbuffer_mark import Marked, mark
from tflm_fg.flatbuffer_sites import outputs_of
from tflm_fg.graph import Host
from tflm_fg.metrics import BATCH
from tflm_fg.statistics import channel_means


def with_home_means(marked: Marked, x: Array, host: Host) -> Marked:
  """Writes each inner layer's channel means into the mark.

  Args:
    marked: a marked file.
    x: source clips [N, ...] on its input grid; a few hundred are enough.
    host: what runs them.
  """
  layers = mark(flatbuffer.strip(marked.data), "inner-bias").mark.trainable
  operators = [t.operator for t in layers]
  indices = list(outputs_of(marked.data, operators).values())
  session = runtimes.open_session(host.runtime, up_to(marked.data, indices))
  # Sums of a few hundred clips: the rest is noise under 1/16 of a step.
  outputs = session.run((x[:BATCH],))
  means = {
    index: tuple(int(mean) for mean in channel_means(output))
    for index, output in zip(indices, outputs)
  }
  told = dataclasses.replace(marked.mark, statistics=means)
  data = flatbuffer.write_mark(flatbuffer.strip(marked.data), told)
  return Marked(data, told, marked.notes)
