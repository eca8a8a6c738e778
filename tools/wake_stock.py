"""Make the stock of negatives and keepers that tflm-fg-wake comes with.

  python tools/wake_stock.py --write

Without --write it makes the stock and says whether the file is the same, which
takes two minutes. espeak-ng speaks, this project's script says what; the same
version of espeak-ng gives the same bytes on the same machine. The front end of
TensorFlow Lite Micro makes the frames, and ESPHome's rule their int8.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from apps.wake.data import (  # noqa: E402
  micro_frames,
  phrases,
  speaking,
  stock,
  stock_file,
)

PATH = ROOT / "apps/wake/data" / stock.FILE

MOST_BYTES = 2_000_000

COARSENESS = 1
"""See `stock_file.pack`."""

_LEAD_FRAMES = round(speaking.LEAD_SECONDS * 100) - 3


def entries() -> list[stock_file.Entry]:
  """All streams: negatives, then each wake word by each voice."""
  plans = [(stock.NEGATIVE, plan) for plan in stock.negative_plans()]
  for word in phrases.COMMON:
    plans += [(stock.KEEPER, plan) for plan in stock.keeper_plans(word)]
  leads: dict[str, np.ndarray] = {}
  found = []
  sounds = speaking.spoken([plan for _, plan in plans])
  for (kind, plan), sound in zip(plans, sounds):
    frames = micro_frames.esphome(micro_frames.raw(sound))
    if kind == stock.KEEPER:
      # A voice's streams begin with the same noise: it is packed but once.
      lead = leads.setdefault(plan.voice, frames[:_LEAD_FRAMES])
      frames = np.concatenate([lead, frames[_LEAD_FRAMES:]])
    about = {
      "kind": kind,
      "voice": plan.voice,
      "manner": plan.manner,
      "texts": plan.texts,
    }
    found.append((about, frames))
  return found


def main() -> int:
  """Makes, compares, writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--write", action="store_true", help="write the file")
  args = parser.parse_args()
  made = entries()
  data = stock_file.pack(made, COARSENESS)
  for kind in (stock.NEGATIVE, stock.KEEPER):
    lengths = [len(frames) for about, frames in made if about["kind"] == kind]
    print(f"{kind}: {len(lengths)} streams, {sum(lengths) / 6000:.1f} minutes")
  print(f"{len(data)} bytes of at most {MOST_BYTES}")
  if len(data) > MOST_BYTES:
    print("too many: say less, or raise COARSENESS")
    return 1
  if args.write:
    PATH.write_bytes(data)
    return 0
  same = PATH.exists() and PATH.read_bytes() == data
  print(f"{PATH.name} is {'as made' if same else 'not as made'}")
  return 0 if same else 1


if __name__ == "__main__":
  sys.exit(main())
