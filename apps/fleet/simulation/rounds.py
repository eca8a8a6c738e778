"""Run a fleet in this process: its server and devices, without a transport."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from apps.fleet.device import Device
from apps.fleet.faults import Faults
from apps.fleet.messages import JOIN, MASKED, SUMS, Record
from apps.fleet.server import Server


def led(
  server: Server, devices: Sequence[Device], faults: Faults | None = None
) -> dict[int, float]:
  """Leads devices of this process through all rounds.

  Args:
    server: of the fleet.
    devices: by their numbers.
    faults: what goes wrong; None for nothing.

  Returns:
    Seconds that each device took, over all rounds.

  Raises:
    TflmFgError: as `Server.rounds`.
  """
  faults = faults or Faults()
  numbers = range(len(devices))
  seconds = dict.fromkeys(numbers, 0.0)
  rounds = server.rounds(lambda: numbers)
  answers: dict[int, Record] | None = None
  while True:
    try:
      requests: Mapping[int, Record] = rounds.send(answers)  # type: ignore[arg-type]
    except StopIteration:
      return seconds
    answers = {}
    for number, request in requests.items():
      if request["ask"] in (SUMS, MASKED) and faults.drops(
        request["round"], number
      ):
        continue
      began = time.perf_counter()
      answers[number] = devices[number].answer(request)
      if request["ask"] != JOIN:
        seconds[number] += time.perf_counter() - began
