"""Turn one second of sound into log-mel energies or MFCCs.

The usual chain of spectrogram, mel filters, logarithm and cosine transform.
The parameters of `MFCC` are those of MLPerf Tiny's keyword spotter, whose
input is [49, 10, 1]: a clip is first scaled to its highest sample.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import TflmFgError

_BREAK_HZ, _MELS_A_NEPER = 700.0, 1127.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameters:
  """What defines the features.

  Attributes:
    sample_rate_hz: sampling rate of a clip.
    clip_samples: samples of a clip.
    window_ms: length of one analysis window (Hann).
    step_ms: distance from one window to the next.
    channels: mel filters, triangles on the mel scale.
    low_hz: lower edge of the lowest filter.
    high_hz: upper edge of the highest filter.
    coefficients: MFCCs kept, or 0 for the log-mel energies themselves.
    log_floor: added to each energy before the logarithm.
    to_peak: whether a clip is first scaled to its highest sample.
  """

  sample_rate_hz: int = 16_000
  clip_samples: int = 16_000
  window_ms: int = 30
  step_ms: int = 20
  channels: int = 40
  low_hz: float = 20.0
  high_hz: float = 4000.0
  coefficients: int = 10
  log_floor: float = 1e-6
  to_peak: bool = True

  @property
  def window(self) -> int:
    """Samples of a window."""
    return self.sample_rate_hz * self.window_ms // 1000

  @property
  def step(self) -> int:
    """Samples from one window to the next."""
    return self.sample_rate_hz * self.step_ms // 1000

  @property
  def shape(self) -> tuple[int, int, int]:
    """The shape of one clip's features: frames, columns, 1."""
    frames = (self.clip_samples - self.window) // self.step + 1
    return frames, self.coefficients or self.channels, 1

  def check(self) -> None:
    """Refuses what cannot be computed.

    Raises:
      ValueError: naming the parameter.
    """
    for field in dataclasses.fields(self):
      value, usual = getattr(self, field.name), field.default
      if type(value) not in (
        {float, int} if type(usual) is float else {type(usual)}
      ):
        raise ValueError(f"{field.name}={value!r}")
    if self.sample_rate_hz != MFCC.sample_rate_hz:
      raise ValueError(f"sample_rate_hz={self.sample_rate_hz}, need 16000")
    if not 0 < self.step <= self.window <= self.clip_samples <= 160_000:
      raise ValueError(
        f"window_ms={self.window_ms}, step_ms={self.step_ms}, "
        f"clip_samples={self.clip_samples}"
      )
    if not 1 <= self.channels <= 256 or not (
      0 <= self.coefficients <= self.channels
    ):
      raise ValueError(
        f"channels={self.channels}, coefficients={self.coefficients}"
      )
    if not 0 <= self.low_hz < self.high_hz <= self.sample_rate_hz / 2:
      raise ValueError(f"low_hz={self.low_hz}, high_hz={self.high_hz}")
    if not 0 < self.log_floor < 1:
      raise ValueError(f"log_floor={self.log_floor}")


MFCC = Parameters()
LOGMEL = Parameters(coefficients=0, high_hz=7600.0, to_peak=False)


def features(
  clip: NDArray[np.int16], parameters: Parameters = MFCC
) -> NDArray[np.float32]:
  """Computes one clip's features.

  Args:
    clip: int16 [clip_samples].
    parameters: what to compute.

  Returns:
    float32 [frames, columns, 1]: MFCCs (orthonormal cosine transform but for
    the first, which is larger by the square root of two) or log energies.

  Raises:
    TflmFgError: if the clip has another shape or dtype.
  """
  if clip.shape != (parameters.clip_samples,) or clip.dtype != np.int16:
    raise TflmFgError(
      f"clip: need int16 [{parameters.clip_samples}] at "
      f"{parameters.sample_rate_hz} Hz, got {clip.dtype} {list(clip.shape)}; "
      "resample, pad or cut it"
    )
  samples = clip.astype(np.float64) / 32768
  if parameters.to_peak:
    samples /= max(float(samples.max()), 1 / 32768)
  frames = np.lib.stride_tricks.sliding_window_view(samples, parameters.window)
  frames = frames[:: parameters.step] * _hann(parameters.window)
  bins = 1 << (parameters.window - 1).bit_length()
  spectrum = np.abs(np.fft.rfft(frames, bins))
  energies = np.log(spectrum @ filters(parameters) + parameters.log_floor)
  if parameters.coefficients:
    energies = energies @ _cosines(parameters.channels, parameters.coefficients)
  return energies.astype(np.float32)[..., None]


@functools.cache
def _hann(window: int) -> NDArray[np.float64]:
  return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))


@functools.cache
def filters(parameters: Parameters) -> NDArray[np.float64]:
  """Triangles float64 [bins, channels], straight-sided on the mel scale."""
  bins = 1 << (parameters.window - 1).bit_length()
  edges = np.linspace(
    _mels(parameters.low_hz),
    _mels(parameters.high_hz),
    parameters.channels + 2,
  )
  heard = _mels(np.fft.rfftfreq(bins, 1 / parameters.sample_rate_hz))[:, None]
  rising = (heard - edges[:-2]) / (edges[1:-1] - edges[:-2])
  falling = (edges[2:] - heard) / (edges[2:] - edges[1:-1])
  triangles = np.maximum(0.0, np.minimum(rising, falling))
  triangles[0] = 0.0  # the constant part of a signal is no sound
  return np.asarray(triangles)


@functools.cache
def _cosines(channels: int, kept: int) -> NDArray[np.float64]:
  angles = np.outer(np.arange(channels) + 0.5, np.arange(kept))
  return np.asarray(np.cos(np.pi * angles / channels) * np.sqrt(2 / channels))


def _mels(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
  return np.asarray(_MELS_A_NEPER * np.log1p(np.asarray(hertz) / _BREAK_HZ))
