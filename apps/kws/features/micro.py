"""Turn one second of sound into the [49, 40, 1] features that a model takes.

The features are those of TensorFlow Lite Micro's own audio frontend, through
the package pymicro-features, so that they equal what a device computes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameters:
  """What defines the features; fixed by pymicro-features but for the stride.

  Attributes:
    sample_rate_hz: Sampling rate of a clip.
    clip_samples: Samples in a clip.
    window_ms: Length of one analysis window.
    step_ms: Distance from one window to the next.
    channels: Mel channels a frame.
    frame_stride: Every how many frames one is kept.
    unit: Value of one step of the frontend's 16-bit output.
  """

  sample_rate_hz: int = 16_000
  clip_samples: int = 16_000
  window_ms: int = 30
  step_ms: int = 10
  channels: int = 40
  frame_stride: int = 2
  unit: float = 0.0390625

  @property
  def shape(self) -> tuple[int, int, int]:
    """The shape of one clip's features: frames, channels, 1."""
    clip_ms = self.clip_samples * 1000 // self.sample_rate_hz
    frames = (clip_ms - self.window_ms) // self.step_ms + 1
    return -(-frames // self.frame_stride), self.channels, 1


PARAMETERS = Parameters()


def features(clip: NDArray[np.int16]) -> NDArray[np.float32]:
  """Computes the features of one clip, from a reset frontend.

  The frontend adapts to the noise it has heard, so a state carried over from
  the clip before would change the features.

  Args:
    clip: int16 [16000] at 16 kHz.

  Returns:
    float32 [49, 40, 1], 0 to about 26, in the frontend's own unit.

  Raises:
    TflmFgError: The clip has another shape or dtype.
    TflmFgError: pymicro-features is missing.
  """
  if clip.shape != (PARAMETERS.clip_samples,) or clip.dtype != np.int16:
    raise TflmFgError(
      f"clip: need int16 [{PARAMETERS.clip_samples}] at "
      f"{PARAMETERS.sample_rate_hz} Hz, got {clip.dtype} {list(clip.shape)}; "
      "resample, pad or cut it"
    )
  frames = _frames(clip.astype("<i2").tobytes())[:: PARAMETERS.frame_stride]
  return np.array(frames, np.float32).reshape(PARAMETERS.shape)


def _frames(pcm: bytes) -> list[list[float]]:
  try:
    import pymicro_features  # type: ignore[import-untyped]
  except ImportError as error:
    raise TflmFgError(
      "the audio frontend needs: pip install 'tflm-fg[kws]'"
    ) from error
  micro_frontend = pymicro_features.MicroFrontend()  # 16 us, and so no reset.
  step = 2 * PARAMETERS.sample_rate_hz * PARAMETERS.step_ms // 1000
  outputs = (
    micro_frontend.process_samples(pcm[start : start + step]).features
    for start in range(0, len(pcm), step)
  )
  return [frame for frame in outputs if frame]
