"""Draw the loss on the plane of two trajectories of weights.

The plane holds the start and the two main directions (principal components) of
where forward gradients and backpropagation went, in steps of each tensor's own
grid. The loss there is the integer engine's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apps.compare.cell_settings import settings_of
from apps.compare.data import registry
from apps.compare.data.episodes import Episode
from apps.compare.data.registry import UserData, load
from apps.compare.grid import PLAIN, Cell
from apps.compare.methods import backprop, integer, learning_rates, scoring
from tflm_fg import plots
from tflm_fg.fixed_point import MASTER_UNIT, Layout, along_channels, saturate
from tflm_fg.samples import Dataset
from tflm_fg.tflite import MarkedModel
from tflm_fg.types import Array, Params, TrainableTensor

Floats = NDArray[np.float64]

NUM_POINTS = 41
"""Points of a trajectory."""

SIDE = 25
"""Points of the surface along each direction."""

MARGIN = 0.2
"""How far it goes beyond the trajectories, as a share of their extent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surface:
  """A surface to draw: plain forward gradients and backpropagation.

  Attributes:
    domain: an episode.
    trainable: what both train.
    seed: of both.
    passes: of forward gradients, and steps of backpropagation.
    batch: samples a pass.
    side: points along each direction.
  """

  domain: str
  trainable: str
  seed: int
  passes: int
  batch: int
  side: int = SIDE

  @property
  def title(self) -> str:
    """What it is, for people."""
    return f"surface of {registry.title(self.domain)}, {self.trainable}"

  @property
  def files(self) -> tuple[str, ...]:
    """What it makes."""
    name = f"surface-{registry.title(self.domain)}-{self.trainable}"
    return f"{name}.png", f"{name}.csv"

  def cell(self, method: str) -> Cell:
    """The run whose trajectory is drawn."""
    return Cell(
      domain=self.domain,
      seed=self.seed,
      trainable=self.trainable,
      method=method,
      precision="fp32" if method == "backprop" else "16w8a",
      passes=self.passes,
      batch=self.batch,
    )


class Plane(NamedTuple):
  """Where the surface lies.

  Attributes:
    start: [D], the weights before any step.
    axes: [2, D], orthonormal.
    share: of all movement that lies in the plane, 0 to 1.
  """

  start: Floats
  axes: Floats
  share: float

  def seen(self, points: Floats) -> Floats:
    """Points [N, D] projected: [N, 2]."""
    return (points - self.start) @ self.axes.T

  def at(self, first: float, second: float) -> Floats:
    """The point [D] there."""
    return self.start + first * self.axes[0] + second * self.axes[1]


def plane_of(trails: Sequence[Floats]) -> Plane:
  """The plane of the two main directions of trajectories from one start."""
  start = trails[0][0]
  moved = np.concatenate([trail - start for trail in trails])
  _, sizes, axes = np.linalg.svd(moved, full_matrices=False)
  total = float((sizes**2).sum())
  share = float((sizes[:2] ** 2).sum()) / total if total else 1.0
  return Plane(start, axes[:2], share)


def run(surface: Surface, user_data: UserData) -> dict[str, bytes]:
  """Trains by both methods, and returns the files."""
  task = load(surface.domain, surface.seed, user_data)
  cell = surface.cell(PLAIN)
  marked = integer.marked_of(cell, task)
  layout = Layout(marked.mark.trainable)
  trails = (
    _forward(cell, task, marked, layout),
    _backprop(surface.cell("backprop"), task, marked, layout),
  )
  plane = plane_of(trails)
  paths = tuple(plane.seen(trail) for trail in trails)
  axes = tuple(_spread(p, surface.side) for p in np.concatenate(paths).T)
  score = scoring.scorer_of(marked, Dataset(*task.train))
  losses = np.array(
    [
      [score(params_at(layout, plane.at(a, b))).loss for a in axes[0]]
      for b in axes[1]
    ]
  )
  png, csv = surface.files
  return {
    png: _draw(surface, plane, axes, losses, paths),
    csv: _listed(axes, losses),
  }


