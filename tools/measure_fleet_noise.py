"""Measure what noise of a stated epsilon costs a fleet in accuracy.

  python tools/measure_fleet_noise.py --cache=FOLDER

Ten clients with two or three classes of a voice each, as in
`tflm-fg-fleet demo`, learn a head under differential privacy of single
samples. It prints a table: for each scheme and place of the noise the mean
accuracy and the standard deviation over fleets, by epsilon.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from apps.fleet.simulation import speech  # noqa: E402
from apps.fleet.simulation.clients import Fleet  # noqa: E402
from tflm_fg import evaluate, federated, methods  # noqa: E402

MODEL = str(ROOT / "apps" / "kws" / "ds_cnn.tflite")

SCHEMES = {
  "one round": ("one-round", None),
  "closed form, 5 steps": ("closed-form", methods.ClosedForm(steps=5)),
}

EPSILONS = (1.0, 3.0, 10.0, 100.0)


def accuracy(
  fleet: Fleet, scheme: str, where: str, epsilon: float | None, seed: int
) -> float:
  """What a fleet ends with.

  Args:
    fleet: its clients and its test.
    scheme: a key of `SCHEMES`.
    where: the noise is added.
    epsilon: of all rounds together; None for no noise.
    seed: of the noise.
  """
  name, method = SCHEMES[scheme]
  settings = {"method": method, "most_samples": 64}
  plan = federated.plan_for(MODEL, name, **settings)
  if epsilon is not None:
    releases = federated.Federation(MODEL, plan).releases
    noise = federated.multiplier_for(epsilon, 1e-5, releases)
    privacy = federated.Privacy(noise_multiplier=noise, where=where)
    plan = federated.plan_for(MODEL, name, privacy=privacy, **settings)
  server = federated.Federation(MODEL, plan, seed=seed)
  members = [
    federated.Client(
      MODEL, plan, own.x, own.y, client=f"client-{n}", seed=1000 * seed + n
    )
    for n, own in enumerate(fleet.clients)
  ]
  while not server.is_done:
    for member in members:
      verdict = server.accept(member.contribute())
      assert verdict.taken, verdict
    step = server.close()
    for member in members:
      member.take(step)
  found = evaluate(server.file().data, fleet.test.x, fleet.test.y)
  return float(found["accuracy"])


def told(values: Sequence[float]) -> str:
  """Mean and standard deviation in per cent."""
  mean, spread = statistics.mean(values), statistics.stdev(values)
  return f"{100 * mean:.1f} ± {100 * spread:.1f} %"


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(description="What noise costs a fleet.")
  parser.add_argument("--voice", default="whisper", help="one of the demo's")
  parser.add_argument("--seeds", type=int, default=3, help="fleets, at least 2")
  parser.add_argument("--cache", help="a folder for what was spoken")
  given = parser.parse_args()
  pool = speech.pool("words", given.voice, 10, 20, 40, given.cache)
  fleets = [pool.fleet(seed) for seed in range(given.seeds)]
  print(f"| scheme | noise | none | {' | '.join(map(str, EPSILONS))} |")
  for scheme in SCHEMES:
    for where in ("server", "device"):
      cells = []
      for epsilon in (None, *EPSILONS):
        found = [
          accuracy(fleet, scheme, where, epsilon, seed)
          for seed, fleet in enumerate(fleets)
        ]
        cells.append(told(found))
      print(f"| {scheme} | {where} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
  main()
