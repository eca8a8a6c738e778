"""What a method that trains from scratch is, and which there are."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from apps.compare.forward_only.memory import Bytes
from apps.compare.forward_only.networks import Floats, Network
from tflm_fg.types import TflmFgError

BATCH = 64
"""Samples a step, of every method."""


@dataclasses.dataclass(frozen=True)
class Method(abc.ABC):
  """A way to train a network of dense layers.

  Attributes:
    name: as `--methods` knows it.
    about: what it is and whose, for --help and tables.
    passes_a_step: forward passes of a batch that a step takes.
  """

  name: ClassVar[str]
  about: ClassVar[str]
  passes_a_step: ClassVar[int] = 1

  @abc.abstractmethod
  def start(self, widths: tuple[int, ...], seed: int) -> Network:
    """An untrained network; one seed, one network."""

  @abc.abstractmethod
  def train(
    self,
    network: Network,
    x: Floats,
    y: NDArray[np.int64],
    *,
    epochs: int,
    seed: int,
    rate: float = 1.0,
  ) -> Network:
    """Trains on samples, from whatever the network already is.

    Args:
      network: of `start`, or trained.
      x: samples, float32 [N, inputs], from 0 to 1.
      y: classes, int64 [N].
      epochs: how often each sample is seen.
      seed: of orders and of all that the method draws.
      rate: times the method's own learning rate.

    Returns:
      Another network; the same arguments give the same bytes on one machine.
    """

  @abc.abstractmethod
  def memory(self, widths: tuple[int, ...]) -> Bytes:
    """Bytes of training, one sample at a time, by the rules of `memory`.

    Args:
      widths: of the input and of every layer.
    """


_METHODS: dict[str, Method] = {}

METHODS: Mapping[str, Method] = MappingProxyType(_METHODS)
"""Name -> method, in the order of registering."""


def register(method: type[Method]) -> type[Method]:
  """Makes a method known under its name."""
  _METHODS[method.name] = method()
  return method


def named(name: str) -> Method:
  """The method of a name.

  Raises:
    TflmFgError: if there is none.
  """
  if name not in METHODS:
    raise TflmFgError(
      f"--methods: {name!r} is unknown; choose of {', '.join(METHODS)}"
    )
  return METHODS[name]
