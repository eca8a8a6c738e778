"""Bound what one sample or one client can change, hide it, and say how well.

Every field of sums is clipped to a length, in integers, and noise of the
discrete Gaussian is added. Two inputs are neighbours if one of them has other
samples in place of one unit's (a sample, or a client), and counts of samples
are public. Then a field can move by twice its clip at most, and noise of m
times that gives 1 / 2 m^2 of zero-concentrated differential privacy (Bun and
Steinke, 2016; for the discrete Gaussian Canonne, Kamath and Steinke, 2020).
Rounds and fields add up.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tflm_fg.federated.fields import PUBLIC, Field, Sums
from tflm_fg.federated.noise import Below, discrete_gaussian
from tflm_fg.types import Int64, TflmFgError, require_one

UNITS = ("sample", "client")
PLACES = ("device", "server")

_CLIP_BITS = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Privacy:
  """How sums are clipped and hidden.

  Attributes:
    noise_multiplier: m, the noise's standard deviation over what one unit can
      change.
    clip: how short a unit's part of a field is made, above 0 to 1: as a share
      of the longest that the field's bounds allow. A head's inputs are clipped
      to the length that gives their products this share.
    unit: whose part is hidden: "sample" or "client".
    where: who adds the noise: the "device" to its own sums, so that nobody has
      to be trusted; or the "server" to the total, which has to be, and which
      then publishes steps that hide every unit.
    delta: of the (epsilon, delta) that is told.
  """

  noise_multiplier: float
  clip: float = 0.05
  unit: str = "sample"
  where: str = "device"
  delta: float = 1e-5

  def __post_init__(self) -> None:
    require_one("unit", self.unit, UNITS)
    require_one("where", self.where, PLACES)
    for name, low, high in (
      ("noise_multiplier", 1e-3, 1e6),
      ("clip", 1e-6, 1.0),
      ("delta", 1e-15, 0.5),
    ):
      value = getattr(self, name)
      if isinstance(value, bool) or not isinstance(value, int | float):
        raise TflmFgError(f"{name}={value!r}: need a number")
      if not low <= value <= high:
        raise TflmFgError(f"{name}={value}: need {low:g} to {high:g}")

  def rho(self, releases: int) -> float:
    """What so many fields cost together, in zero-concentrated privacy."""
    return releases / (2 * self.noise_multiplier**2)

  def epsilon(self, releases: int) -> float:
    """The same as epsilon at `delta`."""
    return epsilon_of(self.rho(releases), self.delta)


def multiplier_for(epsilon: float, delta: float, releases: int) -> float:
  """The least noise multiplier that keeps to an epsilon.

  Args:
    epsilon: above 0.
    delta: see `Privacy`.
    releases: fields that are released, over all rounds.

  Raises:
    TflmFgError: if no multiplier up to a million does.
  """
  if not 1e-4 <= epsilon <= 1e4:
    raise TflmFgError(f"epsilon={epsilon}: need 0.0001 to 10000")
  low, high = 1e-3, 1e6
  if epsilon_of(releases / (2 * high * high), delta) > epsilon:
    raise TflmFgError(
      f"epsilon={epsilon}: {releases} releases need more noise than there can "
      "be; plan fewer rounds"
    )
  for _ in range(60):
    middle = math.sqrt(low * high)
    if epsilon_of(releases / (2 * middle * middle), delta) > epsilon:
      low = middle
    else:
      high = middle
  return high


def epsilon_of(rho: float, delta: float) -> float:
  """The least epsilon that zero-concentrated privacy gives at a delta.

  The bound of Canonne, Kamath and Steinke (2020, corollary 13), minimised over
  the order: epsilon = a rho + log(1 / (a delta)) / (a - 1) + log(1 - 1 / a).

  Args:
    rho: of all releases together.
    delta: above 0.
  """
  if not rho:
    return 0.0

  def at(power: float) -> float:
    order = 1 + math.exp(power)
    rest = math.log1p(-1 / order) - math.log(order * delta) / (order - 1)
    return order * rho + rest

  # It has one valley: looked for coarsely, then around what was found.
  best = min((n / 4 for n in range(-80, 81)), key=at)
  return max(0.0, min(at(best + n / 200) for n in range(-50, 51)))


def longest(field: Field) -> int:
  """The longest that one sample's part of a field can be, rounded up."""
  reach = max(abs(field.low), abs(field.high))
  return math.isqrt(reach * reach * field.size) + 1


