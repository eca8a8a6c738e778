"""tflm-fg-kws demo: hear a new speaker badly, adapt, hear them well.

  tflm-fg-kws demo
  tflm-fg-kws demo --domain=child --trainable=auto
  tflm-fg-kws demo --trainable=head --method=sign-m-spsa --steps=16000

Makes twelve classes of clips of voices that the shipped keyword spotter has
never heard, adapts it to each with forward passes alone, and scores it on other
clips of the same voices. What trains is a head that reads all layers, exactly;
--trainable=auto also tries prompts and biases, which takes longer. The third
line is forward gradients on the last layer, and nothing else.

Then comes what people mostly have: clips of the first voice's two words that
are misheard most, and of no other. The other ten are scored too.

No download, no TensorFlow, under a minute.
"""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

import tflm_fg
from apps import cli, outputs
from apps.kws.model.adaptation import method_of
from apps.kws.model.learning_curve import CurvePhase, curve_of
from apps.kws.model.scores import score
from apps.kws.model.shipped import TARGETS, TITLES, clips_of, shipped_model
from apps.kws.model.spotter import load
from tflm_fg import files, methods, plots
from tflm_fg.callbacks import ProgbarLogger
from tflm_fg.runtimes import NAMES
from tflm_fg.types import Array, TflmFgError

Reports = Mapping[str, dict[str, Any]]
"""A report a voice."""

Part = tuple[Array, Array]
"""Clips and their classes."""

MISHEARD = "two words misheard"
"""The report of clips of two words alone; in its `misheard` are their names."""

DEFAULT = "wide-head"
"""What trains where neither that nor a method is named."""

cli.section(cli.OFTEN)
_DOMAIN = flags.DEFINE_list(
  "domain", list(TARGETS), f"who speaks: any of {', '.join(TARGETS)}"
)
_CLIPS = flags.DEFINE_integer("clips_per_word", 20, "clips a word to adapt to")
_TEST_CLIPS = flags.DEFINE_integer(
  "test_clips_per_word", 40, "other clips a word, to score on"
)
_TWO_WORDS = flags.DEFINE_boolean(
  "two_words",
  True,
  "then adapt to clips of the first voice's two most misheard words alone",
)
cli.section(cli.SOMETIMES)
_TRAINABLE = flags.DEFINE_string(
  "trainable",
  None,
  f"as for tflm-fg-adapt; by default {DEFAULT}, or head where a method is "
  "named",
)
_METHOD = flags.DEFINE_enum(
  "method", "auto", list(methods.registered()), "as for tflm-fg-adapt"
)
_STEPS = flags.DEFINE_integer("steps", None, "by default the method's own", 1)
_SEED = flags.DEFINE_integer("seed", 0, "of the voices and of the training")
_RUNTIME = flags.DEFINE_enum(
  "runtime", "litert", list(NAMES), "the engine that runs the passes"
)
_OUT_DIR = flags.DEFINE_string(
  "out_dir", "kws_demo", "folder for demo.png, report.json and the models"
)


def main() -> None:
  """Makes clips, adapts, scores, draws."""
  for name in _DOMAIN.value:
    if name not in TARGETS:
      raise TflmFgError(
        f"--domain={name!r} is unknown; choose of {', '.join(TARGETS)}"
      )
  plots.require_matplotlib()
  folder = _OUT_DIR.value
  files.make_folder(folder)
  model = shipped_model()
  reports, curves, clips, models = {}, {}, {}, {}
  for name in _DOMAIN.value:
    clips[name] = clips_of(name, _CLIPS.value, _TEST_CLIPS.value, _SEED.value)
    result = adapt_to(name, model, *clips[name])
    models[f"{name}.tflite"] = result.model
    reports[name] = outputs.telling_of(result.report, result.model)
    curves[name] = curve_of(result, clips[name][1], _RUNTIME.value)
  told = None
  if _TWO_WORDS.value:
    result, words = adapt_to_two_words(_DOMAIN.value[0], model, clips)
    models["two_words.tflite"] = result.model
    told = outputs.telling_of(result.report, result.model) | {"misheard": words}
  told_of_all = {**reports, **({MISHEARD: told} if told else {})}
  contents = {
    "demo.png": draw(curves, reports),
    "report.json": cli.to_json(told_of_all),
    **models,
  }
  files.write_set({os.path.join(folder, n): c for n, c in contents.items()})
  print_table(reports)
  if told:
    print_two_words(TITLES[_DOMAIN.value[0]], told)
  print(f"\nadapted models, report.json and demo.png are in {folder}/")


def adapt_to(
  name: str, model: bytes, train: Part, test: Part
) -> tflm_fg.AdaptResult:
  """Adapts to some clips of a domain; scores on others of it."""
  method = method_of(_METHOD.value, steps=_STEPS.value, seed=_SEED.value)
  return tflm_fg.adapt(
    model,
    *train,
    test=test,
    trainable=_chosen(),
    runtime=_RUNTIME.value,
    method=method,
    callbacks=[ProgbarLogger(f"{name} adapt")],
    name="ds_cnn.tflite",
  )


