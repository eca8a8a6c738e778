"""A .tflite as an array in C."""

from __future__ import annotations

import re

import pytest

from apps.export import c_target
from tests import models
from tests.micro.compiling import compiled, needs_gcc, output_of
from tflm_fg.types import TflmFgError

MAIN = """
#include <stdio.h>
#include "{name}.h"
int main(void) {{
  printf("%d ", (int)((uintptr_t){array} % 16));
  fwrite({array}, 1, {array_upper}_BYTES, stdout);
  return sizeof {array} != {array_upper}_BYTES;
}}
"""


@needs_gcc
@pytest.mark.parametrize("name", ["model", "1-my kws", "int"])
def test_the_array_holds_the_file_on_a_boundary_of_16_bytes(name, tmp_path):
  data = models.conv_model(seed=2)
  made = c_target.pair(data, str(tmp_path / f"{name}.h"), "some.tflite")
  assert sorted(p.rsplit(".")[-1] for p in made) == ["c", "h"]
  for path, content in made.items():
    with open(path, "wb") as file:
      file.write(content)
  source = made[str(tmp_path / f"{name}.c")]
  assert b"__attribute__((aligned(16)))" in source
  (array,) = re.findall(
    rb"extern const uint8_t (\w+)\[", made[str(tmp_path / f"{name}.h")]
  )
  array = array.decode()
  main = MAIN.format(name=name, array=array, array_upper=array.upper())
  program = compiled(
    tmp_path, main, (), "-I", str(tmp_path), str(tmp_path / f"{name}.c")
  )
  assert output_of(program) == b"0 " + data


def test_a_name_that_ends_no_header_is_refused_with_one_that_does():
  for out in ("model.c", "model", ".h"):
    with pytest.raises(TflmFgError, match=r"--out=model\.h"):
      c_target.pair(b"data", out, "some.tflite")


def test_letters_that_c_does_not_know_stay_out_of_the_comment():
  made = c_target.pair(b"data", "m.h", "some/caf\u00e9\n.tflite")
  assert made["m.h"].startswith(b"/* caf??.tflite as an array in C: 4 bytes.")


def test_a_header_whose_name_is_of_no_alphabet_is_included_by_its_bytes():
  made = c_target.pair(b"data", "caf\udce9.h", "some.tflite")
  assert b'#include "caf\xe9.h"' in made["caf\udce9.c"]
