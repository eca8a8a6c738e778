"""Cut off a spotter's last layer as a model of its own.

A clip is 64 bytes or so at the input of the last layer, where it is thousands
at the model's: what a head learns again fits into little memory, and the
layers before it run once a clip.
"""

from __future__ import annotations

import dataclasses
import hashlib

from apps.kws.model.spotter import Spotter
from tflm_fg.marking import mark_trainable
from tflm_fg.runtimes import Session, open_session
from tflm_fg.tflite import Cut, MarkedModel, Patchable, cut, weights_of
from tflm_fg.training import run_all
from tflm_fg.types import Array, TflmFgError


@dataclasses.dataclass(frozen=True)
class Head:
  """A model cut in front of its last layer.

  Attributes:
    marked: the whole model, its last layer marked.
    pieces: the frozen layers, and the last.
    prefix: the frozen layers in an engine; None where there are none.
  """

  marked: MarkedModel
  pieces: Cut
  prefix: Session | None

  @property
  def model(self) -> bytes:
    """The last layer, a .tflite of its own."""
    return self.pieces.suffix.data

  @property
  def digest(self) -> str:
    """Names the frozen layers: what they make fits no others."""
    held = b"" if self.pieces.prefix is None else self.pieces.prefix.data
    return hashlib.sha256(held).hexdigest()[:16]

  def inputs(self, x: Array) -> Array:
    """What the last layer is given for clips on the model's input grid."""
    if self.prefix is None:
      return x
    (made,) = run_all(self.prefix, (x,))
    return made

  def graft(self, adapted: bytes) -> bytes:
    """The whole model, marked, with the last layer's weights of `adapted`."""
    trained = mark_trainable(adapted, "head").mark.trainable
    whole = Patchable(
      self.marked.data, [t.index for t in self.marked.mark.trainable]
    )
    return whole.write(
      weights_of(mark_trainable(adapted, "head").data, trained)
    )


def cut_off(spotter: Spotter, runtime: str = "litert") -> Head:
  """Cuts a spotter in front of its last layer.

  Raises:
    TflmFgError: if the last layer cannot be trained alone.
  """
  marked = mark_trainable(spotter.model, "head", name=spotter.name)
  pieces = cut(marked.data, marked.mark)
  if len(pieces.suffix.inputs) != 1:
    raise TflmFgError(
      f"{spotter.name}: its last layer reads {len(pieces.suffix.inputs)} "
      "tensors; only one can be replayed"
    )
  prefix = None
  if pieces.prefix is not None:
    prefix = open_session(runtime, pieces.prefix)
  return Head(marked, pieces, prefix)
