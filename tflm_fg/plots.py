"""Draw what a training run did, as a PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tflm_fg.training.callbacks import History
from tflm_fg.training.objective import NATURAL
from tflm_fg.types import TflmFgError

SMOOTHED_STEPS, SMOOTHED_SHARE = 50, 40
"""Steps over which the training loss is averaged, as single batches are noisy:
this share of a run, at most so many. An exact run is short, and seen as it is.
"""

FEW_POINTS = 60
"""Up to so many points of a curve are marked."""

PHASE_COLOURS = ("#0072b2", "#d55e00", "#009e73")
"""Told apart by colour-blind readers, too (Okabe and Ito)."""


def require_matplotlib() -> None:
  """Fails with the cure before long work, not behind it.

  Raises:
    TflmFgError: if matplotlib is missing.
  """
  try:
    import matplotlib  # noqa: F401
  except ImportError:
    raise TflmFgError("plots need: pip install 'tflm-fg[plots]'") from None


def new_figure(columns: int, width: float = 4.5, height: float = 3.6) -> Any:
  """A figure with a row of axes, without a screen.

  Returns:
    (figure, list of axes).
  """
  require_matplotlib()
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width * columns, height), layout="constrained")
  axes = figure.subplots(1, columns, squeeze=False)[0]
  return figure, list(axes)


def to_png(figure: Any) -> bytes:
  """Renders a figure; the same figure gives the same bytes.

  Names come from users, so that a dollar in one begins no formula.
  """
  _write_plainly(figure)
  content = io.BytesIO()
  figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
  return content.getvalue()


def _write_plainly(figure: Any) -> None:
  """Draws all text as it is, but for numbers that an axis makes itself."""
  from matplotlib.category import StrCategoryFormatter
  from matplotlib.text import Text
  from matplotlib.ticker import FixedFormatter, FuncFormatter

  for text in figure.findobj(Text):
    text.set_parse_math(False)
  for axes in figure.axes:
    for axis in (axes.xaxis, axes.yaxis):
      named = (FixedFormatter, FuncFormatter, StrCategoryFormatter)
      if not isinstance(axis.get_major_formatter(), named):
        for text in axis.findobj(Text):
          text.set_parse_math(text is not axis.label)


def _plot(axes: Any, passes: Any, values: Any, colour: str, label: str) -> None:
  """A curve; its points are marked where they are few."""
  marker = "." if len(passes) <= FEW_POINTS else ""
  axes.plot(passes, values, color=colour, label=label, marker=marker)


def draw_loss(axes: Any, history: History, unit: str = " (nats)") -> None:
  """Loss over forward passes: of the batches, smoothed, and held out."""
  passes, losses = np.array(history.batches, float).reshape(-1, 2).T
  window = max(1, min(SMOOTHED_STEPS, len(losses) // SMOOTHED_SHARE))
  smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
  _plot(axes, passes[window - 1 :], smooth, "0.6", "training batches")
  if history.tests:
    tests = np.array(history.tests)
    _plot(axes, tests[:, 0], tests[:, 1], "C0", "validation")
  axes.set_xlabel("forward passes")
  axes.set_ylabel(f"loss{unit}")
  if losses.size and losses.min() >= 0:
    axes.set_ylim(bottom=0)
  axes.legend(frameon=False)


def draw_accuracy(axes: Any, history: History, report: dict[str, Any]) -> None:
  """Accuracy over forward passes, with before and after as level lines."""
  if history.tests:
    tests = np.array(history.tests)
    _plot(axes, tests[:, 0], 100 * tests[:, 2], "C0", "validation")
  for key, style in (("before", ":"), ("after", "--")):
    value = 100 * report[f"accuracy_{key}"]
    label = f"{report['scored_on']} {key}: {value:.1f} %"
    axes.axhline(value, color="C1", linestyle=style, label=label)
  axes.set_xlabel("forward passes")
  axes.set_ylabel("accuracy (%)")
  axes.set_ylim(0, 101)
  axes.legend(frameon=False, loc="best")


def draw_error(axes: Any, history: History, report: dict[str, Any]) -> None:
  """Mean absolute error over forward passes, for real targets."""
  if history.tests:
    tests = np.array(history.tests)
    _plot(axes, tests[:, 0], tests[:, 2], "C0", "validation")
  for key, style in (("before", ":"), ("after", "--")):
    value = report[f"mae_{key}"]
    label = f"{report['scored_on']} {key}: {value:.3g}"
    axes.axhline(value, color="C1", linestyle=style, label=label)
  axes.set_xlabel("forward passes")
  axes.set_ylabel("mean absolute error")
  axes.set_ylim(bottom=0)
  axes.legend(frameon=False, loc="best")


def draw_phases(
  axes: Any,
  phases: Sequence[tuple[str, Sequence[float], Sequence[float]]],
  before: float,
  after: float,
) -> None:
  """A share in percent over forward passes, phase by phase.

  Args:
    axes: to draw on.
    phases: title, passes and percents of each; every point is marked.
    before: percent before the first phase, written at its start.
    after: percent behind the last one, written at its end.
  """
  for place, (title, passes, percents) in enumerate(phases):
    colour = PHASE_COLOURS[place % len(PHASE_COLOURS)]
    axes.plot(passes, percents, color=colour, linewidth=2, label=title)
    axes.plot(passes, percents, color=colour, marker=".", linestyle="")
    if place:
      axes.axvline(passes[0], color="0.6", linestyle=":", zorder=0)
  end = max([1.0, *(passes[-1] for _, passes, _ in phases if len(passes))])
  for at, percent, word in ((0, before, "before"), (end, after, "after")):
    axes.plot(at, percent, "o", color="black", markersize=7, zorder=3)
    axes.annotate(
      f"{word}: {percent:.1f} %",
      (at, percent),
      xytext=(0, 9 if at else -9),
      textcoords="offset points",
      ha="right" if at else "left",
      va="bottom" if at else "top",
      fontsize="large",
    )
  axes.grid(axis="y", color="0.9")
  axes.set_axisbelow(True)
  axes.spines[["top", "right"]].set_visible(False)
  if phases:
    axes.legend(frameon=False, loc="lower right")


def training_curves(history: History, report: dict[str, Any]) -> bytes:
  """Loss over forward passes, and beside it accuracy, or the error's size.

  What a run has neither of, without labels or under a loss whose targets only
  it knows, is left out.

  Args:
    history: of the run.
    report: the run's report.

  Returns:
    A PNG.
  """
  drawn = [
    draw
    for key, draw in (("accuracy", draw_accuracy), ("mae", draw_error))
    if report.get(f"{key}_after") is not None
  ]
  figure, (left, *others) = new_figure(1 + len(drawn))
  nats = report["loss"] in NATURAL
  draw_loss(left, history, " (nats)" if nats else "")
  for draw, axes in zip(drawn, others):
    draw(axes, history, report)
  figure.suptitle(
    f"{report['method']} on {report['runtime']}: "
    f"{report['trainable_parameters']} trainable numbers"
  )
  return to_png(figure)
