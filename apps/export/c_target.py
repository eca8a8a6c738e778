"""The target c: a .tflite as an array in C, with its header."""

from __future__ import annotations

import hashlib
import os
import re

import numpy as np

from tflm_fg import files, micro
from tflm_fg.tflite import ModelFile
from tflm_fg.types import TflmFgError

ALIGNMENT = 16
"""Bytes on whose boundary the array starts: TFLite reads its constants there
in place."""


def export(path: str, out: str) -> list[str]:
  """Writes a header and the C file beside it.

  Args:
    path: of a .tflite, any that is sound.
    out: of the header.

  Returns:
    Lines for the user.

  Raises:
    TflmFgError: if the file is not sound, or `out` is no name of a header.
  """
  data = files.read_bytes(path)
  ModelFile.open(data, path)
  made = pair(data, out, path)
  for name in made:
    files.require_outputs({"out": name}, {"model": path})
  files.write_set(made)
  return [f"{' and '.join(made)}: {len(data):,} bytes of {path} as an array"]


def pair(data: bytes, out: str, source: str) -> dict[str, bytes]:
  """A header and the C file beside it.

  Args:
    data: the model.
    out: the path of the header, which ends in .h.
    source: the model's path, for a comment.

  Returns:
    The two files' bytes by their paths. They define `NAME_tflite`, an array
    of uint8_t, and NAME_TFLITE_BYTES, with the header's name as NAME.

  Raises:
    TflmFgError: if `out` is no name of a header.
  """
  stem, ending = os.path.splitext(os.path.basename(out))
  if ending != ".h" or not stem:
    raise TflmFgError(
      f"--out={out}: --target=c writes a header and the C file beside it; give "
      "a name that ends in .h, as in --out=model.h"
    )
  name = f"{_identifier(stem)}_tflite"
  told = (
    f"/* {_commented(os.path.basename(source))} as an array in C: {len(data)} "
    f"bytes.\n * SHA-256: {hashlib.sha256(data).hexdigest()}\n"
    " * Written by tflm-fg-export --target=c; do not edit. */\n"
  )
  array = micro.c_array(name, np.frombuffer(data, np.uint8), align=ALIGNMENT)
  header = _HEADER.format(
    told=told, name=name, macro=name.upper(), size=len(data)
  )
  c_path = f"{out.removesuffix('.h')}.c"
  c_text = f'{told}#include "{stem}.h"\n\n{array.removeprefix("static ")}'
  own = "surrogateescape"  # names of files are told with the bytes they have
  return {c_path: c_text.encode(errors=own), out: header.encode(errors=own)}


def _identifier(stem: str) -> str:
  """A C name of letters, digits and underscores that begins with no digit."""
  name = re.sub(r"\W+", "_", stem, flags=re.ASCII)
  return f"model_{name}" if name[0].isdigit() or name[0] == "_" else name


def _commented(text: str) -> str:
  """A file's name with no letters that C does not know."""
  return re.sub(r"[^ -~]", "?", text)


_HEADER = """\
{told}#ifndef {macro}_H_
#define {macro}_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {macro}_BYTES {size}

extern const uint8_t {name}[{macro}_BYTES];

#ifdef __cplusplus
}}
#endif

#endif /* {macro}_H_ */
"""
