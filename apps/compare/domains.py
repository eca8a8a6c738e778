"""A domain's name and a seed go in; a model and clips to adapt it to come out.

Built-in names are those of `episodes`; an .npz with x and y is a user's own,
for the model that --model names.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from apps import benchmark_data, benchmark_tables
from apps.compare import episodes
from apps.compare.episodes import Episode
from apps.kws import shipped
from tflm_fg import files


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own:
  """A user's own data.

  Attributes:
    model: path of the .tflite that .npz domains are for; "" for the shipped.
    train_clips: of an .npz, to train on.
    test_clips: of an .npz, to score on.
    cache: a folder that keeps spoken clips; "" for none.
  """

  model: str = ""
  train_clips: int = 300
  test_clips: int = 200
  cache: str = ""


@functools.lru_cache(maxsize=4)
def load(name: str, seed: int, own: Own) -> Episode:
  """The domain's model and clips.

  Raises:
    TflmFgError: if there is no such domain.
  """
  if not name.endswith(".npz"):
    return episodes.episode(name, seed, own.cache or None)
  sizes = benchmark_data.Sizes(own.train_clips, own.test_clips, 0)
  train, test = benchmark_data.split_of(name, seed, sizes)
  model = files.read_bytes(own.model) if own.model else shipped.shipped_model()
  return Episode(name=name, seed=seed, model=model, train=train, test=test)


def title(name: str) -> str:
  """A domain's name in tables: of a file, without folder and ending."""
  return benchmark_tables.title(name) if name.endswith(".npz") else name


def require_known(names: Sequence[str], own: Own) -> None:
  """Refuses a domain before any work.

  Raises:
    TflmFgError: naming it.
  """
  for name in names:
    if name not in episodes.NAMES:
      load(name, 0, own)
