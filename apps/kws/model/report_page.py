"""Write a result of adapting as a folder with one self-contained page."""

from __future__ import annotations

import base64
import html
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from apps import cli
from apps.kws.model.adaptation import SpotterResult
from apps.kws.model.outcome import TITLES
from apps.kws.model.scores import WordScores
from tflm_fg import files, plots

PAGE = "index.html"

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; color: #222; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom:
  1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; }
.gain { color: #17692b; } .loss { color: #a11d1d; }
"""


def require(folder: str) -> None:
  """Refuses a report that could not be written, before long work."""
  plots.require_matplotlib()
  files.make_folder(folder)


def write(folder: str, result: SpotterResult) -> None:
  """Writes index.html, the PNGs that it shows, and report.json."""
  pictures = draw(result)
  for name, png in pictures.items():
    files.write_atomically(os.path.join(folder, name), png)
  files.write_atomically(
    os.path.join(folder, "report.json"), cli.to_json(result.report)
  )
  path = os.path.join(folder, PAGE)
  files.write_atomically(path, page(result, pictures).encode())
  print(f"report: {path}")


def draw(result: SpotterResult) -> dict[str, bytes]:
  """The PNGs: file name -> bytes."""
  pictures = {
    "confusion.png": _confusions(result),
    "words.png": _words(result),
  }
  history = result.adapted.history
  if history.batches or history.tests:
    curves = plots.training_curves(history, result.adapted.report)
    pictures = {"curves.png": curves, **pictures}
  return pictures


def _confusions(result: SpotterResult) -> bytes:
  before, after = next(iter(result.scores.values()))
  classes = result.job.spotter.classes
  used = _used(before, after)
  size = max(4.0, 0.36 * len(used) + 1.4)
  figure, axes = plots.new_figure(2, size, size + 1.0)
  for axis, score, title in zip(axes, (before, after), ("before", "after")):
    cells = score.confusion[np.ix_(used, used)]
    share = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(cells)):
      colour = "white" if share[i, j] > 0.5 else "black"
      axis.text(
        j,
        i,
        str(cells[i, j]),
        ha="center",
        va="center",
        color=colour,
        fontsize=7,
      )
    names = [classes[i] for i in used]
    axis.set_xticks(range(len(used)), names, rotation=90)
    axis.set_yticks(range(len(used)), names)
    axis.set(xlabel="heard", ylabel="said")
    axis.set_title(f"{title}: {100 * score.accuracy:.1f} %")
  return plots.to_png(figure)


def _words(result: SpotterResult) -> bytes:
  rows = word_rows(result)
  figure, (axis,) = plots.new_figure(1, 8.0, max(2.5, 0.3 * len(rows) + 1))
  for place, (_, _, before, after) in enumerate(rows):
    colour = "C2" if after >= before else "C3"
    axis.plot([100 * before, 100 * after], [place, place], color=colour, lw=2)
    axis.plot(100 * before, place, "o", color="0.6")
    axis.plot(100 * after, place, "o", color=colour)
  axis.set_yticks(range(len(rows)), [row[0] for row in rows])
  axis.invert_yaxis()
  axis.set(xlim=(-3, 103), xlabel="heard right (%): before (grey), after")
  axis.grid(axis="x", color="0.9")
  return plots.to_png(figure)


def _used(*scores: WordScores) -> list[int]:
  total = sum(s.confusion for s in scores)
  return [i for i, row in enumerate(total) if row.sum() or total[:, i].sum()]


def word_rows(result: SpotterResult) -> list[tuple[str, int, float, float]]:
  """A row a word: name, clips, share heard right before and after."""
  before, after = next(iter(result.scores.values()))
  classes = result.job.spotter.classes
  firsts = {row["word"]: row["recall"] for row in before.words(classes)}
  return [
    (row["word"], row["clips"], firsts[row["word"]], row["recall"])
    for row in after.words(classes)
  ]


def page(result: SpotterResult, pictures: dict[str, bytes]) -> str:
  """One HTML page that needs no other file.

  Args:
    result: what adapting gave.
    pictures: PNGs by name.
  """
  report = result.report
  shown = "\n".join(
    f'<p><img alt="{name}" src="data:image/png;base64,'
    f'{base64.b64encode(png).decode()}"></p>'
    for name, png in pictures.items()
  )
  notes = "".join(f"<li>{html.escape(n)}</li>" for n in report["notes"])
  versions = [[k, v] for k, v in report["versions"].items()]
  return f"""<!DOCTYPE html>
<html lang="en"> <meta charset="utf-8"> <meta name="viewport"
content="width=device-width, initial-scale=1">
<title>{html.escape(os.path.basename(report["model"]))}, adapted</title>
<style>{_STYLE}</style> <h1>{html.escape(os.path.basename(report["model"]))},
adapted</h1> <p>{time.strftime("%Y-%m-%d %H:%M")}</p> <h2>What it gave</h2>
{_table(["scored on", "clips", "before", "after", "points"], _gains(result))} {
    f"<ul>{notes}</ul>" if notes else ""
  } <h2>Over forward
passes, and word by word</h2> {shown} {
    _table(["word", "clips", "before", "after", "points"], _word_table(result))
  } <h2>What was trained, and what
it cost</h2> {_table(["", ""], _costs(report))} <h2>Seeds and versions</h2>
{_table(["", ""], [["seed", report["seed"]], *versions])} </html>
"""


def _gains(result: SpotterResult) -> list[list[Any]]:
  return [
    [TITLES[name], before.clips, *_change(before.accuracy, after.accuracy)]
    for name, (before, after) in result.scores.items()
  ]


def _word_table(result: SpotterResult) -> list[list[Any]]:
  return [
    [word, clips, *_change(before, after)]
    for word, clips, before, after in word_rows(result)
  ]


def _change(before: float, after: float) -> list[str]:
  points = 100 * (after - before)
  return [f"{100 * before:.1f} %", f"{100 * after:.1f} %", f"{points:+.1f}"]


def _costs(report: dict[str, Any]) -> list[list[Any]]:
  return [
    ["trained", ", ".join(report["trainable"])],
    ["numbers trained", report["trainable_parameters"]],
    ["method", report["method"]],
    ["engine", f"{report['runtime']}, {report['strategy']}"],
    ["clips", sum(report["clips"].values())],
    ["augmented copies", report["augmented_clips"]],
    ["old clips replayed", report["replay_clips"]],
    ["bytes of the replay set", report["replay_bytes"]],
    ["steps", report["steps"]],
    ["forward passes", report["forward_passes"]],
    ["seconds", f"{report['seconds']:.2f}"],
    ["seconds in the engine", f"{report['invoke_seconds']:.2f}"],
    ["bytes beyond inference", report["trainer_bytes"]],
    ["bytes of cached features", report["feature_cache_bytes"]],
    ["bytes of the model", report["model_bytes"]],
    ["bytes that adapting added", report["added_bytes"]],
  ]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
  top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
  body = "".join(
    "<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows
  )
  return f"<table><tr>{top}</tr>{body}</table>"


def _cell(value: Any) -> str:
  text = html.escape(str(value))
  kind = {"+": "gain", "-": "loss"}.get(text[:1] if text[1:2].isdigit() else "")
  return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"
