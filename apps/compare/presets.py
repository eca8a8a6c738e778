"""Names of comparisons, as data: what each runs, draws and measures."""

from __future__ import annotations

import dataclasses
from typing import Any

from apps.compare.analyses.cosines import Cosines
from apps.compare.analyses.loss_surface import Surface
from apps.compare.analyses.speed import Growth, Speed
from apps.compare.axes import Adaptations
from apps.compare.forward_only import Scratch
from apps.compare.grid import (
  OF_8_BITS,
  PERTURBING,
  PRECISIONS,
  SAME_RATE,
  WEIGHTS,
  Grid,
)
from apps.compare.jobs import Analysis, Memory
from apps.compare.results.analysis_rows import QUICK_ADAPTATIONS
from apps.kws.model import shipped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
  """What one command does.

  Attributes:
    about: what it is for, for --help.
    grids: runs; cells that are in several are run once.
    analyses: what makes files of its own.
    adaptations: axes of jobs that each make rows of their own, or None.
  """

  about: str
  grids: tuple[Grid, ...] = ()
  analyses: tuple[Analysis, ...] = ()
  adaptations: Adaptations | Scratch | None = None


VOICES = ("whisper-20shot", "child-20shot", "hungarian-20shot")
FEW_VOICES = ("whisper-5shot", "child-5shot", "words10-5shot")
WORDS = ("words10-20shot",)
DIGITS = (
  "digits-blur-5-20shot",
  "digits-contrast-5-20shot",
  "digits-rotation-4-20shot",
)
"""As many as a verdict needs; each stands for a kind of corruption."""

ALL_DIGITS = (
  *DIGITS,
  "digits-noise-5-20shot",
  "digits-pixelation-4-20shot",
  "digits-noise-5-5shot",
  "digits-blur-5-5shot",
  "digits-rotation-4-5shot",
)

FASHION = "idx:/usr/share/datasets/fashion-mnist"
"""Where Debian's package dataset-fashion-mnist lies."""

PICTURES = tuple(
  f"{FASHION}:test{spoilt}" for spoilt in ("", ":noise:3", ":contrast:5")
)

SEEDS = (0, 1, 2)
PASSES = 6000
VOICE_PASSES = 2000
"""Where more than the spotter's head trains: a pass takes 6 ms there, and a
step of backpropagation 40."""

# Without prompts: the digits fill their int8 input from end to end, so that
# an offset saturates there and nowhere else. Biases have no master to lose.
_DIGITS_TENSORS = ("head", "first-bias", "bias", "all")

_PRECISION = (
  Grid(
    methods=("sign-m-spsa",),
    precisions=("fp32", "16w8a"),
    trainable=_DIGITS_TENSORS,
    domains=DIGITS,
    seeds=SEEDS,
    passes=PASSES,
  ),
  Grid(
    methods=("sign-m-spsa",),
    precisions=("8w8a", SAME_RATE),
    trainable=("head", "all"),
    domains=DIGITS,
    seeds=SEEDS,
    passes=PASSES,
  ),
  Grid(
    methods=("sign-m-spsa",),
    precisions=OF_8_BITS,
    trainable=("head",),
    domains=VOICES,
    seeds=SEEDS,
    passes=PASSES,
  ),
)

_WEIGHTS = (
  Grid(
    methods=("sign-m-spsa",),
    precisions=("16w8a", *WEIGHTS),
    trainable=("head",),
    domains=DIGITS + VOICES,
    seeds=SEEDS,
    passes=PASSES,
  ),
  Grid(
    methods=("sign-m-spsa",),
    # Of "weights-int16" a pass takes 114 ms here, of these two 4 and 5.
    precisions=("16w8a", "weights-int8x2"),
    trainable=("all",),
    domains=VOICES,
    seeds=SEEDS[:1],
    passes=VOICE_PASSES,
  ),
)

_UNLABELLED = (
  Grid(
    methods=("zero-shot", "statistics"),
    trainable=("first-bias", "inner-bias"),
    domains=DIGITS + VOICES,
    seeds=SEEDS,
  ),
)

_START = tuple(
  Grid(
    methods=methods, trainable=("head",), domains=domains, seeds=SEEDS[:seeds]
  )
  for methods, domains, seeds in (
    (("zero-shot", "auto"), ALL_DIGITS, 3),
    (("zero-shot",), VOICES + FEW_VOICES + WORDS, 3),
    # It tries many places of the spotter: 20 seconds.
    (("auto",), VOICES + FEW_VOICES + WORDS, 2),
  )
)
_BESIDE = ("backprop", "sign-m-spsa", "per-sample", "alternation")
_BACKPROP = (
  *_START,
  *(
    Grid(
      methods=(*_BESIDE, "closed-form"),
      trainable=trainable,
      domains=domains,
      seeds=seeds,
      passes=PASSES,
    )
    for trainable, domains, seeds in (
      (_DIGITS_TENSORS, DIGITS, SEEDS),
      (_DIGITS_TENSORS[:1], ALL_DIGITS, SEEDS),
      (_DIGITS_TENSORS[1:], ALL_DIGITS, SEEDS[:2]),
    )
  ),
  Grid(
    methods=("backprop", "sign-m-spsa", "closed-form"),
    trainable=("head", "wide-head"),
    domains=VOICES + FEW_VOICES + WORDS,
    seeds=SEEDS,
    passes=PASSES,
  ),
  Grid(
    methods=_BESIDE,
    trainable=("prompt", "first-bias", "all"),
    domains=VOICES[:2],
    seeds=SEEDS[:1],
    passes=VOICE_PASSES,
  ),
)

