"""tflm-fg-kws demo: hear a new speaker badly, adapt, hear them well.

  tflm-fg-kws demo
  tflm-fg-kws demo --domain=child --trainable=auto
  tflm-fg-kws demo --trainable=head --method=sign-m-spsa --steps=16000

Makes twelve classes of clips of voices that the shipped keyword spotter has
never heard, adapts it to each with forward passes alone, and scores it on other
clips of the same voices. What trains is a head that reads all layers, exactly;
--trainable=auto also tries prompts and biases, which takes longer. The third
line is forward gradients on the last layer, and nothing else.

No download, no TensorFlow, under a minute.
"""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

import tflm_fg
from apps import cli
from apps.kws.model.adaptation import method_of
from apps.kws.model.learning_curve import CurvePhase, curve_of
from apps.kws.model.shipped import TARGETS, TITLES, clips_of, shipped_model
from tflm_fg import files, methods, plots
from tflm_fg.callbacks import ProgbarLogger
from tflm_fg.runtimes import NAMES
from tflm_fg.types import Array, TflmFgError

Reports = Mapping[str, dict[str, Any]]
"""A report a voice."""

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
  reports, curves = {}, {}
  for name in _DOMAIN.value:
    result, test = adapt_to(name, model)
    result.save(os.path.join(folder, f"{name}.tflite"))
    reports[name] = dict(result.report)
    curves[name] = curve_of(result, test, _RUNTIME.value)
  png = os.path.join(folder, "demo.png")
  files.write_atomically(png, draw(curves, reports))
  files.write_atomically(
    os.path.join(folder, "report.json"), cli.to_json(reports)
  )
  print_table(reports)
  print(f"\nadapted models, report.json and demo.png are in {folder}/")


def adapt_to(
  name: str, model: bytes
) -> tuple[tflm_fg.AdaptResult, tuple[Array, Array]]:
  """Adapts to a domain's clips; scores on others of its clips, given back."""
  train, test = clips_of(name, _CLIPS.value, _TEST_CLIPS.value, _SEED.value)
  method = method_of(_METHOD.value, steps=_STEPS.value, seed=_SEED.value)
  result = tflm_fg.adapt(
    model,
    *train,
    test=test,
    trainable=_chosen(),
    runtime=_RUNTIME.value,
    method=method,
    callbacks=[ProgbarLogger(f"{name} adapt")],
    name="ds_cnn.tflite",
  )
  return result, test


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
