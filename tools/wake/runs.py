"""One run: a model learns a voice, and is measured on what it never heard."""

from __future__ import annotations

import dataclasses
import pathlib
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.wake.data.features import Frontend, of_model
from apps.wake.data.manifest import Manifest
from tflm_fg.detection import Outcome, Point, Rule, point
from tflm_fg.streaming import StreamModel, changed_bytes
from tools.wake import groups
from tools.wake.corpus import Recording, Store, made
from tools.wake.settings import Setting

HeadInputs = list[NDArray[np.int8]]
"""int8 [T, features] of each recording."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """What one run is.

  Attributes:
    setting: whose voice.
    count: recordings to learn from.
    draw: which ones.
  """

  setting: Setting
  count: int = 10
  draw: int = 0

  @property
  def name(self) -> str:
    """Unlike all others."""
    return f"{self.setting.name}/{self.count}/{self.draw}"

  def chosen(self) -> list[int]:
    """Which of the voice's first recordings it learns from."""
    order = np.random.default_rng([15, self.draw]).permutation(groups.TRAIN)
    return order[: self.count].tolist()


class Bench:
  """A model, and head inputs of all recordings, made once and kept on disk."""

  def __init__(
    self, stem: str, models: pathlib.Path, cache: pathlib.Path
  ) -> None:
    self.stem = stem
    path = models / f"{stem}.tflite"
    self.model = StreamModel.open(str(path))
    self.manifest = Manifest.read(str(path.with_suffix(".json")))
    self.frontend: Frontend = of_model(self.model, self.manifest)
    self.rule = Rule.of_manifest(
      self.manifest.cutoff, self.manifest.window, self.frontend.step_seconds
    )
    self.before: dict[str, Any] = {}
    self._store = Store(cache)

  def inputs(
    self, group: str, recordings: Callable[[], Sequence[Recording]]
  ) -> HeadInputs:
    """What the last layer reads of a group of recordings."""

    def steps() -> list[NDArray[np.int8]]:
      return [self.frontend.steps(sound) for sound in made(recordings())]

    def run() -> list[NDArray[np.int8]]:
      streams = self._store.get(f"steps/{group}", steps)
      return [self.model.head_inputs(stream) for stream in streams]

    return self._store.get(f"heads/{self.stem}/{group}", run)

  def steps(self, group: str) -> list[NDArray[np.int8]]:
    """The steps of a group that `inputs` was asked for before."""
    return self._store.get(f"steps/{group}", lambda: [])

  def parts(self, setting: Setting) -> dict[str, HeadInputs]:
    """Head inputs of all that a run is measured on, and of "train"."""
    own = self.inputs(f"own/{setting.name}", lambda: groups.positives(setting))
    return {
      "train": own[: groups.TRAIN],
      "own": own[groups.TRAIN :],
      "siblings": self.inputs(
        f"siblings/{setting.name}", lambda: groups.siblings(setting)
      ),
      "originals": self.inputs(
        f"originals/{self.stem}", lambda: groups.originals(self.stem)
      ),
      "own_negatives": self.inputs(
        f"own_negatives/{setting.voice}/{setting.room}",
        lambda: groups.own_negatives(setting),
      ),
      **{
        name: self.inputs(name, lambda name=name: groups.negatives(name))  # type: ignore[misc]
        for name in groups.NEGATIVES
      },
    }

  def outputs(
    self, inputs: HeadInputs, weights: Any = None, bias: Any = None
  ) -> list[NDArray[Any]]:
    """The model's outputs for head inputs, [T, outputs] each."""
    joined = self.model.head_outputs(np.concatenate(inputs), weights, bias)
    return np.split(joined, np.cumsum([len(x) for x in inputs])[:-1])


Learn = Callable[[Bench, HeadInputs], Outcome]
"""How a head is adapted to the recordings of a voice."""


def measured(bench: Bench, job: Job, learn: Learn) -> dict[str, Any]:
  """Adapts once and measures before and after.

  Returns:
    What `results.table` reads, ready for JSON.
  """
  parts = bench.parts(job.setting)
  train = [parts["train"][i] for i in job.chosen()]
  started = time.process_time()
  outcome = learn(bench, train)
  seconds = time.process_time() - started
  after = dataclasses.replace(bench.rule, cutoff=outcome.cutoff)
  file = bench.model.with_head(outcome.weights, outcome.bias)
  return {
    "job": job.name,
    "model": job.setting.model,
    "kind": job.setting.kind,
    "count": job.count,
    "draw": job.draw,
    "refused": "" if outcome.accepted else outcome.reason,
    "reason": outcome.reason,
    "cutoff": [bench.rule.cutoff, outcome.cutoff],
    "bytes": int(changed_bytes(bench.model.file.data, file).size),
    "seconds": seconds,
    "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "before": _unchanged(bench, parts),
    "after": scores(bench, parts, after, outcome.weights, outcome.bias),
  }


def _unchanged(bench: Bench, parts: dict[str, HeadInputs]) -> dict[str, Any]:
  """Scores of the file as it is; those of all voices are computed once."""
  common = {n: p for n, p in parts.items() if n in COMMON}
  if not bench.before:
    bench.before.update(scores(bench, common, bench.rule))
  own = {n: p for n, p in parts.items() if n not in COMMON}
  return {**bench.before, **scores(bench, own, bench.rule)}


COMMON = ("originals", *groups.NEGATIVES)
"""Groups that all voices of a model share."""


def scores(
  bench: Bench,
  parts: dict[str, HeadInputs],
  rule: Rule,
  weights: Any = None,
  bias: Any = None,
) -> dict[str, Any]:
  """Recall of each group of positives; events and hours of all others."""
  found: dict[str, Any] = {}
  for name, inputs in parts.items():
    if name == "train":
      continue
    outputs = bench.outputs(inputs, weights, bias)
    if name in ("own", "siblings", "originals"):
      found[name] = point(outputs, [], rule).recall
    else:
      heard: Point = point([], outputs, rule)
      found[name] = [heard.events, heard.hours]
  return found
