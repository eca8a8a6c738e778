"""Flags of how samples are read, for programs that take any form of them."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

import tflm_fg
from apps import cli
from tflm_fg import files
from tflm_fg.marking import Model
from tflm_fg.samples import LoadedSamples
from tflm_fg.types import TflmFgError

FORMS = "an .npz, x.npy,y.npy, a .csv or a folder with CLASS/*.png"
"""What a flag of samples takes, for its help."""

cli.section(cli.SOMETIMES)
CLASSES_FILE = flags.DEFINE_string(
  "classes_file",
  None,
  "for samples whose classes are words: the names of the model's outputs, one "
  "a line, in order; by default what the model's file says",
)
PIXEL_RANGE = flags.DEFINE_list(
  "pixel_range",
  None,
  "for images: what the pixels 0 and 255 are in the model's units, as -1,1; by "
  "default what the input's quantization says",
)
WINDOW = flags.DEFINE_integer(
  "window",
  None,
  "for a .csv whose rows follow each other in time: rows of a sample; by "
  "default the input's first axis",
  lower_bound=1,
)
STRIDE = flags.DEFINE_integer(
  "stride",
  None,
  "rows from one window of a .csv to the next; by default as many as a window "
  "has, so that none overlap",
  lower_bound=1,
)
STRICT = flags.DEFINE_boolean(
  "strict",
  False,
  "stop at a damaged image, which is else passed over and named",
)

HOLDERS = (CLASSES_FILE, PIXEL_RANGE, WINDOW, STRIDE, STRICT)


def load(
  source: str,
  model: Model,
  *,
  part: str = "train",
  labels: bool = True,
  classes: Sequence[str] | None = None,
  output: str | None = None,
  input: str | None = None,
) -> LoadedSamples:
  """Loads samples as the flags say, and prints what should be known of them.

  Args:
    source: the value of a flag; see `tflm_fg.load_samples`.
    model: what they are for.
    part: "train" or "test", for a source that has both.
    labels: whether there must be targets.
    classes: names of the outputs, where they are known already.
    output: which of several outputs is meant.
    input: which of several inputs is meant.

  Raises:
    TflmFgError: in one line, if they cannot be read.
  """
  loaded = tflm_fg.load_samples(
    source,
    model,
    part=part,
    labels=labels,
    classes=classes or _classes(),
    window=WINDOW.value,
    stride=STRIDE.value,
    pixel_range=_pixel_range(),
    strict=STRICT.value,
    output=output,
    input=input,
  )
  for note in loaded.notes:
    print(f"note: {note}")
  return loaded


def sources(*holders: flags.FlagHolder[str | None]) -> dict[str, str | None]:
  """The files that flags of samples name, for `files.require_outputs`."""
  found: dict[str, str | None] = {}
  for holder in holders:
    parts = (holder.value or "").split(",")
    for number, path in enumerate(filter(None, parts)):
      found[holder.name + " (labels)" * bool(number)] = path
  return found


def _pixel_range() -> tuple[float, float] | None:
  if PIXEL_RANGE.value is None:
    return None
  try:
    black, white = map(float, PIXEL_RANGE.value)
  except ValueError:
    raise TflmFgError(
      f"--pixel_range={','.join(PIXEL_RANGE.value)}: need two numbers, as in "
      "--pixel_range=-1,1"
    ) from None
  return black, white


def _classes() -> list[str] | None:
  path = CLASSES_FILE.value
  if path is None:
    return None
  try:
    text = files.read_bytes(path).decode("utf-8-sig")
  except UnicodeDecodeError:
    raise TflmFgError(
      f"{path}: not text in UTF-8; name a class a line"
    ) from None
  names = [line.strip() for line in text.splitlines() if line.strip()]
  if not names or len(set(names)) < len(names):
    raise TflmFgError(f"{path}: need the classes' names, each once, one a line")
  return names
