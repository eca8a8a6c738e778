"""Write down what a fleet did as the journal that every adaptation has."""

from __future__ import annotations

from tflm_fg.federated import wire
from tflm_fg.federated.replica import Replica
from tflm_fg.federated.schemes.scheme import SLOPES
from tflm_fg.journal import Journal, sha256
from tflm_fg.placement.phase_record import Phase, Record, to_bytes
from tflm_fg.placement.run_plan import RunPlan
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.training.objective import Objective


def journal_of(replica: Replica) -> Journal:
  """The journal of a fleet's steps; `replay` makes the file again from it.

  Args:
    replica: the server, or any client without a prompt of its own.
  """
  plan, layout = replica.plan, replica.layout
  slopes = []
  for step in replica.steps:
    what, *numbers = wire.read(step, "step", [wire.STEP]).fields
    if int(what[0]) == SLOPES:
      slopes.append(numbers[0].tolist())
  indices = tuple(t.index for t in layout.tensors)
  phase = Phase(indices, plan.method, Objective())
  taken = replica.state.step
  record = Record(
    phase,
    replica.batch_size,
    replica.rule.centre,
    slopes,
    taken,
    masters=to_bytes(layout.scatter(replica.state.params), phase),
    ran=0 if slopes else taken,
  )
  adapted = replica.file()
  return Journal(
    plan.model_sha256,
    RunPlan(plan.trainable, GraphOptions(gain=plan.gain)),
    (record,),
    sha256(adapted.data),
  )
