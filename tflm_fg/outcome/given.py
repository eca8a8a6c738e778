"""All samples that a user gave, checked before anything runs."""

from __future__ import annotations

import warnings
from typing import NamedTuple

from tflm_fg.memory.working import require_room
from tflm_fg.outcome.forgotten import OldSamples, old_samples
from tflm_fg.placement.checked_samples import CheckedSamples
from tflm_fg.placement.request import Request
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.types import Array


class Given(NamedTuple):
  """Samples as the user gave them; see `adaptation.adapt`."""

  x: Array
  y: Array | None
  test: tuple[Array, Array] | None
  old_data: tuple[Array, Array] | None
  replay: tuple[Array, Array] | None

  def checked(
    self, file: ModelFile, trainable: str | None, request: Request
  ) -> tuple[CheckedSamples, tuple[Array, Array] | None, OldSamples | None]:
    """Checks them, and warns of classes that are to be kept.

    Args:
      file: the model.
      trainable: what the user trains.
      request: what the user asked for.

    Returns:
      What is trained on; what is only scored; and what of before is.

    Raises:
      TflmFgError: naming the array that does not fit; or if all together
        need more memory than there is.
    """
    samples = CheckedSamples.of(file, self.x, self.y, request.objective)
    held_back = samples.others(self.test) if self.test else None
    old, again = (
      old_samples(file, samples, part, name, trainable)
      for part, name in ((self.old_data, "old_data"), (self.replay, "replay"))
    )
    if self.test and held_back is not None:
      samples = samples.beside(self.test, held_back)
    samples = samples.with_replay(*again) if again else samples
    scored = 0 if held_back is None else len(held_back[0])
    require_room(file, len(samples.x) + scored)
    if request.absent_classes == "keep":
      samples = samples.keeping(file)
      if samples.coverage is not None:  # before anything trains
        warnings.warn(samples.coverage.gaps, stacklevel=5)
    return samples, held_back, old
