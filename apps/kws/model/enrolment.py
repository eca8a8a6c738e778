"""Give a spotter an output for each new word."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from apps.kws.audio import folders
from apps.kws.model import head_model, imagined_clips
from apps.kws.model.adaptation import HEAD, Job
from apps.kws.model.spotter import Spotter, is_free
from tflm_fg import methods
from tflm_fg.tflite import add_rows
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True)
class Enrolled:
  """A spotter with outputs for new words, which it has yet to learn.

  Attributes:
    spotter: the model; what it said of the old classes it says still.
    taken: new words that took a free output.
    added: new words that got an output of their own.
  """

  spotter: Spotter
  taken: tuple[str, ...]
  added: tuple[str, ...]


def make_room(spotter: Spotter, words: Sequence[str]) -> Enrolled:
  """Gives each new word a free output, or adds one to the head.

  Args:
    spotter: the model.
    words: new words.

  Raises:
    TflmFgError: if a word is known already, or the head cannot grow.
  """
  if not words or len(set(words)) < len(words) or not all(words):
    raise TflmFgError("--words: need one or more new words, each once")
  for word in words:
    if word in spotter.classes or word in (folders.SILENCE, folders.FREE):
      raise TflmFgError(
        f"--words: {spotter.name} knows {word!r} already; use tflm-fg-kws adapt"
      )
  classes = list(spotter.classes)
  free = [i for i, name in enumerate(classes) if is_free(name)]
  taken, added = words[: len(free)], words[len(free) :]
  for place, word in zip(free, taken):
    classes[place] = word
  model = spotter.model
  if added:
    model = add_rows(model, len(added), spotter.name)
  plan = dataclasses.replace(spotter, model=model, classes=(*classes, *added))
  # Marked again from scratch: an old mark may name other tensors.
  plan = dataclasses.replace(plan, model=plan.to_bytes())
  return Enrolled(plan, tuple(taken), tuple(added))


def method(steps: int, anchor: float, seed: int) -> methods.Method:
  """How new rows are learnt."""
  given = {**HEAD, "steps": steps, "anchor": anchor, "seed": seed}
  return methods.named(given.pop("method"), **given)


def describe(room: Enrolled) -> str:
  """What was done to make room, for people."""
  done = []
  if room.taken:
    done.append(f"{', '.join(room.taken)}: free outputs taken")
  if room.added:
    done.append(f"{', '.join(room.added)}: outputs added")
  return "; ".join(done)


def anchored(job: Job, words: Sequence[str]) -> Job:
  """Imagines clips of old classes that the replay set has none of."""
  kept = set() if job.replay is None else set(job.replay.y.tolist())
  missing = [
    label
    for label, name in enumerate(job.spotter.classes)
    if name not in words and not is_free(name) and label not in kept
  ]
  # What has no clip is imagined here, as much of it as suits new words.
  job = dataclasses.replace(job, absent_classes="ignore")
  if not missing:
    return job
  head = head_model.cut_off(job.spotter)
  made = imagined_clips.clips(head, job.fresh(), missing, job.method.seed)
  return dataclasses.replace(job, imagined=made)
