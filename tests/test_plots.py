"""Names in plots are drawn as they are."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from tflm_fg import plots

ODD = ("a$\\frac$b", "$x_", "us$ca$h", "\\$", "100 %", "$$", "^_{")


def drawn(name):
  figure, (axes,) = plots.new_figure(1)
  axes.plot([0, 1], [1, 2], label=name)
  axes.bar([0], [1], label=name)
  axes.set_xticks([0, 1], [name, "other"], rotation=90)
  axes.set_title(name)
  axes.set(xlabel=name, ylabel=name)
  axes.text(0, 1, name)
  axes.legend()
  figure.suptitle(name)
  return figure


@pytest.mark.parametrize("name", ODD)
def test_a_name_of_a_bar_is_no_formula(name):
  figure, (axes,) = plots.new_figure(1)
  axes.barh([name, "other"], [1, 2])
  assert plots.to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_no_formula(name):
  assert plots.to_png(drawn(name)).startswith(b"\x89PNG")


def test_dollars_are_drawn_and_do_not_end_in_slanted_letters():
  """Two dollars would hide themselves, and what is between them changes."""
  pixels = []
  for name in ("$x$", "x"):
    figure = drawn(name)
    plots.to_png(figure)
    text = figure.axes[0].title
    pixels.append(text.get_window_extent().width)
  assert pixels[0] > 2 * pixels[1]


def test_powers_at_a_logarithmic_axis_stay_formulas():
  figure, (axes,) = plots.new_figure(1)
  axes.plot(10.0 ** np.arange(5), np.arange(5))
  axes.set_xscale("log")
  plots.to_png(figure)
  labels = axes.xaxis.get_ticklabels()
  assert any("10^" in label.get_text() for label in labels)
  assert all(label.get_parse_math() for label in labels)
