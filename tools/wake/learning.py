"""What a run of the bench does to a model: the same as the program."""

from __future__ import annotations

import dataclasses
import functools

from apps.wake.data import stock
from tflm_fg.detection import Outcome, Settings, adapt
from tools.wake.runs import Bench, HeadInputs

SETTINGS = Settings()
"""The defaults of the program."""


def learn(bench: Bench, positives: HeadInputs) -> Outcome:
  """Adapts to a voice with the stock, and nothing else of the user's."""
  known = _stock(bench)
  return adapt(
    bench.model,
    positives,
    known.negatives,
    known.keepers,
    bench.rule,
    SETTINGS,
    alike=known.alike,
    negative_names=known.negative_names,
    alike_names=known.alike_names,
    keeper_names=known.keeper_names,
  )


@functools.lru_cache(maxsize=1)
def _stock(bench: Bench) -> stock.Steps:
  """Head inputs of the stock: the same for all voices of a model."""
  steps = stock.steps(bench.manifest, bench.frontend)
  return dataclasses.replace(
    steps,
    negatives=[bench.model.head_inputs(x) for x in steps.negatives],
    alike=[bench.model.head_inputs(x) for x in steps.alike],
    keepers=[bench.model.head_inputs(x) for x in steps.keepers],
  )
