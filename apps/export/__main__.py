"""tflm-fg-export: write what a device needs to train a model by itself.

  tflm-fg-export --model=kws.tflite --target=tflm --out=board
  tflm-fg-export --model=kws.tflite --target=tflm --out=board
    --trainable=prompt --prompt_gain --common_gain --samples=24
  tflm-fg-export --model=marked.tflite --target=tflm --out=board --steps=20

The target tflm is a folder of C and C++ for a microcontroller with TensorFlow
Lite Micro, which you bring: the model as arrays, the trainer, an adapter of 150
lines, and an example that learns from buttons. It has a CMakeLists.txt, and is
an Arduino library and an ESP-IDF component as well. The folder appears whole,
or not at all.
"""

from __future__ import annotations

import sys

from absl import flags

import tflm_fg
from apps import cli
from apps.export import tflm
from apps.flags import graph_flags, output_flags, setting_flags
from tflm_fg import files
from tflm_fg.marking import opened
from tflm_fg.tflite import read_mark

TARGETS = {"tflm": tflm.folder}
"""Name -> what makes the folder's files of a marked model."""

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "an int8 .tflite, marked or not", required=True
)
_TARGET = flags.DEFINE_enum(
  "target", None, list(TARGETS), "what the folder is for", required=True
)
_OUT = flags.DEFINE_string("out", None, "a new folder", required=True)
cli.section(cli.OFTEN)
_TRAINABLE = flags.DEFINE_string(
  "trainable",
  None,
  "what trains on the device: head (the last layer), wide-head, prompt (an "
  "offset a channel of the input, and with --prompt_gain a gain), or a regular "
  "expression on tensors' names; by default what the file's mark says, or head",
)
_SAMPLES = flags.DEFINE_integer(
  "samples", 32, "how many samples the device holds to train on", lower_bound=2
)


def main() -> None:
  """Marks, takes apart, writes."""
  path = _MODEL.value
  files.require_new_folder(_OUT.value)
  marked = _marked(path)
  contents, told = TARGETS[_TARGET.value](
    marked,
    setting_flags.method(),
    setting_flags.objective(),
    _SAMPLES.value,
    path,
  )
  files.write_folder(_OUT.value, contents)
  for note in marked.notes:
    print(f"mended: {note}")
  print(f"{_OUT.value}: {len(contents)} files; begin with its README.md")
  print("\n".join(told))


def _marked(path: str) -> tflm_fg.MarkedModel:
  """The model with a mark: its own, or what the flags say."""
  file = opened(path, None, output_flags.OUTPUT.value, output_flags.INPUT.value)
  own = read_mark(file)
  if own is not None and _TRAINABLE.value is None:
    return tflm_fg.MarkedModel(file, own, ())
  return tflm_fg.mark_trainable(
    file,
    _TRAINABLE.value or "head",
    graph_options=graph_flags.graph_options(),
  )


def run() -> int:
  """The console script."""
  also = [m.__name__ for m in (setting_flags, graph_flags, output_flags)]
  return cli.launch(main, __name__, also=also)


if __name__ == "__main__":
  sys.exit(run())
