"""Enhancements by name: the settings that each adds to the plain method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]

VARIANTS: dict[str, Fields] = {
  "plain": {},
  "m=3": {"num_directions": 3},
  "m=8": {"num_directions": 8},
  "normal": {"directions": "normal"},
  "momentum": {"momentum": 0.9},
  "guided": {"momentum": 0.9, "guidance": 0.3},
  "kernel-wise": {"kernel_wise": True},
  "sparse-50": {"sparsity": 0.5},
  "sparse-90": {"sparsity": 0.9},
  "sparse-90-seed": {"sparsity": 0.9, "sparse_by": "seed"},
  "blocks": {"blocks": 2},
  # Of one direction: what sgd takes along a sign is all signs already.
  "sign": {"optimizer": "sign", "num_directions": 3},
  "frank-wolfe": {"optimizer": "frank-wolfe"},
  "stochastic": {"rounding": "stochastic"},
  "error-feedback": {"rounding": "error-feedback"},
  "cosine": {"decay": "cosine"},
  "constant": {"decay": "constant"},
  "anchor": {"anchor": 0.01},
}

OF_LAYERS = ("blocks",)
"""What is no different from the plain method where one layer trains."""
