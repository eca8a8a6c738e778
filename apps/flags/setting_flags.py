"""Flags of methods and losses, one a setting, for programs that take all."""

from __future__ import annotations

from typing import Any

from absl import flags

from apps import cli
from tflm_fg import methods
from tflm_fg.training import LABELS, LOSSES

_OBJECTIVE = {"loss": "cross-entropy", "huber_delta": 1.0, "labels": "auto"}

_METHODS = methods.registered()

_DEFAULTS = {
  **{
    field: getattr(kind(), field)
    for kind in reversed(_METHODS.values())
    for field in methods.fields_of(kind)
  },
  **_OBJECTIVE,
  "method": methods.Auto.name,
}
"""Setting -> its value where a flag is not given."""


def _own(name: str) -> str:
  """What each method takes where a flag is not given."""
  kinds = [kind for kind in _METHODS.values() if kind is not methods.Auto]
  values = {
    kind.name: kind().defaults_for(quadratic=False).get(name)
    for kind in kinds
    if name in methods.fields_of(kind)
  }
  stated = [f"{m} {v:g}" for m, v in values.items() if v is not None]
  found = "" if len(stated) == len(values) else "found by measuring"
  return "; by default " + ", ".join(filter(None, [found, *stated]))


def _choice(name: str, known: Any, text: str) -> None:
  flags.DEFINE_enum(name, _DEFAULTS[name], list(known), text)


def _real(name: str, text: str) -> None:
  flags.DEFINE_float(name, _DEFAULTS[name], text)


def _whole(name: str, text: str) -> None:
  flags.DEFINE_integer(name, _DEFAULTS[name], text)


_choices = methods.DirectionalMethod.choices

cli.section(cli.SOMETIMES)
_choice(
  "method",
  _METHODS,
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
STEPS = flags.DEFINE_integer(
  "steps",
  _DEFAULTS["steps"],
  "count of steps"
  + _own("steps")
  + "; with --from_journal, how many of those that were kept are taken again, "
  "0 for the start",
)
_whole("seed", "same seed, same bytes")

cli.section(cli.SELDOM)
_choice("directions", _choices["directions"], "how weights are perturbed")
_real(
  "guidance",
  "0 to below 1: how much of a direction is the running step's; needs "
  "--momentum",
)
flags.DEFINE_boolean(
  "kernel_wise",
  _DEFAULTS["kernel_wise"],
  "perturb every output kernel in proportion to its norm",
)
_real(
  "sparsity", "share of every kernel tensor that is left alone, 0 to below 1"
)
_choice(
  "sparse_by",
  _choices["sparse_by"],
  "what --sparsity leaves alone: the smallest weights as they are now, or the "
  "same random ones in the whole run",
)
_whole(
  "blocks",
  "parts of the layers that take turns, one a step; as many as layers at most",
)
_choice(
  "turns",
  _choices["turns"],
  "whether --blocks take turns by steps, or by the directions of each step",
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
  _DEFAULTS["learning_rate_lsb"],
  "first learning rate, in int8 steps, or for closed-form in safe steps of "
  "gradient descent" + _own("learning_rate_lsb"),
  lower_bound=0.0,
)
_choice(
  "decay", _choices["decay"], "how the learning rate falls over the steps"
)
_real("momentum", "0 to 1, as Keras has it" + _own("momentum"))
_choice(
  "optimizer",
  _choices["optimizer"],
  "sgd; sign: every number moves by the rate; rms: by its slope over the "
  "slope's root mean square; frank-wolfe: towards a corner of the box that "
  "weights can be in",
)
_choice(
  "rounding",
  _choices["rounding"],
  "how updates become whole numbers; error-feedback keeps what is left over "
  "for the next",
)
_choice(
  "precision",
  _choices["precision"],
  "16w8a: int16 masters; 8w8a: no masters, kernels move by whole int8 steps",
)
_whole(
  "batch_size",
  "samples a pass; by default many where the head alone trains, else fewer",
)
_real(
  "validation_fraction",
  "share of the training samples kept aside to choose by; by default a quarter "
  "where candidates are compared, 0.15 elsewhere",
)
_whole("validate_every", "steps between validations" + _own("validate_every"))
_whole(
  "patience",
  "validations without a lower loss before stopping; 0 never stops"
  + _own("patience"),
)
_real(
  "anchor",
  "fraction of the distance back to the old weights that every step goes, 0 to "
  "below 1",
)
_real(
  "logit_gain",
  "closed-form: what its gradient takes a logit times, 1 to 64; 0 chooses it, "
  "above 1 where many inputs meet logits of a few nats",
)
_real(
  "pull",
  "closed-form: lambda of a pull of the head towards its start, 0 to 10",
)
flags.DEFINE_boolean(
  "scan",
  _DEFAULTS["scan"],
  "per-sample: begin at the best of five values of a prompt's gain",
)
flags.DEFINE_boolean(
  "predict",
  _DEFAULTS["predict"],
  "per-sample: predict slopes of the numbers of layers from mean slopes of the "
  "outputs",
)


NAMES = tuple(_DEFAULTS)
"""All of their names."""


def given() -> list[str]:
  """The names of those that the command line has."""
  return [name for name in _DEFAULTS if flags.FLAGS[name].present]


def batch_size(otherwise: int) -> int:
  """Samples of a batch, where the command line says it."""
  held = flags.FLAGS["batch_size"]
  return int(held.value) if held.present else otherwise


def method() -> methods.Method:
  """The method that the command line says.

  Raises:
    TflmFgError: in one line, if its settings do not fit.
  """
  values = {name: flags.FLAGS[name].value for name in given()}
  kind = values.pop("method", methods.Auto.name)
  return methods.named(
    kind, **{n: v for n, v in values.items() if n not in _OBJECTIVE}
  )


def objective() -> dict[str, Any]:
  """Loss and labels as the command line says, as `tflm_fg.adapt` takes them."""
  return {name: flags.FLAGS[name].value for name in _OBJECTIVE}