def clip_of(field: Field, privacy: Privacy, samples: int = 1) -> int:
  """The length that a unit's part of a field is clipped to.

  Args:
    field: what is summed.
    privacy: says which share of the longest.
    samples: that a unit may hold.
  """
  own = field.clip or max(1, int(longest(field) * privacy.clip))
  return own * (samples if privacy.unit == "client" else 1)


def variance_of(
  field: Field, privacy: Privacy, clients: int, most_samples: int
) -> int:
  """The variance of the noise in a field's sum over clients.

  Args:
    field: what is summed.
    privacy: of the plan.
    clients: how many.
    most_samples: that one client may hold.
  """
  if field.name in PUBLIC:
    return 0
  reach = 2 * clip_of(field, privacy, most_samples)
  own = math.ceil((privacy.noise_multiplier * reach) ** 2)
  return own * (clients if privacy.where == "device" else 1)


def shrunk(numbers: Int64, variance: int) -> Int64:
  """A sum with noise, shortened by what of its length noise alone makes.

  It is much like the estimate of James and Stein, with three standard
  deviations more taken off: where noise is all that there is, it is nothing,
  so that a step that noise would take is not taken.

  Args:
    numbers: int64 [n].
    variance: of the noise in each of them.
  """
  square = _square(numbers)
  noise = numbers.size + math.isqrt(18 * numbers.size)
  left = max(0, square - noise * variance)
  return _times(numbers, (left << _CLIP_BITS) // max(1, square))


def total_bounds(
  field: Field,
  privacy: Privacy | None,
  samples: int,
  clients: int,
  most_samples: int,
) -> Field:
  """Between what a field's sums over clients lie, clipped and with noise.

  Args:
    field: of one sample.
    privacy: of the plan; None for exact sums.
    samples: of all clients.
    clients: how many.
    most_samples: that one client may hold.

  Returns:
    The field, with the bounds of the whole sum.
  """
  if privacy is None or field.name in (*PUBLIC, "samples"):
    return field._replace(low=samples * field.low, high=samples * field.high)
  clip = clip_of(field, privacy, most_samples)
  most = clip * (samples if privacy.unit == "sample" else clients)
  if privacy.where == "device":
    noise = privacy.noise_multiplier * 2 * clip * math.sqrt(clients)
    most += int(_DEVIATIONS * (noise + 1))
  return field._replace(low=-most, high=most)


_DEVIATIONS = 20
"""Standard deviations of noise that nobody ever draws beyond."""


def clipped(numbers: Int64, length: int) -> Int64:
  """A vector that is no longer than a length, shortened towards zero.

  Args:
    numbers: int64 [n].
    length: at least 1.
  """
  own = _length(numbers)
  if own <= length:
    return numbers
  # A share rounded down makes every number shorter than it might be.
  return _times(numbers, (length << _CLIP_BITS) // own)


def _times(numbers: Int64, share: int) -> Int64:
  """Numbers times share / 2**16, towards zero; the share is 1 at most."""
  sizes = np.abs(numbers)
  if int(sizes.max(initial=0)) >> (62 - _CLIP_BITS):
    sizes = sizes.astype(object)  # beyond 64 bits
  small = sizes * share >> _CLIP_BITS
  return np.asarray(np.sign(numbers) * small.astype(np.int64))


def _length(numbers: Int64) -> int:
  """The Euclidean length, rounded up."""
  square = _square(numbers)
  root = math.isqrt(square)
  return root + (root * root < square)


def _square(numbers: Int64) -> int:
  """The squared length; Python's integers hold any."""
  most = int(np.abs(numbers).max(initial=0))
  if most * most * numbers.size >> 63:
    numbers = numbers.astype(object)
  return int((numbers * numbers).sum())


def hidden(
  sums: Sums,
  fields: Sequence[Field],
  privacy: Privacy,
  most_samples: int,
  below: Below,
) -> list[Int64]:
  """Sums with noise on every field but those that are public.

  Args:
    sums: one array a field, of clipped units.
    fields: what they are.
    privacy: how much noise.
    most_samples: that a client may hold.
    below: where random numbers come from.
  """
  found = []
  for own, field in zip(sums, fields):
    if field.name in PUBLIC:
      found.append(own)
      continue
    variance = variance_of(field, privacy, 1, most_samples)
    found.append(own + discrete_gaussian(own.size, variance, below))
  return found