def _spread(values: Floats, count: int) -> Floats:
  margin = MARGIN * max(float(np.ptp(values)), 1e-6)
  return np.linspace(values.min() - margin, values.max() + margin, count)


def _forward(
  cell: Cell, task: Episode, marked: MarkedModel, layout: Layout
) -> Floats:
  settings = learning_rates.chosen(
    cell, settings_of(cell), task, integer.tuner_of(marked)
  )
  score = scoring.scorer_of(marked, Dataset(*task.test))
  watch = scoring.TestScores(score, NUM_POINTS, keep_trail=True)
  integer.trained(marked, task, settings, watch)
  return np.stack([numbers_of(layout, params) for params in watch.trail])


def _backprop(
  cell: Cell, task: Episode, marked: MarkedModel, layout: Layout
) -> Floats:
  net = backprop.net_of(cell, task)
  rate = backprop.best_rate(net, cell)
  found = backprop.trained(net, cell, rate, NUM_POINTS)
  return np.stack([_as_in_file(layout, copy.values) for copy in found])


def numbers_of(layout: Layout, params: Params) -> Floats:
  """Masters as steps of each number's grid, kernels first."""
  units = layout.step_units
  return np.concatenate(
    [params.kernels / MASTER_UNIT, params.biases / units.biases]
  )


def params_at(layout: Layout, numbers: Floats) -> Params:
  """The masters nearest to such steps."""
  kernels, biases = np.split(numbers, [layout.num_kernels])
  return Params(
    saturate(np.rint(kernels * MASTER_UNIT), "int16"),
    saturate(np.rint(biases * layout.step_units.biases), "int32"),
  )


def _as_in_file(layout: Layout, values: Sequence[Array]) -> Floats:
  """A float network's variables, in the order of the mark, as such steps."""
  parts = np.zeros(layout.num_kernels), np.zeros(layout.num_biases)
  for (tensor, where), value in zip(layout.places, values, strict=True):
    steps = along_channels(tensor, tensor.step_sizes)
    parts[tensor.role == "bias"][where] = _turned(tensor, value) / steps
  return np.concatenate(parts)


def _turned(tensor: TrainableTensor, value: Array) -> Floats:
  """A variable of Keras in the file's order of axes, flat."""
  real = np.asarray(value, np.float64)
  if tensor.role == "kernel" and tensor.op_name != "DEPTHWISE_CONV_2D":
    real = np.moveaxis(real, -1, 0)  # output channels first
  return real.reshape(-1)


def _draw(
  surface: Surface,
  plane: Plane,
  axes: Sequence[Floats],
  losses: Floats,
  paths: Sequence[Floats],
) -> bytes:
  figure, (ax,) = plots.new_figure(1, 6.0, 5.0)
  filled = ax.contourf(*axes, losses, levels=24, cmap="viridis")
  figure.colorbar(filled, label="loss of the training samples, integer engine")
  names = ("forward gradients", "backpropagation")
  for path, name, colour in zip(paths, names, ("white", "C1")):
    ax.plot(*path.T, color=colour, linewidth=1.2, label=name)
    ax.plot(*path[-1], "o", color=colour)
  ax.plot(0, 0, "x", color="red", label="start")
  ax.set_xlabel("first main direction (steps)")
  ax.set_ylabel("second main direction (steps)")
  ax.set_title(
    f"{registry.title(surface.domain)}, {surface.trainable}: the plane holds "
    f"{100 * plane.share:.0f} % of the movement",
    fontsize=9,
  )
  ax.legend(facecolor="0.4", labelcolor="white", fontsize=8)
  return plots.to_png(figure)


def _listed(axes: Sequence[Floats], losses: Floats) -> bytes:
  lines = ["first,second,loss"]
  for b, row in zip(axes[1], losses):
    lines += [f"{a:.6g},{b:.6g},{loss:.6g}" for a, loss in zip(axes[0], row)]
  return ("\n".join(lines) + "\n").encode()
