"""Random signs by their address, in products that fit 32 bits.

A hash of 16 bits: all products stay below 2**31, so that nothing depends on
what an engine makes of an overflow.
"""

from __future__ import annotations

import numpy as np

from tflm_fg.signatures.engine import Engine, Value

_MIXERS = ((7, 0x2C1B), (8, 0x5A4D))
_STEP_OF_ROWS, _STEP_OF_COLUMNS = 0x9E37, 0x79B9


def signs(
  e: Engine, seed: Value, step: Value, rows: int, columns: int
) -> Value:
  """Random signs by their address.

  Args:
    e: the engine.
    seed: int32 [1].
    step: int32 [1], at least 0; two steps that differ modulo 2**16 start from
      different states.
    rows: of the result.
    columns: of the result.

  Returns:
    int32 [rows, columns] of 1 and -1.
  """
  words = 1 << 16
  state = _mixed(_mixed(seed % words) ^ ((seed >> 16) % words))
  state = e.reshaped(_mixed(state ^ (step % words)), [1, 1])
  numbers = np.arange(rows)[:, None] * _STEP_OF_ROWS % words
  row = _mixed((state + e.constant(numbers)) % words)
  numbers = np.arange(columns)[None] * _STEP_OF_COLUMNS % words
  cell = _mixed(_mixed((row + e.constant(numbers)) % words))
  return 1 - (cell >> 15) * 2


def _mixed(h: Value) -> Value:
  """Mixes 16 bits; what differs still differs."""
  for bits, factor in _MIXERS:
    h = (h ^ (h >> bits)) * factor % (1 << 16)
  return h ^ (h >> 9)
