"""A journal gives the bytes of its run again, without an engine."""

from __future__ import annotations

import pytest

import tflm_fg
from tests import models
from tests.options import options
from tests.placement.runs import (
  adapt,
  clustered,
  cured,
  source,
  unlabelled,
)
from tflm_fg import journal
from tflm_fg.tflite.graph_options import GraphOptions


def test_directions_grow_and_rows_of_different_length_replay():
  settings = options(
    method="sign-m-spsa",
    steps=60,
    validate_every=3,
    patience=6,
    learning_rate_lsb=8.0,
    epsilon_lsb=2.0,
    batch_size=8,
    seed=2,
  )
  result = adapt(trainable="head", **settings)
  (record,) = result.journal.records
  lengths = [len(row) for row in record.slopes]
  assert lengths == sorted(lengths)
  assert lengths[0] == 1
  assert lengths[-1] >= 2
  recorded = journal.parse(result.journal.to_bytes())
  assert recorded == result.journal
  assert tflm_fg.replay(recorded, result.start) == result.marked_model
  assert lengths[record.kept_step - 1] == 2
  assert record.kept_step < len(lengths)  # what came behind is not replayed


def grown_run():
  x, y = models.separable(96)
  return models.deep_model(), tflm_fg.adapt(
    models.deep_model(),
    x,
    y,
    trainable="prompt,wide-head",
    graph_options=GraphOptions(gain=True),
    **options(steps=25),
  )


RUNS = {
  "auto": lambda: (source(), cured()),
  "prompt and wide head": grown_run,
  "without labels": lambda: (clustered(), unlabelled()),
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_journal_round_trips_and_replays_to_the_same_bytes(kind):
  plain, result = RUNS[kind]()
  content = result.journal.to_bytes()
  recorded = journal.parse(content)
  assert recorded.to_bytes() == content
  assert len(recorded.records) == 2
  assert result.marked_model != result.start
  assert tflm_fg.replay(recorded, result.start) == result.marked_model
  # The file of the user's own grows again as the journal says.
  assert tflm_fg.replay(recorded, plain) == result.marked_model
  steps = sum(len(r.slopes) for r in recorded.records)
  assert recorded.steps == steps == result.report["steps"]
