"""Random signs by their address, in products that fit 32 bits.

A hash of 16 bits: all products stay below 2**31, so that nothing depends on
what an engine makes of an overflow.
"""

from __future__ import annotations

import numpy as np

from tflm_fg.signatures.engine import Engine, Value

_WORDS = 1 << 16
_ROUNDS = ((7, 0x2C1B), (8, 0x5A4D))
_ROW, _COLUMN = 0x9E37, 0x79B9


def signs(
  e: Engine, seed: Value, step: Value, rows: int, columns: int
) -> Value:
  """Random signs by their address.

  Args:
    e: the engine.
    seed: int32 [1, 1].
    step: int32 [1, 1], at least 0; what differs modulo 2**16 gives others.
    rows: of the result.
    columns: of the result.

  Returns:
    int32 [rows, columns] of 1 and -1.
  """
  state = _mixed(((seed >> 16) ^ seed ^ step) % _WORDS)
  across = np.arange(columns)[None] * _COLUMN % _WORDS
  down = np.arange(rows)[:, None] * _ROW % _WORDS
  cell = (state + e.constant(across) + e.constant(down)) % _WORDS
  return 1 - (_mixed(cell) >> 15) * 2


def _mixed(h: Value) -> Value:
  """Mixes 16 bits; what differs still differs."""
  for bits, factor in _ROUNDS:
    h = ((h >> bits) ^ h) * factor % _WORDS
  return h
