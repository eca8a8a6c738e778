"""What docs/mobile.md tells to apply a patch with does so."""

from __future__ import annotations

import contextlib
import pathlib
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.export import patch
from tests.apps.test_export_patch import pair
from tests.micro.compiling import compiled, needs_gcc, output_of
from tflm_fg import micro

PAGE = pathlib.Path(__file__).parent.parent.parent / "docs" / "mobile.md"


def blocks(kind):
  """The page's blocks of a language that define the function."""
  found = re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
  return [block for block in found if "patched(" in block]


def of_python():
  scope = {}
  (block,) = blocks("python")
  exec(block, scope)
  return scope["patched"]


def test_the_python_of_the_page_applies_a_patch():
  base, result = pair(inserted=b"put in")
  assert of_python()(base, patch.make(base, result)) == result


def test_the_python_of_the_page_refuses_another_file():
  base, result = pair()
  with pytest.raises(ValueError, match="no patch of this file"):
    of_python()(result, patch.make(base, result))


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_the_python_of_the_page_refuses_a_changed_bit(byte, bit):
  base, result = pair(inserted=b"some")
  made = bytearray(patch.make(base, result))
  made[byte % len(made)] ^= 1 << bit
  with contextlib.suppress(ValueError, struct.error):
    assert of_python()(base, bytes(made)) == result


MAIN = """
#include <stdio.h>
{function}
{arrays}
int main(void) {{
  static uint8_t out[{size}];
  const size_t done = patched(base, sizeof base, patch, {given}, out, {room});
  fwrite(out, 1, done, stdout);
  return 0;
}}
"""


@needs_gcc
@pytest.mark.parametrize("fault", ["", "cut", "room"])
def test_the_c_of_the_page_applies_a_patch(fault, tmp_path):
  base, result = pair(inserted=b"put in")
  made = patch.make(base, result)
  (function,) = blocks("c")
  arrays = "".join(
    micro.c_array(name, np.frombuffer(data, np.uint8))
    for name, data in (("base", base), ("patch", made))
  )
  main = MAIN.format(
    function=function,
    arrays=arrays,
    size=len(result),
    given=len(made) - 20 if fault == "cut" else "sizeof patch",
    room=len(result) - 1 if fault == "room" else "sizeof out",
  )
  program = compiled(tmp_path, main, ())
  assert output_of(program) == (b"" if fault else result)
