"""Make a model and samples to adapt it to, from a domain's name and a seed.

Built-in names are those of `episodes`. A user's own, for the model that --model
names, are an .npz with x and y, and a data set as `readers` knows them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Sequence

from apps import benchmark_data, benchmark_tables
from apps.compare.data import episodes, readers
from apps.compare.data.episodes import Episode
from apps.kws.model import shipped
from tflm_fg import files
from tflm_fg.journal import sha256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own:
  """A user's own data.

  Attributes:
    model: path of the .tflite that they are for; "" for the shipped spotter.
    train_clips: of an .npz, to train on.
    test_clips: to score on; of a data set about so many, evenly of all classes.
    shots: samples of a class to train on, of a data set.
    ways: classes of a data set, on a fresh head; 0 for all, on the model's own.
    peak: the brightest pixel of a data set's images, in the model's units.
    cache: a folder that keeps spoken samples; "" for none.
  """

  model: str = ""
  train_samples: int = 300
  test_samples: int = 200
  shots: int = 20
  ways: int = 0
  peak: float = 1.0
  cache: str = ""


@functools.lru_cache(maxsize=4)
def load(name: str, seed: int, own: Own) -> Episode:
  """The domain's model and samples.

  Raises:
    TflmFgError: if there is no such domain.
  """
  if readers.is_data_set(name):
    return _of_data_set(name, seed, own)
  if not name.endswith(".npz"):
    return episodes.episode(name, seed, own.cache or None)
  sizes = benchmark_data.Sizes(own.train_samples, own.test_samples, 0)
  train, test = benchmark_data.split_of(name, seed, sizes)
  return Episode(
    name=name, seed=seed, model=_model(own), train=train, test=test
  )


def _model(own: Own) -> bytes:
  return files.read_bytes(own.model) if own.model else shipped.shipped_model()


def fingerprint(name: str, own: Own) -> str:
  """What a domain's samples and model are; "" where its name says it all.

  Of a data set the folder's name stands for its files: there may be thousands.
  """
  is_npz = name.endswith(".npz")
  if not is_npz and not readers.is_data_set(name):
    return ""
  if is_npz:
    said: dict[str, object] = {"train_clips": own.train_samples}
    said["npz"] = sha256(files.read_bytes(name))
  else:
    said = {"shots": own.shots, "ways": own.ways, "peak": own.peak}
  said |= {"test_clips": own.test_samples, "model": sha256(_model(own))}
  return json.dumps(said, sort_keys=True)


def _of_data_set(name: str, seed: int, own: Own) -> Episode:
  pool = _pool(name, own.peak)
  classes = own.ways or len(pool.names)
  return episodes.drawn(
    title(name),
    _model(own),
    (pool.x, pool.y),
    own.shots,
    max(1, own.test_samples // classes),
    seed,
    own.ways or None,
    pool.groups,
  )


@functools.lru_cache(maxsize=1)
def _pool(name: str, peak: float) -> readers.Pool:
  return readers.read(name, peak=peak)


def title(name: str) -> str:
  """A domain's name in tables: of a file, without folder and ending."""
  if name.endswith(".npz"):
    return benchmark_tables.title(name)
  return re.sub(r":.*/", ":", name)


def require_known(names: Sequence[str], own: Own) -> None:
  """Refuses a domain before any work.

  Raises:
    TflmFgError: naming it.
  """
  for name in names:
    if name not in episodes.NAMES:
      load(name, 0, own)
