"""Keep what is safe where a signal ended the work early.

What was finished is kept where it is no worse than the start on the samples
kept aside.
"""

from __future__ import annotations

from collections.abc import Sequence

from tflm_fg.placement.phase import OpenPhase, PhaseResult, run_phase
from tflm_fg.placement.request import Request, TrainingData


def is_worse(tried: Sequence[PhaseResult], training_data: TrainingData) -> bool:
  """Whether a result is worse than its start on the samples kept aside.

  As at the end of a phase, the count of right samples decides; without labels,
  or where the loss alone judges, the loss.

  Args:
    tried: the phases, in order, as they ran with samples kept aside.
    training_data: the samples.
  """
  if not len(training_data.kept):
    return False
  before, after = tried[0].before, tried[-1].after
  if training_data.labelled and not training_data.task.judged_by_loss:
    return after.correct < before.correct
  return after.total > before.total


def require_kept(
  ran: Sequence[PhaseResult],
  tried: Sequence[PhaseResult],
  training_data: TrainingData,
  request: Request,
) -> None:
  """Refuses what a signal has left no better than the start.

  Args:
    ran: the phases as they made the file.
    tried: the phases as they ran with samples kept aside.
    training_data: the samples.
    request: what the user asked for.

  Raises:
    Interrupted: if a signal came and nothing is worth keeping.
  """
  some = any(result.record.kept_step for result in ran)
  if not some or is_worse(tried, training_data):
    request.stop.check()


def on_all_samples(
  open_phase: OpenPhase,
  result: PhaseResult,
  training_data: TrainingData,
  request: Request,
) -> PhaseResult:
  """A phase that helped, run again on all samples, those kept aside too.

  Args:
    open_phase: the phase.
    result: what it gave with samples kept aside.
    training_data: the samples.
    request: what the user asked for.

  Returns:
    What it gives on all; the given result where a signal comes before its end,
    since no sample is kept aside then to judge a part of it by.
  """
  stop = request.stop
  with stop.keeping():
    stop.check()
    last = run_phase(open_phase, training_data.whole(), request.watchers)
    stop.check()
    return last
  return result
