"""Flags that make `Settings`, one a field, for programs that take them all."""

from __future__ import annotations

from typing import Any

from absl import flags

from tflm_fg.gradients.directions import KINDS
from tflm_fg.gradients.masks import SPARSE_BY
from tflm_fg.optimizers.rounding import PRECISIONS, ROUNDINGS
from tflm_fg.optimizers.schedules import DECAYS
from tflm_fg.optimizers.transforms import KINDS as OPTIMIZERS
from tflm_fg.training.defaults import DEFAULTS, LABELS, LOSSES, METHODS
from tflm_fg.training.settings import Settings

_DEFAULTS = Settings()


def _own(name: str) -> str:
  """What each method takes where a flag is not given."""
  values = {m: getattr(d, name) for m, d in DEFAULTS.items()}
  told = [f"{m} {v:g}" for m, v in values.items() if v is not None]
  found = "" if len(told) == len(values) else "found by measuring"
  return "; by default " + ", ".join(filter(None, [found, *told]))


def _choice(name: str, known: Any, text: str) -> None:
  flags.DEFINE_enum(name, getattr(_DEFAULTS, name), list(known), text)


def _real(name: str, text: str) -> None:
  flags.DEFINE_float(name, getattr(_DEFAULTS, name), text)


def _whole(name: str, text: str) -> None:
  flags.DEFINE_integer(name, getattr(_DEFAULTS, name), text)


_choice(
  "method",
  METHODS,
  "how forward passes become steps; auto: exactly where it can be, by forward "
  "gradients elsewhere",
)
_choice(
  "labels",
  LABELS,
  "none: learn without labels, by being sure of each sample and varied over "
  "all; auto: as the samples have y or not",
)
_choice(
  "loss",
  LOSSES,
  "what training lowers; mse and huber take real y too, and for classes draw "
  "the right output to a quarter of the range above the middle",
)
_real(
  "huber_delta", "error up to which huber is a square, in the outputs' units"
)
_choice("directions", KINDS, "how weights are perturbed")
_real(
  "guidance",
  "0 to below 1: how much of a direction is the running step's; needs "
  "--momentum",
)
flags.DEFINE_boolean(
  "kernel_wise",
  _DEFAULTS.kernel_wise,
  "perturb every output kernel in proportion to its norm",
)
_real(
  "sparsity", "share of every kernel tensor that is left alone, 0 to below 1"
)
_choice(
  "sparse_by",
  SPARSE_BY,
  "what --sparsity leaves alone: the smallest weights as they are now, or the "
  "same random ones in the whole run",
)
_whole(
  "blocks",
  "parts of the layers that take turns, one a step; as many as layers at most",
)
_whole(
  "num_directions",
  "directions a step: two passes each, for one-sided one, for sharpness-aware "
  "four" + _own("num_directions"),
)
_real(
  "epsilon_lsb", "perturbation, in int8 steps; by default found by measuring"
)
_real("rho_lsb", "how far uphill sharpness-aware looks, in int8 steps")
flags.DEFINE_float(
  "learning_rate_lsb",
  _DEFAULTS.learning_rate_lsb,
  "first learning rate, in int8 steps, or for closed-form in safe steps of "
  "gradient descent" + _own("learning_rate_lsb"),
  lower_bound=0.0,
)
_choice("decay", DECAYS, "how the learning rate falls over the steps")
_real("momentum", "0 to 1, as Keras has it" + _own("momentum"))
_choice(
  "optimizer",
  OPTIMIZERS,
  "sgd; sign: every number moves by the rate; frank-wolfe: towards a corner of "
  "the box that weights can be in",
)
_choice(
  "rounding",
  ROUNDINGS,
  "how updates become whole numbers; error-feedback keeps what is left over "
  "for the next",
)
_choice(
  "precision",
  PRECISIONS,
  "16w8a: int16 masters; 8w8a: no masters, kernels move by whole int8 steps",
)
_whole("steps", "count of steps" + _own("steps"))
_whole(
  "batch_size",
  "samples a pass; by default many where the head alone trains, else fewer",
)
_whole("seed", "same seed, same bytes")
_real(
  "validation_fraction",
  "share of the training samples kept aside to choose by; by default a quarter "
  "where ways are compared, 0.15 elsewhere",
)
_whole("validate_every", "steps between validations" + _own("validate_every"))
_whole(
  "patience",
  "validations without a lower loss before stopping; 0 never stops"
  + _own("patience"),
)
_real(
  "anchor",
  "share of the way back to the start that every step takes, 0 to below 1",
)


def given() -> list[str]:
  """The names of those that the command line has."""
  names = Settings.__dataclass_fields__
  return [name for name in names if flags.FLAGS[name].present]


def settings() -> Settings:
  """The settings that the command line says.

  Raises:
    TflmFgError: in one line, if they do not fit.
  """
  names = Settings.__dataclass_fields__
  return Settings(**{name: flags.FLAGS[name].value for name in names})
