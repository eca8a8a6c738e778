"""A journal gives the bytes of its run again, without an engine."""

from __future__ import annotations

import json

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
from tests.refusals import refused
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
  steps = sum(r.steps for r in recorded.records)
  assert recorded.steps == steps == result.report["steps"]


def as_version_2(result):
  """The journal as it was written before: a line of slopes for every step."""
  content = result.journal.to_bytes().splitlines()
  head, tail = json.loads(content[0]), content[-1].decode()
  lines = [json.dumps(head | {"tflm_fg_journal": 2})]
  for number, record in enumerate(result.journal.records):
    for step, slopes in enumerate(record.slopes):
      row = {"phase": number, "step": step, "slopes": slopes}
      lines.append(json.dumps(row))
  return "\n".join([*lines, tail]).encode()


def test_a_journal_of_the_version_before_is_read_and_replays():
  result = cured()
  old = as_version_2(result)
  assert tflm_fg.replay(old, result.start) == result.marked_model
  assert len(old) > 2 * len(result.journal.to_bytes())


def test_an_exact_head_is_known_by_its_masters_where_they_are_fewer():
  result = adapt(trainable="head", **options(method="closed-form"))
  content = result.journal.to_bytes()
  assert b'"masters":' in content
  assert b'"slopes":' not in content
  (record,) = journal.parse(content).records
  assert record.slopes == []
  assert record.steps == 42
  short = adapt(trainable="head", **options(method="closed-form", steps=1))
  assert tflm_fg.replay(short.journal.to_bytes(), short.start)


def test_masters_of_another_head_are_refused():
  result = adapt(trainable="head", **options(method="closed-form"))
  head, row, tail = result.journal.to_bytes().decode().splitlines()
  masters = json.loads(row)

  def changed(**changes):
    lines = [head, json.dumps(masters | changes), tail]
    return lambda: tflm_fg.replay("\n".join(lines).encode(), result.start)

  kernel, bias = masters["masters"]
  refused(changed(masters=[bias, kernel]), "of another file")
  refused(changed(masters=[kernel]), "known by its slopes")
  refused(changed(masters=[kernel, "?"]), "base64")
  refused(changed(masters=5), "is not a list")
  refused(changed(steps=41), "a step is missing")
  refused(changed(phase=1), "it kept step 42 of 0")
  other = "A" * (len(kernel) - 4) + kernel[-4:]
  refused(changed(masters=[other, bias]), "makes another file")
