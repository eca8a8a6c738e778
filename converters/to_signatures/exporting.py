"""Write a file that trains itself."""

from __future__ import annotations

import dataclasses

from converters.float_ends import described, with_float_ends
from converters.packing import packed
from converters.to_signatures import calls
from converters.to_signatures.infer import add_infer
from converters.to_signatures.parts import taken_apart
from tflm_fg.signatures import LEAST_SAMPLES
from tflm_fg.tflite import MarkedModel
from tflm_fg.types import TflmFgError


@dataclasses.dataclass(frozen=True)
class Exported:
  """A file that trains itself.

  Attributes:
    data: its bytes.
    name: of the model, for errors.
  """

  data: bytes
  name: str

  @property
  def table(self) -> list[str]:
    """A line for each signature, with its inputs and outputs."""
    return described(self.data, self.name)


def to_signatures(
  marked: MarkedModel,
  capacity: int = 512,
  float_ends: bool = False,
  batch_size: int = 8,
  trains_head: bool = True,
) -> Exported:
  """Writes a file that trains itself, of builtin operators alone.

  Args:
    marked: a classifier whose head is marked, and maybe an offset of its input
      with one gain; then the file has `adapt_input`, too.
    capacity: how many samples it remembers.
    float_ends: whether inputs and outputs are float32 and int32 alone.
    batch_size: samples of a call of `adapt_input`.
    trains_head: whether it has `remember`, `train` and `evaluate`; a file with
      a prompt needs none of them.

  Raises:
    TflmFgError: naming what of the model no such file can have.
  """
  if not trains_head:
    capacity = LEAST_SAMPLES  # `adapt_input` forgets them, and none comes
  parts = taken_apart(marked, capacity, batch_size)
  if parts.prompt is None and not trains_head:
    raise TflmFgError(
      f"{marked.file.name}: nothing of it would train: its mark has no prompt"
    )
  calls.add_initial(parts)
  if trains_head:
    calls.add_remember(parts)
    calls.add_train(parts)
    calls.add_evaluate(parts)
  if parts.prompt is not None:
    calls.add_adapt_input(parts)
  calls.add_get_weights(parts)
  calls.add_set_weights(parts)
  calls.add_reset(parts)
  add_infer(parts)
  data = packed(parts.file.model)
  if float_ends:
    data = with_float_ends(data, marked.file.name)
  return Exported(data, marked.file.name)
