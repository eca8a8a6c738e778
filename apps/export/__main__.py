"""tflm-fg-export: write what a device needs to train a model by itself.

  tflm-fg-export --model=kws.tflite --target=signatures --out=trains.tflite
  tflm-fg-export --model=adapted.tflite --target=web --out=page.tflite
  tflm-fg-export --model=kws.tflite --target=tflm --out=board
  tflm-fg-export --model=kws.tflite --target=tflm --out=board
    --trainable=prompt --prompt_gain --common_gain --samples=24
  tflm-fg-export --model=marked.tflite --target=tflm --out=board --steps=20
  tflm-fg-export --model=trains.tflite --target=c --out=model.h
  tflm-fg-export --model=adapted.tflite --target=patch --base=kws.tflite
    --out=patch.bin
  tflm-fg-export --model=trains.tflite --learned=weights.bin --target=patch
    --base=kws.tflite --out=patch.bin

The target signatures is one .tflite for LiteRT on Android, iOS, the web and in
C, C++, Java or Python. It trains itself: signatures remember samples, train the
last layer and give its weights. It has builtin operators alone.

The target web is the model with float32 where it had int8, uint8 or int16 at
its inputs and outputs, since LiteRT.js refuses these in a page. What lies
between stays the same, and so does what it gives.

The target tflm is a folder of C and C++ for a microcontroller with TensorFlow
Lite Micro, which you bring: the model as arrays, the trainer, an adapter of 150
lines, and an example that learns from buttons. It has a CMakeLists.txt, and is
an Arduino library and an ESP-IDF component as well.

The target c is any .tflite as an array in C: a header and the C file beside it.

The target patch is what changed between two files, for ten lines in any
language to apply: between a base and what was adapted, or what a file that
trains itself has learned.

What is written appears whole, or not at all.
"""

from __future__ import annotations

import sys

from absl import flags

from apps import cli
from apps.export.targets import TARGETS, require_read
from apps.flags import export_flags, graph_flags, output_flags, setting_flags

cli.section(cli.NEEDED)
_MODEL = flags.DEFINE_string(
  "model", None, "an int8 .tflite, marked or not", required=True
)
_TARGET = flags.DEFINE_enum(
  "target", None, list(TARGETS), "what is written", required=True
)
_OUT = flags.DEFINE_string(
  "out", None, "a new file, or with --target=tflm a new folder", required=True
)


def main() -> None:
  """Writes what the target says."""
  require_read(_TARGET.value)
  print("\n".join(TARGETS[_TARGET.value](_MODEL.value, _OUT.value)))


def run() -> int:
  """The console script."""
  modules = (export_flags, setting_flags, graph_flags, output_flags)
  return cli.launch(main, __name__, also=[m.__name__ for m in modules])


if __name__ == "__main__":
  sys.exit(run())
