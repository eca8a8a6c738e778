"""tflm-fg-kws demo: hear a new speaker badly, adapt, hear them well.

  tflm-fg-kws demo

Makes twelve classes of clips of voices that the shipped keyword spotter has
never heard, adapts it to each with forward passes alone, and scores it on other
clips of the same voices. What trains is a head that reads all layers, exactly;
--trainable=auto also tries prompts and biases, which takes longer. Forward
gradients on the last layer, and nothing else:

  tflm-fg-kws demo --trainable=head --method=sign-m-spsa --steps=16000

No download, no TensorFlow, under a minute.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from absl import flags

import tflm_fg
from apps import cli
from apps.kws.model.adaptation import method_of
from apps.kws.model.shipped import TARGETS, TITLES, clips_of, shipped_model
from tflm_fg import files, methods, plots
from tflm_fg.runtimes import NAMES
from tflm_fg.training import ProgbarLogger
from tflm_fg.types import TflmFgError

DEFAULT = "wide-head"
"""What trains where neither that nor a method is named."""

_DOMAIN = flags.DEFINE_list(
  "domain", list(TARGETS), f"who speaks: any of {', '.join(TARGETS)}"
)
_CLIPS = flags.DEFINE_integer("clips_per_word", 20, "clips a word to adapt to")
_TEST_CLIPS = flags.DEFINE_integer(
  "test_clips_per_word", 40, "other clips a word, to score on"
)
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
  results = {name: adapt_to(name, model) for name in _DOMAIN.value}
  for name, result in results.items():
    path = os.path.join(folder, f"{name}.tflite")
    files.write_atomically(path, result.model)
  png = os.path.join(folder, "demo.png")
  files.write_atomically(png, draw(results))
  reports = {name: dict(result.report) for name, result in results.items()}
  files.write_atomically(
    os.path.join(folder, "report.json"), cli.to_json(reports)
  )
  print_table(reports)
  print(f"\nadapted models, report.json and demo.png are in {folder}/")


def adapt_to(name: str, model: bytes) -> tflm_fg.AdaptResult:
  """Adapts to a domain's clips; scores on others of its clips."""
  train, test = clips_of(name, _CLIPS.value, _TEST_CLIPS.value, _SEED.value)
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


def print_table(reports: dict[str, dict[str, Any]]) -> None:
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


def draw(results: dict[str, tflm_fg.AdaptResult]) -> bytes:
  """One PNG: bars before and after, then loss and accuracy over passes."""
  figure, (bars, loss, accuracy) = plots.new_figure(3)
  for place, (name, result) in enumerate(results.items()):
    report, history = result.report, result.history
    before, after = (
      100 * report[f"accuracy_{when}"] for when in ("before", "after")
    )
    drawn = [
      bars.bar(place - 0.2, before, 0.4, color="0.75"),
      bars.bar(place + 0.2, after, 0.4, color=f"C{place}"),
    ]
    for bar in drawn:
      bars.bar_label(bar, fmt="%.0f")
    if not history.tests:  # too few clips to keep any aside
      continue
    passes, losses, shares = zip(*history.tests)
    # An exact phase is looked at but at its ends.
    style = {"color": f"C{place}", "marker": "." if len(passes) < 10 else ""}
    loss.plot(passes, losses, label=name, **style)
    accuracy.plot(passes, [100 * a for a in shares], **style)
  bars.set_xticks(range(len(results)), list(results))
  bars.set(ylim=(0, 108), ylabel="accuracy (%)", title="before (grey), after")
  loss.set(xlabel="forward passes", ylabel="validation loss (nats)")
  loss.set_ylim(bottom=0)
  if loss.lines:
    loss.legend(frameon=False)
  accuracy.set(xlabel="forward passes", ylabel="validation accuracy (%)")
  return plots.to_png(figure)


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__)


if __name__ == "__main__":
  sys.exit(run())
