"""Make the cells of a grid from its axes, each once and in one order."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tflm_fg import methods
from tflm_fg.types import TflmFgError

PERTURBING = tuple(
  name
  for name, kind in methods.registered().items()
  if issubclass(kind, methods.DirectionalMethod) and kind is not methods.Auto
)
"""Methods that perturb weights: they take any precision and variant."""

_WITH_FLOAT_TWIN = ("sign-m-spsa", "spsa")

PLAIN = "sign-m-spsa"
"""The method that the others and all variants are compared with."""

METHODS = (
  "zero-shot",
  "backprop",
  *PERTURBING,
  "node",
  "per-sample",
  "alternation",
  "closed-form",
  "statistics",
  "auto",
)

EXACT = ("closed-form", "node")
"""Methods for heads, without variants."""

FLOWING = ("prompt", "first-bias", "inner-bias", "bias")
"""What a direction for every sample trains by itself."""

ALTERNATING = "inner-bias,gain,head"
"""What trains in turn under "alternation", of a cell that trains all."""

OWN_PASSES = ("closed-form", "statistics", "auto")
"""Methods that take their own count of passes."""

SAME_RATE = "8w8a-same-rate"
"""8w8a with the learning rate that 16w8a chose, so that precision alone
differs; "8w8a" chooses its own."""

WEIGHTS = {"weights-int16": "int16", "weights-int8x2": "int8x2"}
"""Precisions with kernels of 16 bits in the file, and what `--weights` calls
them; the others have kernels of 8 bits there."""

OF_8_BITS = ("fp32", "16w8a", "8w8a", SAME_RATE)
"""Precisions with kernels of 8 bits in the file, and floats."""

PRECISIONS = (*OF_8_BITS, *WEIGHTS)

TRAINABLE = (
  "head",
  "wide-head",
  "prompt",
  "first-bias",
  "inner-bias",
  "bias",
  "all",
)

HEADS = ("head", "wide-head")

INNER_BIASES = ("first-bias", "inner-bias")

OF_SEVERAL_LAYERS = ("inner-bias", "bias", "all")

_FLOAT_FIELDS = {"num_directions", "directions", "momentum", "decay"}
"""Settings that float forward gradients know."""

SHAPES = {
  "zero-shot": ("nothing", "16w8a"),
  "auto": ("auto", "16w8a"),
}
"""What methods train, and how, that have no choice there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
  """One run.

  Attributes:
    domain: an episode's name, or an .npz.
    seed: of samples and training.
    trainable: as for `mark_trainable`; "auto", and "nothing" for zero-shot.
    method: one of `METHODS`.
    variant: a key of `VARIANTS`.
    precision: one of `PRECISIONS`; backpropagation is "fp32".
    passes: forward passes it may take; steps of backpropagation.
    batch: samples a pass.
  """

  domain: str
  seed: int
  trainable: str
  method: str
  variant: str = "plain"
  precision: str = "16w8a"
  passes: int
  batch: int

  @property
  def title(self) -> str:
    """What it is, for people."""
    parts = [self.domain, str(self.seed), self.trainable, self.method]
    parts += [self.variant] * (self.variant != "plain") + [self.precision]
    return " ".join(parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
  """Axes whose product is run.

  Attributes:
    methods: of `METHODS`.
    trainable: of `TRAINABLE`.
    domains: names of episodes, or .npz files.
    seeds: of samples and training.
    variants: of `VARIANTS`.
    precisions: of `PRECISIONS`.
    passes: forward passes a run; by what trains where `passes_of` has it.
    passes_of: exceptions.
    batch: samples a pass.
  """

  methods: tuple[str, ...]
  trainable: tuple[str, ...]
  domains: tuple[str, ...]
  seeds: tuple[int, ...]
  variants: tuple[str, ...] = ("plain",)
  precisions: tuple[str, ...] = ("16w8a",)
  passes: int = 1000
  passes_of: Mapping[str, int] = dataclasses.field(default_factory=dict)
  batch: int = 32

  def cells(self) -> Iterator[Cell]:
    """Every combination that exists, in the order of the axes.

    Zero-shot trains nothing and "auto" chooses by itself: one cell each.
    Backpropagation is float32. Variants and other precisions exist for methods
    that perturb weights, the closed form for heads, node perturbation for a
    FULLY_CONNECTED head, a direction for every sample for what flows in as
    data, alternation where all trains, and statistic matching for biases
    before the head. In floats there are two methods, variants that need no
    integers, and no wide head. Kernels of 16 bits exist where kernels train,
    and in no prompt.
    """
    product = itertools.product(
      self.domains,
      self.seeds,
      self.trainable,
      self.methods,
      self.variants,
      self.precisions,
    )
    for domain, seed, trainable, method, variant, precision in product:
      if method not in PERTURBING:
        precision = "16w8a"
      if not _exists(method, trainable, variant, precision):
        continue
      what, precision = SHAPES.get(method, (trainable, precision))
      yield Cell(
        domain=domain,
        seed=seed,
        trainable=what,
        method=method,
        variant=variant,
        precision="fp32" if method == "backprop" else precision,
        passes=0
        if method == "zero-shot"
        else self.passes_of.get(what, self.passes),
        batch=self.batch,
      )


def _exists(method: str, trainable: str, variant: str, precision: str) -> bool:
  if precision == "fp32" and not (
    method in _WITH_FLOAT_TWIN
    and trainable != "wide-head"
    and set(VARIANTS[variant]) <= _FLOAT_FIELDS
  ):
    return False
  if precision in WEIGHTS and trainable not in ("head", "all"):
    return False
  if method in EXACT:
    return trainable in HEADS and variant == "plain"
  if method == "per-sample":
    return trainable in FLOWING and variant in ("plain", "rms")
  if method == "alternation":
    return trainable == "all" and variant == "plain"
  if method == "statistics":
    return trainable in INNER_BIASES and variant == "plain"
  if variant in OF_LAYERS and trainable not in OF_SEVERAL_LAYERS:
    return False
  return variant == "plain" or method in PERTURBING


def cells_of(grids: Iterable[Grid]) -> list[Cell]:
  """The cells of several grids, each once, in the order they first come."""
  return list(dict.fromkeys(cell for g in grids for cell in g.cells()))


def chosen(grid: Grid, axes: Mapping[str, Any]) -> Grid:
  """A grid with some axes replaced by a user's.

  Raises:
    TflmFgError: for a value that no axis has.
  """
  known = {
    "methods": METHODS,
    "precisions": PRECISIONS,
    "variants": tuple(VARIANTS),
    "trainable": TRAINABLE,
  }
  for axis, values in axes.items():
    for value in values if axis in known else ():
      if value not in known[axis]:
        raise TflmFgError(
          f"--{axis}: {value!r} is unknown; choose of {', '.join(known[axis])}"
        )
  given = dict(axes)
  if "passes" in given:
    given["passes_of"] = {}
  return dataclasses.replace(grid, **given)


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
  "rms": {"optimizer": "rms"},
  "frank-wolfe": {"optimizer": "frank-wolfe"},
  "stochastic": {"rounding": "stochastic"},
  "error-feedback": {"rounding": "error-feedback"},
  "cosine": {"decay": "cosine"},
  "constant": {"decay": "constant"},
  "anchor": {"anchor": 0.01},
}

OF_LAYERS = ("blocks",)
"""What is no different from the plain method where one layer trains."""
