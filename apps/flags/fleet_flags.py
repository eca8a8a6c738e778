"""The flags that say what a fleet does: its plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags

from apps import cli
from tflm_fg import federated, files, methods
from tflm_fg.marking import Model
from tflm_fg.types import TflmFgError

cli.section(cli.OFTEN)
PLAN = flags.DEFINE_string(
  "plan",
  None,
  "the fleet's plan, as --plan_out wrote it; else the flags below make it",
)
SCHEME = flags.DEFINE_enum(
  "scheme",
  None,
  list(federated.SCHEMES),
  "how the devices learn together; docs/fleet.md says which suits what",
)
STEPS = flags.DEFINE_integer(
  "steps", None, "steps of training, each of them a round", 1
)
TRAINABLE = flags.DEFINE_string(
  "trainable",
  None,
  "what trains, as for tflm-fg-adapt; by default the scheme's",
)
cli.section(cli.SOMETIMES)
DIRECTIONS = flags.DEFINE_integer(
  "num_directions", None, "signs, split: directions a round", 1
)
PERSONAL = flags.DEFINE_enum(
  "personal",
  None,
  ["prompt"],
  "prompt: each device has an input prompt of its own, which it never sends",
)
MAX_SAMPLES = flags.DEFINE_integer(
  "max_samples",
  4096,
  "samples that one device may count for; sums that are of more, or beyond "
  "what their samples can give, are refused",
  1,
)
MAX_WEIGHT = flags.DEFINE_integer(
  "max_weight",
  0,
  "scale down what a device states above so many samples; 0 for never",
  0,
)
MIN_CLIENTS = flags.DEFINE_integer(
  "min_clients", 1, "a round with fewer devices is asked for again", 1
)
EPSILON = flags.DEFINE_float(
  "epsilon", None, "differential privacy: the epsilon of the whole run"
)
DELTA = flags.DEFINE_float("delta", 1e-5, "differential privacy: the delta")
HIDE = flags.DEFINE_enum(
  "hide",
  "client",
  ["sample", "client"],
  "differential privacy: whose part is hidden",
)
NOISE_AT = flags.DEFINE_enum(
  "noise_at",
  "device",
  ["device", "server"],
  "differential privacy: who adds the noise; the server's is less, and it has "
  "to be trusted",
)
CLIP = flags.DEFINE_float(
  "clip",
  0.05,
  "differential privacy: the share of the longest possible sums that one part "
  "is clipped to",
)
SEED = flags.DEFINE_integer("seed", 0, "of directions", 0)

_IN_A_PLAN = (
  SCHEME,
  STEPS,
  TRAINABLE,
  DIRECTIONS,
  PERSONAL,
  MAX_SAMPLES,
  MAX_WEIGHT,
  MIN_CLIENTS,
  EPSILON,
)
_OF_NOISE = (DELTA, HIDE, NOISE_AT, CLIP)

_METHODS = {
  "closed-form": methods.ClosedForm,
  "one-round": methods.ClosedForm,
  "signs": methods.SignSPSA,
  "split": methods.SignSPSA,
  "per-sample": methods.PerSample,
}
DEFAULT_SCHEME = "closed-form"


def plan_of(
  model: Model, scheme: str | None = None, name: str | None = None
) -> federated.Plan:
  """The plan that the flags name or make.

  Args:
    model: the path or the bytes of the .tflite that all devices have.
    scheme: where --scheme is not given; None for `DEFAULT_SCHEME`.
    name: what to call the model in errors.

  Raises:
    TflmFgError: if flags do not go together, or not with the model.
  """
  if PLAN.value:
    if given := named():
      raise TflmFgError(
        f"--{given[0]}: stands in --plan={PLAN.value} already; leave one out"
      )
    return federated.Plan.from_bytes(files.read_bytes(PLAN.value), PLAN.value)
  scheme = SCHEME.value or scheme or DEFAULT_SCHEME
  plan = _plan(model, scheme, None, name)
  if EPSILON.value is None:
    if given := named(_OF_NOISE):
      raise TflmFgError(
        f"--{given[0]}: does nothing without --epsilon; give that too"
      )
    return plan
  releases = federated.Federation(model, plan).releases
  multiplier = federated.multiplier_for(EPSILON.value, DELTA.value, releases)
  privacy = federated.Privacy(
    noise_multiplier=multiplier,
    clip=CLIP.value,
    unit=HIDE.value,
    where=NOISE_AT.value,
    delta=DELTA.value,
  )
  return _plan(model, scheme, privacy, name)


def named(
  holders: Sequence[flags.FlagHolder[Any]] = (*_IN_A_PLAN, *_OF_NOISE),
) -> list[str]:
  """Names of the flags that were given; by default of all that make a plan.

  Args:
    holders: flags to look at.
  """
  return [holder.name for holder in holders if holder.present]


def _plan(
  model: Model,
  scheme: str,
  privacy: federated.Privacy | None,
  name: str | None,
) -> federated.Plan:
  return federated.plan_for(
    model,
    scheme,
    trainable=TRAINABLE.value,
    method=method_of(scheme),
    personal=PERSONAL.value or "",
    most_samples=MAX_SAMPLES.value,
    least_clients=MIN_CLIENTS.value,
    most_weight=MAX_WEIGHT.value,
    privacy=privacy,
    name=name,
  )


def method_of(scheme: str) -> methods.Method:
  """A scheme's method with what the flags set.

  Raises:
    TflmFgError: if the scheme has no such setting.
  """
  given: dict[str, Any] = {"seed": SEED.value}
  if STEPS.value:
    if scheme == "one-round":
      raise TflmFgError(
        "--steps: one-round has a single round; leave it out, or take "
        "--scheme=closed-form"
      )
    given["steps"] = STEPS.value
  if DIRECTIONS.value:
    if scheme not in ("signs", "split"):
      raise TflmFgError(
        f"--num_directions: {scheme} has none to count; leave it out, or take "
        "--scheme=signs"
      )
    given["num_directions"] = DIRECTIONS.value
  return _METHODS[scheme](**given)
