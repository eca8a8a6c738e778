"""Numbers of a report as graphs: the DET curve, and probability over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.report_page import charts
from apps.report_page.markup import (
  Markup,
  element,
  figure,
  joined,
  paragraph,
  section,
)
from tflm_fg import plots

Report = Mapping[str, Any]

MOST_AN_HOUR = 10.0
"""False accepts an hour up to which the DET curve is drawn: more is no use."""


def det_points(
  an_hour: Sequence[float], recall: Sequence[float]
) -> tuple[list[float], list[float]]:
  """The DET curve as it is drawn: what is missed, over false accepts an hour.

  Args:
    an_hour: false accepts an hour at each cutoff, in the order of cutoffs.
    recall: the share that is heard there, 0 to 1.

  Returns:
    False accepts an hour, ascending, and the share missed in percent. Of
    cutoffs with as many false accepts, the one that hears most.
  """
  best: dict[float, float] = {}
  for place, share in zip(an_hour, recall):
    if place <= MOST_AN_HOUR:
      best[place] = max(share, best.get(place, 0.0))
  places = sorted(best)
  return places, [100 * (1 - best[place]) for place in places]


def det_section(report: Report) -> Markup:
  """The DET curve, before and after where there are both."""
  det = report.get("det")
  if not det:
    return Markup()
  if not any(any(curve["events"]) for curve in det["curves"]):
    told = (
      f"No cutoff lets in a false accept in {hours(det['hours'])} of sound: "
      "that is too little for a curve."
    )
    return section("The DET curve", [paragraph(told)])
  lines, marks = [], []
  for curve in det["curves"]:
    places, missed = det_points(curve["an_hour"], curve["recall"])
    if len(places) < charts.FEWEST_POINTS:
      # One or two cutoffs: a line all the same, for the marks to lie on.
      places = [*places, *[places[-1]] * 2] if places else []
      missed = [*missed, *[missed[-1]] * 2] if missed else []
    if not places:
      continue
    lines.append((curve["name"], places, missed))
    point = curve["at_cutoff"]
    if point["an_hour"] <= MOST_AN_HOUR:
      missed_there = 100 * (1 - point["recall"])
      marks.append((len(lines) - 1, point["an_hour"], missed_there))
  drawn = charts.curves(lines, "false accepts an hour", "% missed", marks, True)
  if not drawn:
    return Markup()
  caption = (
    f"The DET curve: what is missed of {det['positives']} recordings of the "
    f"wake word ({det['positives_are']}), over false accepts an hour in "
    f"{hours(det['hours'])} of sound without it, at each cutoff. Large dots: "
    "the manifest's cutoff. Nearer to the lower left corner is better."
  )
  return section("The DET curve", [figure(drawn, caption)])


def traces_section(report: Report) -> Markup:
  """Probability over time of a few recordings."""
  drawn = [_trace(trace) for trace in report.get("traces", ())]
  if not drawn:
    return Markup()
  return section(
    "Probability over time", [element("div", joined(drawn), "pair")]
  )


def _trace(trace: Report) -> Markup:
  """One recording: the mean over the sliding window at each step."""
  lines = []
  for curve in trace["curves"]:
    values = curve["probability"]
    times = [
      trace["first_second"] + i * trace["step_seconds"]
      for i in range(len(values))
    ]
    lines.append((curve["name"], times, values))
  ends = [lines[0][1][0], lines[0][1][-1]]
  middle = sum(ends) / 2
  cutoff = trace["cutoff"]
  lines.append((f"cutoff {cutoff:g}", [ends[0], middle, ends[1]], [cutoff] * 3))
  graph = charts.curves(lines, "seconds", "probability", names_above=True)
  return figure(graph, f"{trace['name']}: {trace['told']}")


def hours(length: float) -> str:
  """A length of sound for people: minutes below two hours."""
  return f"{60 * length:.1f} minutes" if length < 2 else f"{length:.1f} hours"


def det_png(report: Report) -> bytes:
  """The DET curves of a report as a picture.

  Raises:
    TflmFgError: if matplotlib is missing.
  """
  figure, (axes,) = plots.new_figure(1)
  for curve, colour in zip(report["det"]["curves"], plots.PHASE_COLOURS):
    places, missed = det_points(curve["an_hour"], curve["recall"])
    axes.plot(
      places, missed, color=colour, label=curve["name"], drawstyle="steps-post"
    )
    point = curve["at_cutoff"]
    axes.plot(
      point["an_hour"],
      100 * (1 - point["recall"]),
      "o",
      color=colour,
      label=f"cutoff {point['cutoff']:g}",
    )
  axes.set(
    xlabel=f"false accepts an hour, in {hours(report['det']['hours'])}",
    ylabel=f"% missed of {report['det']['positives']} recordings",
    title=f"{report['wake_word']}: DET curve",
    xlim=(0, MOST_AN_HOUR),
    ylim=(0, 100),
  )
  axes.legend()
  return plots.to_png(figure)