def adapt_to_two_words(
  name: str, model: bytes, clips: Mapping[str, tuple[Part, Part]]
) -> tuple[tflm_fg.AdaptResult, list[str]]:
  """Adapts to a domain's clips of two words alone.

  They are those of which the fewest training clips are heard rightly, as a user
  would notice; silence and unknown words are none.

  Returns:
    What came of it, scored on clips of all words; and the two words.
  """
  (x, y), test = clips[name]
  spotter = load(None)
  heard = score(spotter.open(_RUNTIME.value), x, y).words(spotter.classes)
  own = [row for row in heard if row["word"] in spotter.words]
  own.sort(key=lambda row: row["recall"])
  words = [row["word"] for row in own[:2]]
  some = np.isin(y, [spotter.classes.index(word) for word in words])
  result = adapt_to(f"{name}, two words", model, (x[some], y[some]), test)
  return result, words


def print_two_words(who: str, told: Mapping[str, Any]) -> None:
  """Before and after of the two words and of the others, for people."""
  few, rest = shown_and_others(told)
  print(f"\n{who}, clips of {' and '.join(told['misheard'])} alone:")
  for title, (clips, before, after) in (
    ("these two words", few),
    (f"the other {len(told['absent_classes'])} classes", rest),
  ):
    print(f"{title:38} {clips:5d} {100 * before:5.1f} % {100 * after:5.1f} %")


def shown_and_others(
  told: Mapping[str, Any],
) -> tuple[tuple[int, float, float], tuple[int, float, float]]:
  """Clips and accuracies of classes that are learned from, and of the others.

  Args:
    told: a report.

  Returns:
    Clips, accuracy before and accuracy after; of each.
  """
  parts = []
  for absent in (False, True):
    rows = [
      row
      for row in told["classes"]
      if (row["class"] in told["absent_classes"]) == absent
      and row["scored_samples"]
    ]
    clips = sum(row["scored_samples"] for row in rows)
    before, after = (
      sum(row["scored_samples"] * row[f"accuracy_{when}"] for row in rows)
      / max(1, clips)
      for when in ("before", "after")
    )
    parts.append((clips, before, after))
  return parts[0], parts[1]


def print_table(reports: Reports) -> None:
  """Before and after, for people."""
  print(
    f"\n{'who':38} {'clips':>5} {'before':>7} {'after':>7}  passes  seconds"
  )
  for name, r in reports.items():
    print(
      f"{TITLES[name]:38} {r['scored_samples']:5d} "
      f"{100 * r['accuracy_before']:5.1f} % {100 * r['accuracy_after']:5.1f} % "
      f"{r['forward_passes']:7d} {r['seconds']:8.1f}"
    )
  print()
  for name, r in reports.items():
    print(
      f"{name}: {r['trainable_parameters']} numbers ({candidate_of(r)}) by "
      f"{r['method']}, {r['trainer_bytes']} bytes beyond what inference needs, "
      f"{r['added_bytes']} bytes more of model"
    )


def candidate_of(report: dict[str, Any]) -> str:
  """Where the trained numbers are: the candidate taken, or the flag's."""
  taken = [
    candidate["trainable"]
    for candidate in report["candidates"]
    if candidate["chosen"]
  ]
  return taken[0] if taken else _chosen()


def _chosen() -> str:
  """What shall train: as the user says, or `DEFAULT`."""
  by_default = DEFAULT if _METHOD.value == "auto" else "head"
  return _TRAINABLE.value or by_default


def draw(curves: Mapping[str, Sequence[CurvePhase]], reports: Reports) -> bytes:
  """One PNG: a panel a voice, accuracy on its test clips over passes."""
  figure, panels = plots.new_figure(len(curves), width=3.4, height=3.7)
  for panel, (name, phases) in zip(panels, curves.items()):
    before, after = (
      100 * reports[name][f"accuracy_{when}"] for when in ("before", "after")
    )
    runs = [
      (p.title, p.passes, [100 * a for a in p.accuracies]) for p in phases
    ]
    plots.draw_phases(panel, runs, before, after)
    panel.set_title("\n".join(textwrap.wrap(TITLES[name], 26)))
    panel.set(xlabel="forward passes", ylim=(_bottom(curves, reports), 109))
    panel.label_outer()
  panels[0].set_ylabel("test clips heard rightly (%)")
  return plots.to_png(figure)


def _bottom(
  curves: Mapping[str, Sequence[CurvePhase]], reports: Reports
) -> float:
  """Where the panels' axis begins: one value for all, room for words."""
  shares = [a for own in curves.values() for p in own for a in p.accuracies]
  shares += [report["accuracy_before"] for report in reports.values()]
  return max(0.0, 20.0 * math.floor(5 * min(shares) - 0.75))


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
