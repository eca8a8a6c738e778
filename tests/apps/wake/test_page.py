"""The pages of wake words: all numbers, each called what it is."""

import html.parser

import pytest

from apps.wake import curves, page, printed
from tests.apps.wake import reports

WHEN, COMMANDS = "2026-01-01", [("The command:", "tflm-fg-wake adapt")]


@pytest.fixture(scope="module")
def adapted():
  return reports.of_adaptation()


@pytest.fixture(scope="module")
def shown(adapted):
  return page.adaptation_page(adapted, WHEN, COMMANDS)


def test_a_page_needs_no_other_file_and_no_script(shown):
  for outside in ("<script", "http://", "https://", "<link", "src="):
    assert outside not in shown


def test_the_page_of_an_adaptation_tells_before_and_after(shown):
  for told in (
    "25.0 % → 100.0 %",
    "false accepts an hour, sound kept aside",
    "in 30.0 minutes; lower is better",
    "The DET curve",
    "Probability over time",
    "missed before, heard after",
    "room/tv.wav",
    "0.97 → 0.981 ▲",
    "143 of 52,272",
    "142 of 300, 1 of 1",
    "10 recordings, 14.0 minutes of the stock",
    "report.json has the changed bytes",
    "0" * 64,
  ):
    assert told in shown, told


def test_texts_are_written_as_they_are(shown):
  assert "&lt;b&gt;names&lt;/b&gt;" in shown


def test_marks_and_not_colours_alone_say_what_is_missed(shown):
  assert "✗ 0.0" in shown and "✓ 1.000" in shown


def test_the_page_of_an_evaluation_has_one_column():
  shown = page.evaluation_page(reports.of_evaluation(), WHEN, COMMANDS)
  assert "50.0 %" in shown and "1 of 2; 95 % interval" in shown
  lead = shown.split("<h2>")[0].split("<h1>")[1]
  assert "→" not in lead and "before" not in lead


def test_pages_are_sound_html(shown):
  open_tags = []
  void = {"meta", "br", "line", "circle", "polyline"}

  class Reader(html.parser.HTMLParser):
    def handle_starttag(self, tag, attrs):
      if tag not in void:
        open_tags.append(tag)

    def handle_endtag(self, tag):
      if tag not in void:
        assert open_tags.pop() == tag

  Reader().feed(shown)
  assert not open_tags


def test_the_det_curve_takes_of_equal_costs_the_cutoff_that_hears_most():
  places, missed = curves.det_points([0, 0, 2, 99], [0.5, 0.75, 0.9, 1.0])
  assert places == [0, 2]
  assert missed == pytest.approx([25, 10])


def test_a_picture_of_the_det_curve_is_a_png(adapted):
  pytest.importorskip("matplotlib", reason="needs the extra plots")
  assert curves.det_png(adapted)[1:4] == b"PNG"


def test_the_printed_table_has_counts_and_rates(adapted, capsys):
  printed.print_adaptation(adapted)
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith("note: ")
  assert "1 of 4       4 of 4" in lines[2]
  assert lines[-1].startswith("143 of 52272 bytes of the file changed")


def test_the_printed_evaluation_names_what_is_missed_and_when(capsys):
  printed.print_evaluation(reports.of_evaluation())
  text = capsys.readouterr().out
  assert "recall: 1 of 2 recordings of others (50.0 %" in text
  assert "  missed: mine/0.wav, heard up to a cutoff of 0.0" in text
  assert "in 30.0 minutes of room (" in text
  assert "  room/tv.wav at " in text
  assert " 0.970 " in text and "*" in text


@pytest.mark.parametrize(
  ("seconds", "told"), [(0, "0:00.00"), (61.5, "1:01.50"), (-0.2, "0:00.00")]
)
def test_times_are_minutes_and_seconds(seconds, told):
  assert page.clock(seconds) == told


def test_without_a_false_accept_at_any_cutoff_no_curve_is_drawn():
  told = reports.of_evaluation()
  told["det"]["curves"][0]["events"] = [0] * 255
  shown = page.evaluation_page(told, WHEN, COMMANDS)
  assert "No cutoff lets in a false accept in 30.0 minutes" in shown
  assert "false accepts an hour</text>" not in shown


def test_a_page_names_what_was_played_and_whose_rule_rounds():
  shown = page.evaluation_page(reports.of_evaluation(), WHEN, COMMANDS)
  assert "<h1>hey_jarvis.tflite (Hey Jarvis), scored on others and room" in (
    shown
  )
  assert "rounded by ESPHome&#x27;s rule" in shown
