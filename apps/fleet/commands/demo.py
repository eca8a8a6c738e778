"""tflm-fg-fleet demo: ten clients with a few words each, by every scheme.

  tflm-fg-fleet demo
  tflm-fg-fleet demo --rows=all --seeds=1
  tflm-fg-fleet demo --spread=voices --clients=20 --dropout=0.3

The shipped keyword spotter meets a voice that it does not know. The recordings
are dealt to clients so that each has two or three of the twelve classes, or
with --spread=voices each client has a voice of its own. Then they train one
head, without sending a recording: by each scheme, beside FedAvg of the float
head and beside all samples in one place. The table has the accuracy on other
recordings, as mean and standard deviation over seeds, and what a client sends
and is sent in all rounds together. `equal` says whether all clients and the
server ended with the same numbers, by SHA-256, and `replays` whether the
journal makes the same file again.

No download, no TensorFlow, no Flower.
"""

from __future__ import annotations

import os
import sys
import time

from absl import flags

import tflm_fg
from apps import cli
from apps.fleet.faults import Faults
from apps.fleet.simulation import clients, schemes, speech, table
from apps.fleet.simulation.fedavg import FloatFleet
from apps.kws.model import shipped
from tflm_fg import federated, files
from tflm_fg.types import TflmFgError

ALL = "all"

cli.section(cli.OFTEN)
_ROWS = flags.DEFINE_list(
  "rows", list(schemes.QUICK), f"any of {', '.join(schemes.NAMES)}; or {ALL}"
)
_CLIENTS = flags.DEFINE_integer("clients", 10, "how many", 1, 1000)
_SPREAD = flags.DEFINE_enum(
  "spread",
  "words",
  list(clients.SPREADS),
  "how samples are dealt: two or three words a client, a voice a client, or "
  "words of one voice by chance",
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "fleets to average over", 1)
cli.section(cli.SOMETIMES)
_VOICE = flags.DEFINE_enum(
  "voice", speech.VOICES[0], list(speech.VOICES), "whose words are dealt"
)
_SAMPLES = flags.DEFINE_integer(
  "samples_per_word", 20, "samples of a class, over all clients", 1
)
_TEST = flags.DEFINE_integer(
  "test_samples_per_word", 40, "samples of a class to score on", 1
)
_SECURE = flags.DEFINE_boolean(
  "secure", False, "mask sums, so that the server sees their total alone"
)
_DROPOUT = flags.DEFINE_float(
  "dropout", 0.0, "share of the clients that drop a round", 0, 0.99
)
_OUT_DIR = flags.DEFINE_string(
  "out_dir", "fleet_demo", "folder for report.json, models and journals"
)


def main() -> None:
  """Speaks, deals, runs every row, prints."""
  names = _names()
  began = time.perf_counter()
  files.make_folder(_OUT_DIR.value)
  model = shipped.shipped_model()
  pool = speech.pool(
    _SPREAD.value, _VOICE.value, _CLIENTS.value, _SAMPLES.value, _TEST.value
  )
  spoken = time.perf_counter() - began
  rows, contents = [], {}
  first = table.Row("before", [schemes.before(model, pool.test)])
  print(f"{_CLIENTS.value} clients, {len(pool.test)} samples to score on")
  print(table.HEAD)
  print(table.line(first), flush=True)
  for name in names:
    row, own = row_of(name, model, pool)
    print(table.line(row), flush=True)
    rows.append(row)
    contents |= own
  report = {
    "clients": _CLIENTS.value,
    "spread": _SPREAD.value,
    "voice": _VOICE.value,
    "dropout": _DROPOUT.value,
    "secure": _SECURE.value,
    "rows": [row.record() for row in (first, *rows)],
    "seconds": time.perf_counter() - began,
    "seconds_speaking": spoken,
  }
  contents["report.json"] = cli.to_json(report)
  folder = _OUT_DIR.value
  files.write_set({os.path.join(folder, n): c for n, c in contents.items()})
  ours = [row for row in rows if row.said("equal")]
  for what, key in (
    ("masters equal", "equal"),
    ("the journal replays", "replays"),
  ):
    said = {row.said(key) for row in ours}
    print(f"{what}: {'yes' if said <= {'yes'} else 'no'}")
  print(f"models, journals and report.json are in {folder}/")


def _names() -> list[str]:
  """The rows that --rows asks for, in the table's order.

  Raises:
    TflmFgError: if there is no such row.
  """
  given = list(schemes.NAMES) if _ROWS.value == [ALL] else _ROWS.value
  unknown = [name for name in given if name not in schemes.NAMES]
  if unknown or not given:
    raise TflmFgError(
      f"--rows={','.join(given)}: need some of {', '.join(schemes.NAMES)}; or "
      f"{ALL}"
    )
  return [name for name in schemes.NAMES if name in given]


def row_of(
  name: str, model: bytes, pool: speech.Pool
) -> tuple[table.Row, dict[str, bytes]]:
  """A row over all seeds, and the files of its first one."""
  results, contents = [], {}
  for seed in range(_SEEDS.value):
    fleet, faults = pool.fleet(seed), Faults(_DROPOUT.value, seed)
    if name in schemes.FEDAVG:
      floats = FloatFleet(model, fleet)
      results.append(schemes.averaged(name, floats, seed, faults))
      continue
    result, server = schemes.run(
      name, model, fleet, seed, faults, _SECURE.value
    )
    results.append(result)
    if not seed:
      adapted = server.federation.file().data
      contents[f"{name}.tflite"] = tflm_fg.strip(adapted)
      journal = federated.journal_of(server.federation)
      contents[f"{name}.journal"] = journal.to_bytes()
  return table.Row(schemes.title(name), results), contents


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
