"""Graphs as HTML and SVG: shapes and hatching say what colours say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from apps.report_page.intervals import wilson
from apps.report_page.markup import Markup, element, joined, text

BEFORE, UP, DOWN, SAME = "○", "▲", "▼", "◆"
"""Marks of a share before, and after where it rose, fell or stayed."""

KEY = (
  f"{BEFORE} before; after: {UP} higher, {DOWN} lower, {SAME} the same. Bars "
  "are 95 % intervals, hollow before and solid after."
)
"""What the marks mean."""

FEWEST_POINTS = 3
"""A curve of fewer points says nothing."""


def track(before: float, after: float, samples: int) -> Markup:
  """A share before and after on a line from 0 to 1, with its intervals.

  Args:
    before: 0 to 1.
    after: 0 to 1.
    samples: on which both were counted.
  """
  kind, mark = change_of(before, after)
  pieces = [
    _bar(wilson(before, samples), "was"),
    _bar(wilson(after, samples), ""),
    _mark(before, "was", BEFORE),
    _mark(after, kind, mark),
  ]
  told = f"{100 * before:.1f} % before, {100 * after:.1f} % after"
  return Markup(
    f'<span class="track" role="img" aria-label="{told}" title="{told}">'
    f"{joined(pieces, '')}</span>"
  )


def change_of(before: float, after: float) -> tuple[str, str]:
  """The class and the mark of a change."""
  if math.isclose(before, after, abs_tol=5e-4):
    return "same", SAME
  return ("up", UP) if after > before else ("down", DOWN)


def _bar(ends: tuple[float, float], kind: str) -> Markup:
  left, right = (100 * end for end in ends)
  style = f"left:{left:.2f}%;width:{right - left:.2f}%"
  return Markup(f'<i class="{kind}" style="{style}"></i>')


def _mark(share: float, kind: str, mark: str) -> Markup:
  return Markup(f'<u class="{kind}" style="left:{100 * share:.2f}%">{mark}</u>')


SCALE = Markup(
  '<div class="scale"><span>0 %</span><span>50 %</span><span>100 %</span></div>'
)
"""What stands under a line from 0 to 1."""

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 380, 210, 44, 34, 12, 12


def curves(
  lines: Sequence[tuple[str, Sequence[float], Sequence[float]]],
  x_title: str,
  y_title: str,
  marks: Sequence[tuple[int, float, float]] = (),
  names_above: bool = False,
) -> Markup:
  """Curves over one axis, as an SVG; the second line is dashed and marked.

  Args:
    lines: a name, places and values of each; those of fewer than
      `FEWEST_POINTS` points are left out.
    x_title: of the horizontal axis.
    y_title: of the vertical axis.
    marks: points that are drawn large: the number of a line that is left,
      place and value of each.
    names_above: write the names above the graph, not inside it.

  Returns:
    The graph; empty where no line is left.
  """
  lines = [line for line in lines if len(line[1]) >= FEWEST_POINTS]
  values = [v for _, _, own in lines for v in own if math.isfinite(v)]
  if not values:
    return Markup()
  all_x = [p for _, places, _ in lines for p in places]
  first, last = min(all_x), max(all_x)
  high = round_up(max(values))
  low = -round_up(-min(0.0, *values))
  top = _TOP + (15 * len(lines) if names_above else 0)
  width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - top - _BOTTOM

  def at(place: float, value: float) -> str:
    share = (value - low) / ((high - low) or 1)
    along = (place - first) / ((last - first) or 1)
    x, y = _LEFT + width * along, top + height * (1 - share)
    return f"{x:.1f},{y:.1f}"

  pieces = [_axes((first, last), (low, high), x_title, y_title, top)]
  for number, (name, places, own) in enumerate(lines):
    points = [at(p, v) for p, v in zip(places, own) if math.isfinite(v)]
    pieces.append(_line(name, number, points))
  for number, place, value in marks:
    x, y = at(place, value).split(",")
    colour = _STYLES[number % len(_STYLES)][0]
    pieces.append(
      Markup(f'<circle cx="{x}" cy="{y}" r="5.5" fill="{colour}"/>')
    )
  told = text(f"{y_title} over {x_title}")
  return Markup(
    f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{told}">'
    f"{joined(pieces, '')}</svg>"
  )


_STYLES = (("var(--soft)", ""), ("var(--gain)", "6 3"), ("var(--loss)", "2 2"))


def _line(name: str, number: int, points: Sequence[str]) -> Markup:
  """A curve with its name at the top right, and marks where points are few."""
  colour, dashes = _STYLES[number % len(_STYLES)]
  style = f'fill="none" stroke="{colour}" stroke-width="1.8"'
  if dashes:
    style += f' stroke-dasharray="{dashes}"'
  pieces = [f'<polyline points="{" ".join(points)}" {style}/>']
  if number and len(points) <= 40:
    for point in points:
      x, y = point.split(",")
      pieces.append(f'<circle cx="{x}" cy="{y}" r="2.6" fill="{colour}"/>')
  y, x = _TOP + 8 + 15 * number, _WIDTH - _RIGHT
  pieces.append(
    f'<line x1="{x - 26}" x2="{x}" y1="{y - 4}" y2="{y - 4}" {style}/>'
    f'<text x="{x - 32}" y="{y}" text-anchor="end">{text(name)}</text>'
  )
  return Markup("".join(pieces))


def round_up(value: float) -> float:
  """The next of 1, 2, 4, 5, 6 or 8 times a power of ten; 0 for 0 and less."""
  if value <= 0:
    return 0.0
  unit = 10.0 ** math.floor(math.log10(value))
  steps = (1, 2, 4, 5, 6, 8, 10)
  return next(step * unit for step in steps if value <= step * unit * 1.0001)


def _axes(
  along: tuple[float, float],
  up: tuple[float, float],
  x_title: str,
  y_title: str,
  top: float,
) -> Markup:
  """Two axes with numbers at their ends and in the middle."""
  (first, last), (low, high) = along, up
  floor, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
  pieces = []
  for share in (0.0, 0.5, 1.0):
    x = _LEFT + (right - _LEFT) * share
    y = floor - (floor - top) * share
    anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
    pieces.append(
      f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" '
      'stroke="var(--line)"/>'
      f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">'
      f"{low + (high - low) * share:.3g}</text>"
      f'<text x="{x:.1f}" y="{floor + 14}" text-anchor="{anchor}">'
      f"{_on_axis(first + (last - first) * share, last - first)}</text>"
    )
  pieces.append(
    f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 4}" '
    f'text-anchor="middle">{text(x_title)}</text>'
    f'<text x="{_LEFT + 6}" y="{top - 2}">{text(y_title)}</text>'
  )
  return Markup("".join(pieces))


def _on_axis(value: float, span: float) -> str:
  """A number below an axis; whole where the axis is long."""
  if span < 1:
    return f"{value:.3g}"
  return f"{value:.0f}" if span >= 10 else f"{value:.1f}"


def confusion(cells: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
  """A table of what was said and what was heard; right answers are framed.

  Args:
    cells: counts; a row is what was said, a column what was heard.
    names: of the classes.
  """
  top = joined(
    [
      element("th", "said"),
      *(element("th", element("span", name), "top") for name in names),
    ],
    "",
  )
  rows = [element("tr", top)]
  for i, (name, row) in enumerate(zip(names, cells)):
    most = max(1, sum(row))
    shown = [element("th", name)]
    for j, count in enumerate(row):
      kind = ' class="right"' if i == j and count else ""
      shade = f"--gain) {70 * count // most}%"
      style = f"background:color-mix(in srgb, var({shade}, transparent)"
      shown.append(Markup(f'<td{kind} style="{style}">{count or ""}</td>'))
    rows.append(element("tr", joined(shown, "")))
  return element("div", element("table", joined(rows), "confusion"), "scroll")
