"""Make an adapted file again from its journal, without any engine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from tflm_fg import files
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.journal import Journal, parse, sha256
from tflm_fg.marking import Model, opened
from tflm_fg.placement.phase_record import (
  Masters,
  Record,
  from_bytes,
  masters_of,
  write_masters,
)
from tflm_fg.placement.run_plan import RunPlan
from tflm_fg.tflite import select_trainable
from tflm_fg.tflite.choice.outputs import with_output
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.training_metadata import read_mark
from tflm_fg.training.build import step_rule
from tflm_fg.types import Mark, Params, TflmFgError


def replay(
  journal: Journal | bytes | str | os.PathLike[str],
  model: Model,
  name: str | None = None,
  steps: int | None = None,
) -> bytes:
  """Applies the recorded steps to a file, without any engine.

  With `steps` it goes back: the file is as it was after so many of the steps
  that were kept. That all of them give the adapted file is made sure first.

  Args:
    journal: as recorded; or its file, as a path or bytes.
    model: the path or the bytes of the file that was adapted, marked or plain,
      before training.
    name: what to call the file in errors; by default its path.
    steps: how many of the kept steps to take, over all phases; 0 for none, None
      for all.

  Returns:
    The adapted file, byte for byte, marked; or as it was after those steps.

  Raises:
    TflmFgError: if the file is not the one that was trained, or the journal
      does not hold what a phase was after such a step.
  """
  if not isinstance(journal, Journal):
    journal = parse(*files.read_model(journal, None))
  marked = opened(model, name)
  name = marked.name
  if sha256(marked.data) != journal.model_sha256 and journal.plan is not None:
    marked = _marked_again(journal.plan, marked, name)
  mark = read_mark(marked)
  if mark is None or sha256(marked.data) != journal.model_sha256:
    raise TflmFgError(
      f"{name}: not the file this journal was recorded on; give the --model "
      "that was adapted"
    )
  for record in journal.records:
    _require_slopes(record, mark, name)
  masters = _replay_phases(journal.records, marked, mark)
  adapted = write_masters(marked, mark, masters).data
  if sha256(adapted) != journal.adapted_sha256:
    raise TflmFgError(
      f"{name}: the journal makes another file of it than it made then; it was "
      "changed, or another release wrote it"
    )
  if steps is None:
    return adapted
  masters = _replay_phases(_first(journal.records, steps), marked, mark)
  return write_masters(marked, mark, masters).data


def _first(records: Sequence[Record], steps: int) -> list[Record]:
  """The records with the first of their kept steps alone.

  Raises:
    TflmFgError: if there are fewer, or the last of them ends within a phase
      of which the end alone is known.
  """
  kept = sum(record.kept_step for record in records)
  if not 0 <= steps <= kept:
    raise TflmFgError(
      f"steps={steps}: the journal has {kept} steps that were kept; give 0, "
      f"for the start, to {kept}"
    )
  found, left = list[Record](), steps
  for record in records:
    own = min(left, record.kept_step)
    if 0 < own < record.kept_step and not record.slopes:
      begin = steps - own
      raise TflmFgError(
        f"steps={steps}: lies within the fit of an exact head, of which the "
        f"journal holds the end alone; give {begin} or "
        f"{begin + record.kept_step}, or have such a journal written with "
        "every step: --every_step"
      )
    if own:
      found.append(dataclasses.replace(record, kept_step=own))
    left -= own
  return found


def _replay_phases(
  records: Sequence[Record], marked: ModelFile, mark: Mark
) -> Masters:
  """Takes the recorded steps again, without an engine."""
  masters = masters_of(marked, mark)
  for record in records:
    if record.masters and not record.slopes:
      masters |= from_bytes(record, masters)
      continue
    addresses = record.addresses
    layout = Layout(
      tuple(
        dataclasses.replace(t, index=addresses[t.index])
        for t in mark.trainable
        if t.index in addresses
      )
    )
    rule = step_rule(
      record.phase.method, layout, record.batch_size, centre=record.centre
    )
    # A low byte has no master of its own.
    own = {i: there for i, there in addresses.items() if i in masters}
    held = {there: masters[i] for i, there in own.items()}
    state = rule.start(layout.gather(held))
    for slopes in record.slopes[: record.kept_step]:
      state = rule.replayed(state, slopes)
    trained = layout.scatter(state.params)
    masters |= {i: trained[there] for i, there in own.items()}
  return masters


def _marked_again(plan: RunPlan, model: ModelFile, name: str) -> ModelFile:
  try:
    return select_trainable.mark_file(
      with_output(model, plan.output),
      plan.trainable,
      name,
      plan.graph_options,
    ).file
  except ValueError as fault:
    raise TflmFgError(
      f"{name}: does not take what the journal says of its layers ({fault})"
    ) from None


def _require_slopes(record: Record, mark: Mark, name: str) -> None:
  known = {t.index: t for t in mark.trainable}
  if not record.phase.tensors or not set(record.phase.tensors) <= set(known):
    raise TflmFgError(f"{name}: the journal trains a tensor that is not marked")
  layout = Layout(tuple(known[i] for i in known if i in record.phase.tensors))
  if record.masters and not record.slopes:
    _require_masters(record, layout, name)
  slopes_a_step = record.phase.method.slopes_a_step
  if any(
    len(row) not in slopes_a_step(layout, step)
    for step, row in enumerate(record.slopes)
  ):
    raise TflmFgError(f"{name}: a step of the journal without its slopes")
  wide = len(record.centre) * layout.num_biases
  if record.centre and not (
    record.phase.method.is_exact and wide == layout.num_kernels
  ):
    raise TflmFgError(f"{name}: a centre in the journal that is not the head's")


def _require_masters(record: Record, layout: Layout, name: str) -> None:
  """Refuses masters of other tensors, or of more or fewer numbers."""
  empty = Params(
    np.zeros(layout.num_kernels, np.int16),
    np.zeros(layout.num_biases, layout.bias_dtype),
  )
  try:
    from_bytes(record, layout.scatter(empty))
  except ValueError as fault:
    raise TflmFgError(
      f"{name}: the journal's masters are of another file ({fault})"
    ) from None
