"""Make sound in which nobody speaks: hiss, hum, knocks and tunes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from apps.kws.audio import room

RATE_HZ = room.SAMPLE_RATE_HZ
SECONDS = 20
"""Of each stream."""

KINDS = ("hiss", "hum", "knocks", "tune", "chirps", "silence")

_QUIET_DB, _LOUD_DB = -60.0, -20.0


def streams(
  count: int = 9, seed: int = 0
) -> Iterator[tuple[str, NDArray[np.int16]]]:
  """Streams of noise, whose kinds take turns.

  Args:
    count: how many.
    seed: which.

  Yields:
    A name, and int16 [20 s] at 16 kHz.
  """
  for number in range(count):
    kind = KINDS[number % len(KINDS)]
    yield f"{kind} {number}", _made(kind, np.random.default_rng([seed, number]))


def _made(kind: str, rng: np.random.Generator) -> NDArray[np.int16]:
  length = SECONDS * RATE_HZ
  colour = float(rng.uniform(0.5, 0.98))
  floor = signal.lfilter([1], [1, -colour], rng.standard_normal(length))
  floor *= _amplitude(rng.uniform(_QUIET_DB, -45.0)) / floor.std()
  level = _amplitude(rng.uniform(-40.0, _LOUD_DB))
  time = np.arange(length) / RATE_HZ
  if kind == "silence":
    return _heard(floor * 0.1)
  if kind == "hiss":
    swell = 1 + 0.8 * np.sin(2 * np.pi * float(rng.uniform(0.1, 2)) * time)
    return _heard(floor / floor.std() * level * 0.5 * swell)
  if kind == "hum":
    base, extra = float(rng.choice([50.0, 60.0, 120.0])), np.zeros(length)
    for harmonic in range(1, 12):
      extra += np.sin(2 * np.pi * base * harmonic * time) / harmonic
    return _heard(floor + level * extra * (np.sin(0.7 * time) > -0.5))
  if kind == "knocks":
    hits = np.zeros(length)
    places = rng.integers(length, size=SECONDS * 3)
    hits[places] = rng.uniform(0.3, 1.0, len(places))
    ring = np.sin(2 * np.pi * float(rng.uniform(150, 1500)) * time[:3200])
    ring *= np.exp(-np.arange(3200) / float(rng.uniform(80, 800)))
    return _heard(floor + 3 * level * signal.fftconvolve(hits, ring)[:length])
  pitch = np.empty(length)
  note = round(RATE_HZ * float(rng.uniform(0.12, 0.5)))
  for start in range(0, length, note):
    step = int(rng.integers(0, 24))
    bend = float(rng.uniform(-900, 900)) if kind == "chirps" else 0.0
    part = time[: len(pitch[start : start + note])]
    pitch[start : start + note] = np.clip(
      220.0 * 2 ** (step / 12) + bend * part, 60.0, 4000.0
    )
  phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
  fade = np.exp(-3.0 * (np.arange(length) % note) / note)
  voice = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.3 * np.sin(3 * phase)
  return _heard(floor + level * voice * fade)


def _heard(sound: NDArray[np.float64]) -> NDArray[np.int16]:
  """Full scale at 1, as int16."""
  return np.clip(np.rint(sound * 32767), -32768, 32767).astype(np.int16)


def _amplitude(decibel: float) -> float:
  return float(10 ** (decibel / 20))
