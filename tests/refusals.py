"""What the tests of bad input share: a good case, and how a bad one ends.

Everything runs in this process; `tests/apps/test_programs.py` holds that
programs turn the error into one line and a status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tests.options import options
from tflm_fg.tflite import model_file
from tflm_fg.types import TflmFgError

MODEL = models.dense_model()
MARKED = tflm_fg.mark_trainable(MODEL).data
X, Y = models.separable(samples=48)
QUICK = options(method="sign-m-spsa", steps=3)


def adapt(model: bytes = MODEL, x: Any = X, y: Any = Y, **given: Any) -> Any:
  return tflm_fg.adapt(model, x, y, name="m.tflite", **{**QUICK, **given})


def refused(call: Callable[[], object], *words: str) -> str:
  """Runs what must be refused; the words must be in the message."""
  with pytest.raises(TflmFgError) as caught:
    call()
  message = str(caught.value)
  assert message.strip()
  assert len(message) < 500
  for word in words:
    assert word in message
  return message


def edited(edit: Callable[[schema.ModelT], None]) -> bytes:
  """The dense model: x, hidden kernel, bias, out, head kernel, bias, out."""
  model = model_file.read(MODEL)
  edit(model)
  return model_file.pack(model)