_VARIANTS = (
  "plain",
  "m=3",
  "m=8",
  "normal",
  "momentum",
  "guided",
  "kernel-wise",
  "sparse-50",
  "sparse-90",
  "sparse-90-seed",
  "blocks",
  "sign",
  "frank-wolfe",
  "stochastic",
  "error-feedback",
  "cosine",
  "anchor",
)

_ENHANCEMENTS = tuple(
  Grid(
    trainable=(trainable,),
    domains=DIGITS,
    seeds=seeds,
    passes=PASSES,
    **axes,  # type: ignore[arg-type]
  )
  # The domains count, not the seeds: fewer of what takes long.
  for trainable, seeds in (("head", SEEDS), ("all", SEEDS[:2]))
  for axes in (
    {"methods": ("sign-m-spsa",), "variants": _VARIANTS},
    {"methods": (*PERTURBING, "node")},
  )
)

_SURFACES = tuple(
  Surface(
    domain="digits-blur-5-20shot",
    trainable=trainable,
    seed=0,
    passes=PASSES,
    batch=32,
  )
  for trainable in ("head", "all")
)

_COSINES = (Cosines(domain="digits-blur-5-20shot"),)

_SMOKE = Grid(
  methods=("sign-m-spsa",),
  trainable=("head", "all"),
  domains=("digits-blur-5-20shot",),
  seeds=(0, 1),
  passes=400,
)

_SMOKES: tuple[dict[str, Any], ...] = (
  {"methods": ("zero-shot", "backprop", "closed-form", "node", "auto")},
  {"methods": PERTURBING},
  {"variants": _VARIANTS},
  {"precisions": PRECISIONS},
  {"methods": ("statistics",), "trainable": ("inner-bias",)},
  {
    "methods": ("zero-shot", "backprop", "sign-m-spsa", "closed-form"),
    "trainable": ("wide-head",),
    "domains": ("child-5shot",),
  },
)

PRESETS = {
  "smoke": Preset(
    about="everything touched, in minutes",
    grids=tuple(dataclasses.replace(_SMOKE, **axes) for axes in _SMOKES),
    analyses=(
      dataclasses.replace(_SURFACES[0], passes=400, side=9),
      dataclasses.replace(_COSINES[0], counts=(1, 16), steps=10),
      Memory(),
    ),
  ),
  "precision": Preset(
    about="16w8a and 8w8a against float32 forward gradients",
    grids=_PRECISION,
  ),
  "backprop": Preset(
    about="forward gradients against backpropagation, setting by setting",
    grids=_BACKPROP,
  ),
  "enhancements": Preset(
    about="each enhancement and each method alone against the plain one",
    grids=_ENHANCEMENTS,
  ),
  "weights": Preset(
    about="kernels of 16 bits in the file against int8 ones with int16 masters",
    grids=_WEIGHTS,
  ),
  "statistics": Preset(
    about="statistic matching without labels against the file as it is",
    grids=_UNLABELLED,
  ),
  "surface": Preset(
    about="the loss on the plane of both trajectories", analyses=_SURFACES
  ),
  "cosine": Preset(
    about="cosine with the true gradient against theory", analyses=_COSINES
  ),
  "memory": Preset(
    about="bytes of training against backpropagation's", analyses=(Memory(),)
  ),
  "accuracy": Preset(
    about="what tflm-fg-adapt does by default and by single methods, on the "
    "demo's voices or your data, with all that it costs",
    adaptations=Adaptations(
      domains=shipped.TARGETS,
      seeds=SEEDS,
      methods=QUICK_ADAPTATIONS,
    ),
  ),
  "pictures": Preset(
    about="heads and the default against float logistic regression, on plain "
    "and spoilt pictures; needs --model and mostly --ways",
    adaptations=Adaptations(
      domains=PICTURES,
      seeds=SEEDS,
      methods=("before", "logistic", "head", "auto"),
    ),
  ),
  "forward-only": Preset(
    about="PEPITA, Forward-Forward and TinyFoA from scratch beside "
    "backpropagation, then quantized and adapted to shifts; needs TensorFlow",
    adaptations=Scratch(domains=("digits", FASHION), seeds=SEEDS),
  ),
  "timing": Preset(
    about="seconds of a step over those in the engine alone",
    analyses=(Speed(),),
  ),
  "growth": Preset(
    about="seconds of a step over weights, samples and layers",
    analyses=(Growth(),),
  ),
  "full": Preset(
    about="all of these but smoke, accuracy, pictures, forward-only, timing "
    "and growth",
    grids=(
      *_BACKPROP,
      *_PRECISION,
      *_ENHANCEMENTS,
      *_WEIGHTS,
      *_UNLABELLED,
    ),
    analyses=(*_SURFACES, *_COSINES, Memory()),
  ),
}
