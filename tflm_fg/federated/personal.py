"""Let a device keep an input prompt of its own, found without labels.

What a microphone or a voice does to the inputs is undone by a few numbers in
front of the model. They are the device's own affair: they are never sent, and
the head that the fleet shares reads inputs that are alike on all devices.
"""

from __future__ import annotations

import numpy as np

from tflm_fg.federated.plan import Plan
from tflm_fg.federated.replica import PERSONAL_ROLES, marked_for
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.gradients.per_sample import PerSample
from tflm_fg.marking import Model
from tflm_fg.placement.label_free import no_gain, spreads
from tflm_fg.placement.phase import open_for, run_phase
from tflm_fg.placement.phase_record import Masters, Phase, masters_of
from tflm_fg.placement.request import TrainingData
from tflm_fg.runtimes.registry import RuntimeOptions
from tflm_fg.samples.arrays import array_of
from tflm_fg.samples.inputs import model_input
from tflm_fg.tflite.select_trainable import input_spec
from tflm_fg.training.objective import Objective, Task, logits_spec, task_of
from tflm_fg.types import Array, TflmFgError


def personal_prompt(
  model: Model,
  plan: Plan,
  x: Array,
  *,
  seed: int = 0,
  runtime_options: RuntimeOptions | None = None,
  name: str | None = None,
) -> Masters:
  """Finds a device's own prompt from samples without labels.

  It is kept where the model gets surer of single samples and its answers more
  varied, as everywhere without labels (docs/choose.md).

  Args:
    model: the plan's file, marked or plain.
    plan: of a fleet whose devices keep prompts of their own.
    x: samples [N, ...], as `adapt` takes them.
    seed: of the directions.
    runtime_options: the engine; None for LiteRT.
    name: what to call the model in errors; by default its path.

  Returns:
    The prompt's masters by tensor index, for `Client(personal=)`; empty where
    it did not help.

  Raises:
    TflmFgError: if the plan knows no such prompt, or the samples do not fit.
  """
  if plan.personal != "prompt":
    raise TflmFgError(
      "the plan has no prompts of single devices; make it with "
      "personal='prompt'"
    )
  marked = marked_for(model, plan, name)
  file, mark = marked.file, marked.mark
  own = tuple(t for t in mark.trainable if t.role in PERSONAL_ROLES)
  objective = Objective(labels="none")
  method = PerSample(seed=seed, validation_fraction=0.0).filled()
  phase = Phase(
    tuple(t.index for t in own), method.for_layout(Layout(own)), objective
  )
  on_grid = model_input(array_of(x, "x"), input_spec(file), "x")
  task: Task = task_of(objective, None, logits_spec(file, mark))
  everything = np.arange(len(on_grid))
  unknown = np.full(len(on_grid), -1, np.int64)
  data = TrainingData(on_grid, unknown, everything, everything[:0], task)
  options = runtime_options or RuntimeOptions()
  opened = open_for(phase, file, mark, masters_of(file, mark), on_grid, options)
  result = run_phase(opened, data)
  loss = opened.graph.loss(task)
  start = loss.entropies(result.start_logits)
  end = loss.entropies(result.logits)
  by_chance = sum(t.numbers for t in own) / len(on_grid)
  if no_gain(start, end, by_chance) or spreads(start, end):
    return {}
  return {t.index: result.masters[t.index] for t in own}
