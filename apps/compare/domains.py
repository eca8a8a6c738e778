"""A domain's name and a seed go in; a model and clips to adapt it to come out.

Built-in names are those of `episodes`; an .npz with x and y is a user's own,
for the model that --model names.
"""

from __future__ import annotations

import dataclasses
import functools

from apps import benchmark_data, benchmark_tables
from apps.kws import shipped
from tflm_fg import files
from tflm_fg.base import Array, TflmFgError

Part = tuple[Array, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own:
  """A user's own data.

  Attributes:
    model: path of the .tflite that .npz domains are for; "" for the shipped.
    train_clips: of an .npz, to train on.
    test_clips: of an .npz, to score on.
  """

  model: str = ""
  train_clips: int = 300
  test_clips: int = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """What there is to adapt, and to what; `episodes.Episode` looks the same.

  Attributes:
    name: the domain.
    seed: of the clips.
    model: a plain int8 .tflite.
    train: clips to train on.
    test: clips to score on.
  """

  name: str
  seed: int
  model: bytes
  train: Part
  test: Part


@functools.lru_cache(maxsize=4)
def load(name: str, seed: int, own: Own) -> Task:
  """The domain's model and clips.

  Raises:
    TflmFgError: if there is no such domain.
  """
  if not name.endswith(".npz"):
    from apps.compare import episodes

    episode = episodes.episode(name, seed)
    return Task(
      name=name,
      seed=seed,
      model=episode.model,
      train=episode.train,
      test=episode.test,
    )
  sizes = benchmark_data.Sizes(own.train_clips, own.test_clips, 0)
  train, test = benchmark_data.split_of(name, seed, sizes)
  model = files.read_bytes(own.model) if own.model else shipped.shipped_model()
  return Task(name=name, seed=seed, model=model, train=train, test=test)


def title(name: str) -> str:
  """A domain's name in tables: of a file, without folder and ending."""
  return benchmark_tables.title(name) if name.endswith(".npz") else name


def require_known(names: tuple[str, ...], own: Own) -> None:
  """Refuses a domain before any work.

  Raises:
    TflmFgError: naming it.
  """
  for name in names:
    if name.endswith(".npz"):
      load(name, 0, own)
    elif name not in (known := _built_in()):
      raise TflmFgError(
        f"--domains: {name!r} is unknown; choose of {', '.join(known)}, or "
        "name an .npz"
      )


def _built_in() -> tuple[str, ...]:
  from apps.compare import episodes

  return tuple(episodes.NAMES)
