"""Count a training step's memory in three modes, a network a row.

Inference, forward gradients and backpropagation of the same tensors, for the
shapes of known networks; nothing is trained. `tflm_fg.memory` says what is
counted and what "scratch" and "total" mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from apps.compare.analyses import tflm_arena
from apps.compare.analyses.networks import NETWORKS
from apps.compare.cell_settings import of_counted_memory
from apps.compare.results.markdown import table
from tflm_fg import plots
from tflm_fg.marking import mark_trainable
from tflm_fg.memory import (
  PRECISIONS,
  backpropagation,
  forward_gradients,
  inference,
)
from tflm_fg.placement import Phase
from tflm_fg.tflite import MarkedModel
from tflm_fg.training import Objective, logits_spec

TRAINS = ("head", "bias", "all")

FORWARD = of_counted_memory()
"""Two passes a direction, and no state but the masters."""

PAPER_RATIO = 2.8
"""The paper's figure: scratch memory goes down by up to this."""

Row = dict[str, Any]


def memory_rows(
  networks: Mapping[str, Callable[[], bytes]] = NETWORKS,
  trains: Sequence[str] = TRAINS,
) -> list[Row]:
  """Counts every network with each choice of what trains.

  Args:
    networks: name -> what makes the .tflite.
    trains: as `--trainable`.

  Returns:
    A row a network and choice. Beside names and the count of numbers:
    `tflm_arena`, TFLM's own report (nan without TFLM), `arena`, the same as
    counted here, and MODE_scratch, MODE_total in bytes, where MODE is
    "inference", "forward" or "backprop_PRECISION"; `ratio_PRECISION` is the
    scratch of backpropagation over that of forward gradients.

  Raises:
    TflmFgError: if a network cannot be built or trained so.
  """
  rows = []
  for name, make in networks.items():
    model = make()
    own = {"network": name, "tflm_arena": tflm_arena.arena(model)}
    rows += [
      own | {"trains": t} | counted(mark_trainable(model, t)) for t in trains
    ]
  return rows


def counted(marked: MarkedModel) -> Row:
  """All that is counted of one marked file, as `memory_rows` names it."""
  data, own = marked.data, marked.mark
  phase = Phase(tuple(t.index for t in own.trainable), FORWARD, Objective())
  classes = logits_spec(data, own).shape[-1]
  plain = inference(data)
  modes = {
    "inference": plain,
    "forward": forward_gradients(data, own, [phase], classes),
  }
  for precision in PRECISIONS:
    modes[f"backprop_{precision}"] = backpropagation(data, own, precision)
  adam = backpropagation(data, own, "float32", "adam")
  row: Row = {
    "numbers": sum(t.size for t in own.trainable),
    "arena": plain.scratch + plain.bookkeeping,
  }
  for mode, footprint in modes.items():
    row |= {
      f"{mode}_scratch": footprint.scratch,
      f"{mode}_total": footprint.total,
    }
  row["backprop_float32_adam_total"] = adam.total
  for precision in PRECISIONS:
    scratch = row[f"backprop_{precision}_scratch"]
    row[f"ratio_{precision}"] = scratch / row["forward_scratch"]
  return row


def markdown(rows: Sequence[Row]) -> str:
  """The rows as a Markdown table with what its columns mean."""
  head = (
    "network",
    "trains",
    "numbers",
    "inference",
    "forward gradients",
    "backprop., 16 bits",
    "backprop., float32",
    "with Adam",
    "times the scratch: 8, 16, 32 bits",
  )
  return f"{table(head, map(_cells, rows))}\n\n{_legend(rows)}\n"


def _cells(row: Row) -> list[str]:
  modes = ("inference", "forward", "backprop_float16", "backprop_float32")
  ratios = (row[f"ratio_{p}"] for p in ("int8", "float16", "float32"))
  return [
    row["network"],
    row["trains"],
    f"{row['numbers']:,}",
    *(f"{_kb(row[f'{w}_scratch'])} / {_kb(row[f'{w}_total'])}" for w in modes),
    _kb(row["backprop_float32_adam_total"]),
    ", ".join(f"{ratio:.1f}" for ratio in ratios),
  ]


def _kb(size: float) -> str:
  return f"{size / 1000:.1f}"


def _legend(rows: Sequence[Row]) -> str:
  return (
    "kB (1,000 bytes), scratch / total, one sample at a time; scratch is the "
    "activation memory of a pass, total adds weights, book-keeping and the "
    "trainer's numbers (our reading of the paper's captions). SGD without "
    "momentum but where Adam is named. The last column is backpropagation's "
    "scratch over forward gradients'; at 8 bits only the order of the passes "
    f"differs. {_error(rows)}The paper's figure is up to {PAPER_RATIO} times."
  )


def _error(rows: Sequence[Row]) -> str:
  """How far the arena that was counted is from the one that TFLM reports."""
  errors = [abs(row["arena"] / row["tflm_arena"] - 1) for row in rows]
  measured = [error for error in errors if error == error]
  if not measured:
    return ""
  worst = f"{100 * max(measured):.2f}"
  return f"Inference is within {worst} % of TFLM's own arena report. "


_BARS = {
  "inference": "inference",
  "forward": "forward gradients",
  "backprop_float16": "backpropagation, 16 bits",
  "backprop_float32": "backpropagation, float32",
}


def figure(rows: Sequence[Row]) -> bytes:
  """Bars of scratch and of total memory, as a PNG."""
  picture, axes = plots.new_figure(2, width=7.0, height=4.2)
  for place, what in zip(axes, ("scratch", "total")):
    _bars(place, rows, what)
  axes[0].legend(frameon=False, fontsize="small", loc="upper left")
  return plots.to_png(picture)


def _bars(axes: Any, rows: Sequence[Row], what: str) -> None:
  places = np.arange(len(rows))
  width = 0.8 / len(_BARS)
  for number, (mode, label) in enumerate(_BARS.items()):
    heights = [row[f"{mode}_{what}"] / 1000 for row in rows]
    shift = (number - (len(_BARS) - 1) / 2) * width
    axes.bar(places + shift, heights, width, color=f"C{number}", label=label)
  names = [f"{row['network']}, {row['trains']}" for row in rows]
  axes.set_xticks(places, names, rotation=30, ha="right", fontsize="small")
  axes.set(yscale="log", ylabel="kB", title=f"{what} memory")
  axes.set_ylim(top=4 * axes.get_ylim()[1])  # room for the legend
