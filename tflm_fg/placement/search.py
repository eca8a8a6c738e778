"""Choose where to put the trainable numbers, by trying and measuring.

A way of adapting is a front (nothing, an input prompt, a prompt with a gain,
the first layer's biases), found by forward gradients, and then a back (nothing,
the head, a wide head), found exactly. Each is tried on a part of the clips and
scored on the others, which are kept aside.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Sequence

from tflm_fg.placement.candidates import Front, Way, parts_of, way_of
from tflm_fg.placement.measure import measured
from tflm_fg.placement.phase import Material, Outcome, Stage, perform, set_stage
from tflm_fg.placement.phase_record import Phase, masters_of, write_masters
from tflm_fg.placement.split_model import Host
from tflm_fg.tflite import training_metadata
from tflm_fg.tflite.select_trainable import Marked, Surgery, mark
from tflm_fg.tflite.split_graph import exact_tensors
from tflm_fg.training.callbacks import Callback
from tflm_fg.training.defaults import AUTO_FORWARD
from tflm_fg.training.settings import Settings
from tflm_fg.types import TflmFgError

FEW_NUMBERS = 256
"""Up to so many numbers a few hundred steps of forward gradients do."""

MOST_WEIGHTS = 1 << 18
"""A wide head of more weights is tried only where a user asks for it."""

QUICK = {"steps": 200, "validate_every": 200}
"""A phase of forward gradients on few numbers."""

LONG = {"steps": 2000, "validate_every": 50, "patience": 10}
"""The same on many."""


def phases_of(
  marked: Marked, settings: Settings, exact: bool = True
) -> list[Phase]:
  """The phases for a choice that the user made.

  Under "auto" whatever is not the head comes first, by forward gradients, and
  then the head, exactly where it can be.

  Args:
    marked: the marked file.
    settings: as the user gave them.
    exact: whether the loss has a gradient.
  """
  tensors = marked.mark.trainable
  everything = tuple(t.index for t in tensors)
  if settings.method != "auto":
    return [Phase(everything, settings.under(settings.method))]
  last = exact_tensors(marked.data, marked.mark)
  head = last if exact else ()
  rest = [t for t in tensors if t.index not in head]
  phases = []
  if rest:
    few = sum(t.numbers for t in rest) <= FEW_NUMBERS
    few &= all(t.index not in last for t in rest)  # a head has far to go
    own = settings.under(AUTO_FORWARD, **(QUICK if few else LONG))
    phases.append(Phase(tuple(t.index for t in rest), own))
  if head:
    phases.append(Phase(head, settings.under("closed-form")))
  return phases


def fronts_of(model: bytes, labelled: bool, method: str) -> list[Front]:
  """The fronts that a file and a method allow, the cheapest first."""
  if method != "auto":  # one method for all: what it trains is the back
    return [Front("")]
  wanted = [Front("prompt"), Front("prompt", gain=True), Front("first-bias")]
  fronts = [Front("")]
  if not labelled:
    wanted = [Front("prompt")]
    own = training_metadata.read_mark(model)
    if own is not None and own.statistics:
      wanted.append(Front("inner-bias", method="statistics"))
  for front in wanted:
    # An input that is not int8 takes no prompt, an odd layer trains nothing.
    with contextlib.suppress(TflmFgError):
      mark(model, front.trainable)
      fronts.append(front)
  return fronts


def try_ways(
  model: bytes,
  material: Material,
  settings: Settings,
  host: Host,
  surgery: Surgery,
  callbacks: Sequence[Callback] = (),
) -> list[Way]:
  """Tries every way that the file allows.

  A front never sees the kept part. A back is cheap and exact, so with labels
  it is tried once for every fold of the clips; the kept part is one of them.

  Args:
    model: the plain file.
    material: the clips.
    settings: as the user gave them.
    host: the engine.
    surgery: what a wide head joins, as the user gave it.
    callbacks: told of every step.

  Returns:
    The ways, the simpler first; without those whose front did harm.
  """
  ways = []
  fronts = fronts_of(model, material.labelled, settings.method)
  last = phases_of(mark(model, "head"), settings, material.task.is_exact)
  settings.require_use(
    [front.runs for front in fronts if front.trainable]
    + [phase.settings.method for phase in last]
  )
  for front in fronts:
    own = dataclasses.replace(surgery, gain=front.gain)
    found, first = model, tuple[Outcome, ...]()
    if front.trainable:
      trial = Trial(
        model, front.trainable, own, front.settings(settings), host, material
      )
      try:
        first = (trial.run(material, callbacks),)
      except TflmFgError:
        continue  # its numbers move no output of these clips
      if not first[0].record.kept_step:
        continue  # worse than nothing, which has been tried
      found = trial.file(first[0])
    # Without an exact gradient thousands of weights are too many to try.
    may_widen = material.labelled and material.task.is_exact
    for back in _backs_of(found, may_widen, own):
      grown, surveyed = own, 0
      if back == "wide-head":
        grown, surveyed = measured(found, material.x, own, host)
      trial = Trial(found, back, grown, settings, host, material)
      parts = parts_of(material) if trial.is_exact else [material]
      tries = tuple(trial.run(part) for part in parts)
      ways.append(way_of(front, back, grown, first, tries, material, surveyed))
  return ways


def _backs_of(model: bytes, may_widen: bool, surgery: Surgery) -> list[str]:
  """The backs that a file allows, the simpler first."""
  backs = ["head"]
  if may_widen:
    # There may be no layer to join, or none of int8.
    with contextlib.suppress(TflmFgError):
      wide = mark(model, "wide-head", surgery=surgery).mark
      if wide.numbers <= MOST_WEIGHTS:
        backs.append("wide-head")
  return backs


@dataclasses.dataclass(frozen=True)
class Trial:
  """One phase on a file that is marked for it alone."""

  model: bytes
  trainable: str
  surgery: Surgery
  settings: Settings
  host: Host
  material: Material

  @functools.cached_property
  def _marked(self) -> Marked:
    return mark(self.model, self.trainable, surgery=self.surgery)

  @functools.cached_property
  def _stage(self) -> Stage:
    marked = self._marked
    (phase,) = phases_of(marked, self.settings, self.material.task.is_exact)
    start = masters_of(marked.data, marked.mark)
    return set_stage(
      phase, marked.data, marked.mark, start, self.material.x, self.host
    )

  @property
  def is_exact(self) -> bool:
    """Whether its gradient has a closed form, so that a run costs little."""
    return self._stage.phase.settings.is_exact

  def run(
    self, material: Material, callbacks: Sequence[Callback] = ()
  ) -> Outcome:
    """Runs it on some clips, each time from the start."""
    return perform(self._stage, material, callbacks)

  def file(self, outcome: Outcome) -> bytes:
    """The plain file with what the phase found."""
    marked = self._marked
    written = write_masters(marked.data, marked.mark, outcome.masters)
    return training_metadata.strip(written)
