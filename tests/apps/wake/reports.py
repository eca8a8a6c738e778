"""Reports of wake words as the programs make them, for tests of pages."""

import numpy as np

from apps.wake import report, scores
from apps.wake.scores import Played
from tflm_fg.detection import Rule

RULE = Rule(cutoff=0.97, window=5)
BEFORE, AFTER = "before", "after"


def spoken(seed, peak, length=80):
  """Outputs of a recording: a bump of probability at its middle."""
  rng = np.random.default_rng(seed)
  places = np.arange(length) - length * 0.7
  bump = peak * np.exp(-((places / 8) ** 4)) + rng.uniform(0, 4, length)
  return np.clip(bump, 0, 255).astype(np.uint8)[:, None]


def positives(peaks):
  return [
    Played(f"mine/{i}.wav", spoken(i, peak), 1.2)
    for i, peak in enumerate(peaks)
  ]


def negatives(seed, hours=0.5, spikes=6):
  rng = np.random.default_rng(seed)
  outputs = rng.integers(0, 30, int(hours * 120_000)).astype(np.uint8)
  for at in rng.integers(200, len(outputs) - 200, spikes):
    outputs[at : at + 6] = 255 if at % 2 else 200
  return [Played("room/tv.wav", outputs[:, None], 0.0)]


def base():
  return {
    "model": "hey_jarvis.tflite",
    "model_bytes": 52272,
    "wake_word": "Hey Jarvis",
    "cutoff": 0.97,
    "window": 5,
    "step_seconds": 0.03,
    "quantization": "esphome",
    "runtime": "litert",
    "versions": {"numpy": "2"},
    "seed": 0,
    "notes": ["<b>names</b> are written as they are"],
  }


def of_adaptation():
  before, after = positives([20, 60, 200, 255]), positives([255, 250, 255, 252])
  wrong = negatives(0), negatives(1)
  hits = [scores.heard(one, RULE) for one in (before, after)]
  events = [scores.false_accepts(one, RULE) for one in wrong]
  curves = [
    (name, scores.curve(heard, other, RULE), RULE)
    for name, heard, other in zip((BEFORE, AFTER), (before, after), wrong)
  ]
  rows = [
    report.recall_row("your other recordings", hits[1], hits[0]),
    report.recall_row("voices that it heard before", hits[1], hits[1]),
  ]
  return base() | {
    "first": ["The cutoff was moved."],
    "recall": rows,
    "false_accepts": [
      report.events_row("sound kept aside", 0.5, events[1], events[0])
    ],
    "recordings": report.recording_rows(hits[1], hits[0]),
    "events": report.event_rows(events[1], events[0]),
    "det": report.det(curves, "not learned from"),
    "traces": [
      report.trace(
        [(BEFORE, before[0], RULE), (AFTER, after[0], RULE)],
        "missed before, heard after",
      ),
      report.trace(
        [(BEFORE, before[3], RULE), (AFTER, after[3], RULE)], "heard by both"
      ),
    ],
    "cutoff_before": 0.97,
    "cutoff_after": 0.981,
    "tried": [{"what": "the manifest's cutoff", "came_of_it": "taken"}],
    "changed": {
      "bytes": 143, "weights": 142, "all_weights": 300, "biases": 1,
      "all_biases": 1,
    },
    "learned_from": {
      "positives": 10,
      "told": "10 recordings, 14.0 minutes of the stock's negatives",
    },
    "seconds": 12.3,
    "out_sha256": "0" * 64,
  }  # fmt: skip


def of_evaluation():
  hits = scores.heard(positives([20, 255]), RULE)
  wrong = negatives(0)
  events = scores.false_accepts(wrong, RULE)
  curve = scores.curve(positives([20, 255]), wrong, RULE)
  return base() | {
    "recall": [report.recall_row("others", hits)],
    "false_accepts": [report.events_row("room", curve.hours, events)],
    "recordings": report.recording_rows(hits),
    "events": report.event_rows(events),
    "det": report.det([("now", curve, RULE)], "others"),
    "traces": [],
  }
