"""tflm-fg-kws features: turn a folder of recordings into an .npz.

  tflm-fg-kws features --data=speech --model=kws.tflite --out=speech.npz
  tflm-fg-kws features --data=speech --frontend=mfcc --out=speech.npz
  tflm-fg-kws features --data=speech --model=kws.tflite --max_kb=96
    --layer=head --out=kws.replay.npz

With --model the features are integers on the grid of the model's own input,
and y counts its classes; without it they are floats, and y counts the folders.
The .npz is what tflm-fg-adapt and tflm-fg-evaluate read. With --max_kb it holds
as many clips as fit, the classes in turn: a replay set, so that a model that
learns does not forget. With --layer=head a clip takes a few dozen bytes, and
only the last layer can learn with them.
"""

from __future__ import annotations

import sys

from absl import flags

from apps import cli
from apps.flags import sound_flags
from apps.kws.audio import folders
from apps.kws.audio.augment import Augment
from apps.kws.features import examples
from apps.kws.features.registry import NAMES, named
from apps.kws.model import saved_clips, spotter
from tflm_fg import files
from tflm_fg.types import TflmFgError

cli.section(cli.NEEDED)
_DATA = flags.DEFINE_string(
  "data", None, "a folder with WORD/*.wav", required=True
)
_OUT = flags.DEFINE_string("out", None, "the .npz", required=True)
cli.section(cli.OFTEN)
_MODEL = flags.DEFINE_string(
  "model",
  None,
  "the model whose input and classes they are for; by default, unless "
  "--frontend is given, the one that ships",
)
_FRONTEND = flags.DEFINE_enum(
  "frontend", None, list(NAMES), "by default what the model says"
)
cli.section(cli.SOMETIMES)
_CLASSES = flags.DEFINE_list(
  "classes",
  None,
  "names of the outputs; by default the model's, or the folders",
)
_SPLIT = flags.DEFINE_enum(
  "split", "all", list(folders.SPLITS), "which part, by the files' names"
)
_COPIES = flags.DEFINE_integer(
  "copies", 0, "augmented copies of every clip, beside it", 0, 1000
)
_MAX_KB = flags.DEFINE_integer(
  "max_kb", None, "keep no more clips than fit into so many kB", 1
)
_LAYER = flags.DEFINE_enum(
  "layer",
  "input",
  list(saved_clips.LAYERS),
  "keep what --model is given, or what its last layer is given",
)
_SEED = flags.DEFINE_integer("seed", 0, "same seed, same bytes", 0)


def main() -> None:
  """Reads, computes, saves."""
  files.require_outputs(cli.values(_OUT), cli.values(_MODEL))
  model = None
  if _MODEL.value or not _FRONTEND.value:
    model = spotter.load(_MODEL.value, _FRONTEND.value, _CLASSES.value)
    frontend, classes = model.frontend, model.classes
  else:
    frontend = named(_FRONTEND.value)
    classes = tuple(_CLASSES.value or folders.classes_of(_DATA.value))
  if _LAYER.value == "head" and model is None:
    raise TflmFgError("--layer=head needs --model, whose layers it runs")
  found = examples.read(
    _DATA.value,
    frontend,
    classes,
    split=_SPLIT.value,
    augment=Augment(copies=_COPIES.value, seed=_SEED.value),
    seed=_SEED.value,
    name="--classes" if model is None else model.name,
    strict=sound_flags.STRICT.value,
  )
  if model is not None:
    kept = saved_clips.of(model, found.x, found.y, _LAYER.value)
  else:
    kept = saved_clips.Kept(
      x=found.x, y=found.y, classes=classes, frontend=frontend
    )
  if _MAX_KB.value is not None:
    kept = saved_clips.packed(kept, "max_kb", _MAX_KB.value, _SEED.value)
  content = kept.to_bytes()
  files.write_atomically(_OUT.value, content)
  for note in found.notes:
    print(f"note: {note}")
  print(
    f"{_OUT.value}: {len(content)} bytes, {len(kept.y)} of {len(found)} clips "
    f"as {kept.x.dtype} {'x'.join(map(str, kept.x.shape[1:]))} ({frontend}), "
    f"{len(found.counts(classes))} classes"
  )


def run() -> int:
  """The subcommand."""
  return cli.launch(main, __name__, also=[sound_flags.__name__])


if __name__ == "__main__":
  sys.exit(run())
