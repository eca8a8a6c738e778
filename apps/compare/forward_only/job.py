"""Train one network from scratch, quantize it, and adapt it to shifts."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator

import numpy as np

import tflm_fg
from apps.compare.cell_settings import of_default
from apps.compare.data.sampling import Part
from apps.compare.forward_only import images, networks
from apps.compare.forward_only.networks import Network
from apps.compare.forward_only.registry import BATCH, Method, named
from apps.compare.forward_only.rows import Result, to_csv
from apps.compare.forward_only.to_int8 import to_int8
from apps.compare.results.rows import versions_text
from tflm_fg import evaluate
from tflm_fg.types import Array, TflmFgError

OWN_RATES = (0.1, 1.0)
"""Times a method's rate, where it goes on with the samples of a shift."""

OWN_EPOCHS = 30

OWN_HELD = 4
"""One of so many samples chooses among these rates, and doing nothing."""

CALIBRATION = 200

DEAD = 1e-3
"""Logits that differ by less over all samples say nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FromScratch:
  """One method, data and seed.

  Attributes:
    data: as `images.require_known` knows it.
    seed: of samples and training.
    method: a name in the registry.
    epochs: how often each sample is seen.
    train_samples: how many to train on; of few data fewer are taken.
    test_samples: how many to score on.
    shots: samples a class of a shift, to adapt to.
    hidden: widths of the hidden layers.
    shifts: as `images.shifted` knows them.
  """

  data: str
  seed: int
  method: str
  epochs: int = 20
  train_samples: int = 6000
  test_samples: int = 2000
  shots: int = 20
  hidden: tuple[int, ...] = (256, 256)
  shifts: tuple[str, ...] = images.SHIFTS

  @property
  def title(self) -> str:
    """What it is, for people."""
    return f"{self.method} on {images.title(self.data)}, seed {self.seed}"

  @property
  def files(self) -> tuple[str, ...]:
    """What it makes."""
    data = images.title(self.data)
    return (f"forward-only-{data}-{self.method}-{self.seed}.csv",)

  def made_with(self, user_data: object = None) -> str:
    """All that its rows depend on, in one line."""
    del user_data
    own = dataclasses.asdict(self) | {"versions": versions_text()}
    return json.dumps(own, sort_keys=True)


def run(job: FromScratch) -> dict[str, bytes]:
  """Does a job, and returns its CSV.

  Raises:
    TflmFgError: naming the job, if it cannot be done.
  """
  try:
    rows = list(measured(job))
  except TflmFgError as fault:
    raise TflmFgError(f"{job.title}: {fault}") from None
  return {job.files[0]: to_csv(rows, job.made_with())}


def measured(job: FromScratch) -> Iterator[Result]:
  """A row for the training from scratch, and one for each shift."""
  method = named(job.method)
  split = images.split_of(
    job.data, job.train_samples, job.test_samples, job.seed
  )
  x, y = split.train
  widths = (images.SIDE**2, *job.hidden, images.CLASSES)
  began = time.perf_counter()
  network = method.train(
    method.start(widths, job.seed),
    images.flat(x),
    y,
    epochs=job.epochs,
    seed=job.seed,
  )
  seconds = time.perf_counter() - began
  _require_alive(network, x[:CALIBRATION])
  model = to_int8(network, x[:CALIBRATION])
  bytes_ = method.memory(widths)
  test, classes = split.test
  yield Result(
    data=images.title(job.data),
    seed=job.seed,
    method=job.method,
    error=networks.error(network, images.flat(test), classes),
    error_int8=_error(model, split.test),
    passes=method.passes_a_step * job.epochs * -(-len(x) // BATCH),
    seconds=seconds,
    forward_bytes=bytes_.forward,
    gradient_bytes=bytes_.gradient,
    update_bytes=bytes_.update,
  )
  for shift in job.shifts:
    yield _to_shift(job, shift, method, network, model, split)


def _require_alive(network: Network, x: Array) -> None:
  """Refuses a network that gives all samples one answer."""
  logits = network.logits(images.flat(x))
  if not np.ptp(logits, axis=0).max() > DEAD:
    raise TflmFgError(
      "training left a network that answers all samples alike: its rate is "
      "too high for these data; try other data, or fewer --epochs"
    )


def _to_shift(
  job: FromScratch,
  shift: str,
  method: Method,
  network: Network,
  model: bytes,
  split: images.Split,
) -> Result:
  x, y = images.few(split.pool, job.shots, job.seed)
  x = images.shifted(x, shift, job.seed)
  test = (images.shifted(split.test[0], shift, job.seed + 1), split.test[1])
  own, chosen = went_on(method, network, (images.flat(x), y), job.seed)
  result = tflm_fg.adapt(
    model, x, y, test=test, trainable="auto", method=of_default(job.seed)
  )
  report = result.report
  rows = images.flat(test[0])
  return Result(
    data=images.title(job.data),
    seed=job.seed,
    method=job.method,
    shift=shift,
    error=networks.error(network, rows, test[1]),
    error_own=networks.error(own, rows, test[1]),
    error_int8=1 - report["accuracy_before"],
    error_ours=1 - report["accuracy_after"],
    passes=report["forward_passes"],
    seconds=report["seconds"],
    trainer_bytes=report["trainer_bytes"],
    added_bytes=report["added_bytes"],
    chosen=f"rate {chosen:g}",
  )


def went_on(
  method: Method, network: Network, part: Part, seed: int
) -> tuple[Network, float]:
  """Goes on by the method itself with the samples of a shift, in floats.

  One of four samples chooses the rate among `OWN_RATES` and nothing at all;
  then all of them are trained on.

  Returns:
    The network, and the factor of the rate, 0 where it was left as it is.
  """
  x, y = part
  held = np.arange(len(y)) % OWN_HELD == 0
  found = {0.0: networks.error(network, x[held], y[held])}
  for rate in OWN_RATES:
    tried = method.train(
      network, x[~held], y[~held], epochs=OWN_EPOCHS, seed=seed, rate=rate
    )
    found[rate] = networks.error(tried, x[held], y[held])
  best = min(found, key=lambda rate: (found[rate], rate))
  if not best:
    return network, best
  return method.train(
    network, x, y, epochs=OWN_EPOCHS, seed=seed, rate=best
  ), best


def _error(model: bytes, part: Part) -> float:
  return 1 - float(evaluate(model, *part)["accuracy"])
