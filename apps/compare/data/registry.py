"""Make a model and samples to adapt it to, from a domain's name and a seed.

Built-in names are those of `episodes`, and the demo's voices, which speak new
training and test samples for every seed. A user's own, for the model that
--model names, are an .npz with x and y, and a data set as `readers` knows them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from collections.abc import Sequence

import numpy as np

from apps.compare.data import episodes, pictures, readers, voices
from apps.compare.data.episodes import Episode, Part
from apps.kws.model import shipped
from tflm_fg import files
from tflm_fg.journal import sha256
from tflm_fg.samples import load_npz
from tflm_fg.tflite import input_spec
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserData:
  """A user's own data.

  Attributes:
    model: path of the .tflite that they are for; "" for the shipped spotter.
    train_samples: of an .npz, to train on.
    test_samples: to score on; of a data set about so many, evenly of all
      classes.
    shots: samples of a class to train on, of a data set or a voice of the demo.
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
def load(name: str, seed: int, user_data: UserData) -> Episode:
  """The domain's model and samples.

  Raises:
    TflmFgError: if there is no such domain.
  """
  if readers.is_data_set(name):
    return _of_data_set(name, seed, user_data)
  if name in voices.SPOKEN_ANEW:
    train, test = voices.spoken_anew(name, user_data.shots, seed)
  elif name.endswith(".npz"):
    train, test = _of_npz(name, seed, user_data)
  else:
    return episodes.episode(name, seed, user_data.cache or None)
  model = model_of(user_data)
  return Episode(name=name, seed=seed, model=model, train=train, test=test)


def model_of(user_data: UserData) -> bytes:
  """The model that a user's data are for."""
  path = user_data.model
  return files.read_bytes(path) if path else shipped.shipped_model()


def _of_npz(name: str, seed: int, user_data: UserData) -> tuple[Part, Part]:
  """Training and test samples of a file.

  They are taken in the file's own order for seed 0, and in a shuffled one for
  other seeds.
  """
  samples = load_npz(name)
  train, end = (
    user_data.train_samples,
    user_data.train_samples + user_data.test_samples,
  )
  if samples.y is None or len(samples.x) < end:
    raise TflmFgError(
      f"{name}: {len(samples.x)} samples, --train_samples and --test_samples "
      f"need {end}"
    )
  order = np.arange(len(samples.x))
  if seed:
    order = np.random.default_rng(seed).permutation(order)
  parts = order[:train], order[train:end]
  fit, test = ((samples.x[part], samples.y[part]) for part in parts)
  return fit, test


def fingerprint(name: str, user_data: UserData) -> str:
  """What a domain's samples and model are; "" where its name says it all.

  Of a data set the folder's name stands for its files: there may be thousands.
  """
  said: dict[str, object] = {"test_samples": user_data.test_samples}
  if name.endswith(".npz"):
    said["train_samples"] = user_data.train_samples
    said["npz"] = sha256(files.read_bytes(name))
  elif readers.is_data_set(name):
    said["shots"] = user_data.shots
    said |= {"ways": user_data.ways, "peak": user_data.peak}
  elif name in voices.SPOKEN_ANEW:
    said = {"shots": user_data.shots}
  else:
    return ""
  said["model"] = sha256(model_of(user_data))
  return json.dumps(said, sort_keys=True)


def _of_data_set(name: str, seed: int, user_data: UserData) -> Episode:
  pool = _pool(name, user_data.peak)
  classes = user_data.ways or len(pool.names)
  model = model_of(user_data)
  episode = episodes.sampled(
    title(name),
    model,
    (pool.x, pool.y),
    user_data.shots,
    max(1, user_data.test_samples // classes),
    seed,
    user_data.ways or None,
    pool.groups,
  )
  # Few samples are left by now; a whole pool might not fit in memory.
  if not user_data.model:
    return episode
  shape = input_spec(model).shape[1:]
  train, test = (
    (pictures.fitted(x, shape), y) for x, y in (episode.train, episode.test)
  )
  return dataclasses.replace(episode, train=train, test=test)


@functools.lru_cache(maxsize=1)
def _pool(name: str, peak: float) -> readers.Pool:
  return readers.read(name, peak=peak)


def title(name: str) -> str:
  """A domain's name in tables: of a file, without folder and ending."""
  if name.endswith(".npz"):
    return os.path.splitext(os.path.basename(name))[0]
  return re.sub(r":.*/", ":", name)


def require_known(names: Sequence[str], user_data: UserData) -> None:
  """Refuses a domain before any work.

  Raises:
    TflmFgError: naming it.
  """
  for name in names:
    if name not in (*episodes.NAMES, *voices.SPOKEN_ANEW):
      load(name, 0, user_data)
