"""Say what a checkpoint belongs to, and open it for one adaptation."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import marshal
import os
import platform
from collections.abc import Iterator, Mapping
from typing import Any

from tflm_fg.checkpoint.folder import Checkpoint, described, digest
from tflm_fg.losses.base import LossFunction
from tflm_fg.placement.request import Request
from tflm_fg.runtimes.registry import versions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.training.interruption import Interrupted
from tflm_fg.training.settings_record import to_record

_OTHERS = {"tf": "tensorflow", "tflm": "tflite-micro"}
"""Runtimes whose packages count only where they run."""


@contextlib.contextmanager
def kept_in(
  folder: str | os.PathLike[str] | None,
  model: ModelFile,
  trainable: str | None,
  given: Mapping[str, Any],
  request: Request,
) -> Iterator[Request]:
  """The request, with the finished work that a folder holds.

  Behind the work the folder is marked as done, unless a signal has ended the
  work early: then the same call goes on with it.

  Args:
    folder: of the checkpoint; None for none.
    model: the user's file.
    trainable: what the user trains.
    given: samples as the user gave them, by their names in `adapt`.
    request: what the user asked for.

  Raises:
    TflmFgError: if the folder belongs to other work, or cannot be used.
  """
  if folder is None:
    yield request
    return
  belongs_to = belonging(model, trainable, given, request)
  with Checkpoint(os.fspath(folder), belongs_to) as checkpoint:
    for callback in request.callbacks:
      callback.on_checkpoint(checkpoint.told())
    try:
      yield dataclasses.replace(request, memo=checkpoint)
    except Interrupted as stop:
      text = f"{stop}; the same call goes on from {checkpoint.folder}"
      raise Interrupted(stop.signal, text, stop.at_once) from None
    if not request.stop.interrupted:
      checkpoint.finish()


def belonging(
  model: ModelFile,
  trainable: str | None,
  given: Mapping[str, Any],
  request: Request,
) -> dict[str, str]:
  """All that the integers of an adaptation depend on, by names for people.

  Samples that are only scored are not among them, nor how many passes run side
  by side, nor what callbacks do.

  Args:
    model: the user's file.
    trainable: what the user trains.
    given: samples as the user gave them, by their names in `adapt`.
    request: what the user asked for.
  """
  objective = request.objective
  packages = versions()
  for runtime, package in _OTHERS.items():
    if request.runtime_options.runtime != runtime:
      packages.pop(package, None)
      packages.pop(f"{package}-cpu", None)
  options = dataclasses.asdict(request.runtime_options)
  options.pop("workers")
  return {
    "the model": digest(model.data),
    "x": described(given["x"]),
    "y": described(given["y"]),
    **{f"old_data {n}": described(a) for n, a in _pair(given["old_data"])},
    **{f"replay {n}": described(a) for n, a in _pair(given["replay"])},
    "trainable": str(trainable),
    "absent_classes": request.absent_classes,
    "loss function": _function(objective.function),
    **_texts(to_record(request.method, objective)),
    **{f"given {n}": str(v) for n, v in request.method.given.items()},
    **_texts(dataclasses.asdict(request.graph_options)),
    **_texts(options),
    **{f"version of {name}": text for name, text in packages.items()},
    "machine": platform.machine(),
  }


def _pair(samples: Any) -> list[tuple[str, Any]]:
  return list(zip("xy", (None, None) if samples is None else samples))


def _texts(values: dict[str, Any]) -> dict[str, str]:
  return {name: json.dumps(v, default=str) for name, v in values.items()}


def _function(function: LossFunction | None) -> str:
  """A user's loss, known by its code, or by its type where it has none."""
  if function is None:
    return "none"
  code = getattr(function, "__code__", None)
  name = getattr(function, "__qualname__", type(function).__qualname__)
  return name if code is None else f"{name} {digest(marshal.dumps(code))}"
