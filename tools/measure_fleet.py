"""Measure fleets: schemes beside FedAvg, many clients, clients that drop.

  python tools/measure_fleet.py --what=schemes --work=WORK
  python tools/measure_fleet.py --what=dropout --work=WORK
  python tools/measure_fleet.py --what=voices --work=WORK

`schemes` are all rows of tflm-fg-fleet demo on ten clients with two or three
words each; `dropout` a hundred such clients of which none, and then 30 % in
every round, do not answer; `voices` ten clients with a voice each. Prints a row
of the tables of docs/fleet.md as it is done. Spoken samples are kept in WORK.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from apps.fleet.faults import Faults
from apps.fleet.simulation import schemes, speech, table
from apps.fleet.simulation.fedavg import FloatFleet
from apps.kws.model import shipped

DROPOUT = 0.3
MANY = 100
PER_CLIENT = 24
"""Samples that a client of a large fleet has, about."""


def main() -> None:
  """Measures what is asked for."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--what", required=True)
  parser.add_argument("--work", required=True)
  parser.add_argument("--voices", default=",".join(speech.VOICES))
  parser.add_argument("--rows", default="")
  parser.add_argument("--seeds", type=int, default=3)
  given = parser.parse_args()
  rows = given.rows.split(",") if given.rows else list(schemes.NAMES)
  print(f"| voice | clients | dropout | {table.MARKDOWN} |", flush=True)
  print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
  if given.what == "schemes":
    for voice in given.voices.split(","):
      measure(_pool("words", voice, 10, 20, given.work), rows, given.seeds, 0.0)
  elif given.what == "voices":
    measure(_pool("voices", "ten", 10, 20, given.work), rows, given.seeds, 0.0)
  elif given.what == "dropout":
    few = given.rows.split(",") if given.rows else ["closed-form", "fedavg"]
    for voice in given.voices.split(","):
      samples = MANY * PER_CLIENT // 12
      pool = _pool("words", voice, MANY, samples, given.work)
      for share in (0.0, DROPOUT):
        measure(pool, few, given.seeds, share)
  else:
    parser.error(f"--what={given.what}: need schemes, dropout or voices")


def _pool(
  spread: str, voice: str, clients: int, samples: int, work: str
) -> tuple[str, speech.Pool]:
  return voice, speech.pool(spread, voice, clients, samples, 40, work)


def measure(
  named: tuple[str, speech.Pool], rows: Sequence[str], seeds: int, share: float
) -> None:
  """Prints rows of a table."""
  voice, pool = named
  model = shipped.shipped_model()
  start = f"| {voice} | {pool.clients} | {100 * share:.0f} %"
  first = table.Row("before", [schemes.before(model, pool.test)])
  print(f"{start} | {table.markdown(first)} |", flush=True)
  for name in rows:
    results = []
    for seed in range(seeds):
      fleet, faults = pool.fleet(seed), Faults(share, seed)
      if name in schemes.FEDAVG:
        floats = FloatFleet(model, fleet)
        results.append(schemes.averaged(name, floats, seed, faults))
      else:
        result, _ = schemes.run(name, model, fleet, seed, faults)
        results.append(result)
    row = table.Row(schemes.title(name), results)
    print(f"{start} | {table.markdown(row)} |", flush=True)


if __name__ == "__main__":
  main()
