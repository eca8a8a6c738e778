"""Rooms and microphones: what becomes of a voice on its way to the model."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from apps.kws.audio import room

RATE_HZ = room.SAMPLE_RATE_HZ


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
  """Where a voice is heard; ranges are drawn for each recording.

  Attributes:
    microphone: level, band and noise.
    echo_seconds: range of the time in which the echo falls by 60 dB; (0, 0)
      for no echo.
    direct: how loud the direct sound is beside the echo's first sample.
    formant_scale: range of the factor on all frequencies, above 1 for a
      small speaker.
  """

  microphone: room.Microphone = room.Microphone(
    level_db=(-30.0, -18.0), snr_db=(20.0, 40.0)
  )
  echo_seconds: tuple[float, float] = (0.0, 0.0)
  direct: float = 3.0
  formant_scale: tuple[float, float] = (1.0, 1.0)

  def record(
    self,
    spoken: Sequence[bytes],
    rate_hz: int,
    rng: np.random.Generator,
    *,
    lead: tuple[float, float],
    gap: tuple[float, float],
  ) -> NDArray[np.int16]:
    """Records one or more utterances in this room, one behind the other.

    Args:
      spoken: mono int16 PCM of each utterance.
      rate_hz: of the utterances.
      rng: draws all that is drawn.
      lead: range of the seconds of room noise in front.
      gap: range of the seconds of room noise behind each utterance.

    Returns:
      int16 [n] at 16 kHz.
    """
    scale = float(rng.uniform(*self.formant_scale))
    at = round(rng.uniform(*lead) * RATE_HZ)
    words = []
    for pcm in spoken:
      sound = self._echoed(_trimmed(room.resample(pcm, rate_hz, scale)), rng)
      words.append((at, sound))
      at += len(sound) + round(rng.uniform(*gap) * RATE_HZ)
    # Fourier transforms of other lengths can take ten times as long.
    return self.microphone.record_long(words, fft.next_fast_len(at), rng)

  def _echoed(
    self, sound: NDArray[np.float64], rng: np.random.Generator
  ) -> NDArray[np.float64]:
    if self.echo_seconds[1] == 0:
      return sound
    length = round(rng.uniform(*self.echo_seconds) * RATE_HZ)
    tail = rng.standard_normal(length)
    tail *= np.exp(-6.9 * np.arange(length) / length)
    tail[0] = self.direct
    echoed: NDArray[np.float64] = signal.fftconvolve(sound, tail)
    return echoed[: len(sound) + length // 2]


def _trimmed(sound: NDArray[np.float64]) -> NDArray[np.float64]:
  """Without the silence that espeak-ng leaves at both ends."""
  loud = np.flatnonzero(np.abs(sound) > 0.01 * max(np.abs(sound).max(), 1e-9))
  return sound[loud[0] : loud[-1] + 1] if loud.size else sound


_FAR = room.Microphone(
  low_hz=120.0, high_hz=5500.0, level_db=(-46.0, -36.0), snr_db=(9.0, 18.0)
)

ROOMS: Mapping[str, Room] = types.MappingProxyType(
  {
    "near": Room(),
    "far": Room(microphone=_FAR, echo_seconds=(0.4, 0.8)),
    "child": Room(formant_scale=(1.28, 1.36)),
    "phone": Room(
      microphone=room.Microphone(
        low_hz=300.0,
        high_hz=3400.0,
        order=4,
        level_db=(-34.0, -22.0),
        snr_db=(18.0, 30.0),
        overdrive_db=(1.5, 1.5),
      )
    ),
    "noisy": Room(
      microphone=room.Microphone(level_db=(-30.0, -20.0), snr_db=(3.0, 9.0)),
      echo_seconds=(0.2, 0.3),
      direct=5.0,
    ),
  }
)
