"""Make the calls of a file that trains itself in NumPy, to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tflm_fg.signatures.engine import NumpyEngine
from tflm_fg.signatures.frozen import Frozen, interpreter_of
from tflm_fg.signatures.head import forget, remember
from tflm_fg.signatures.head_calls import (
  evaluate_head,
  set_weights,
  train_head,
  weights_now,
)
from tflm_fg.signatures.input_state import (
  forget_prompt,
  prompt_now,
  prompt_state,
  set_prompt,
)
from tflm_fg.signatures.prompt import adapt_input
from tflm_fg.signatures.spec import folded, head_spec, prompt_spec
from tflm_fg.tflite import MarkedModel, ModelFile
from tflm_fg.tflite.training_metadata import stripped
from tflm_fg.types import Array, TflmFgError

Given = dict[str, Array]
"""Outputs of a call by their names, as a runtime's signature gives them."""


class SimulatedSignatures:
  """The signatures of a file, as methods.

  Training is integer arithmetic, and so gives the bytes that every runtime
  gives. What the frozen layers give depends on the kernels that run them; a
  runtime with the same kernels gives the same. Inputs and outputs are those of
  the native file, not those of --io=float32.

  Example:
    >>> marked = tflm_fg.mark_trainable("kws.tflite", "head")
    >>> file = tflm_fg.simulate_signatures(marked)
    >>> for sample, label in zip(x, y):
    ...   file.remember(sample[None], np.int32([label]))
    >>> file.train(np.int32([100]), np.float32([1]))["loss"]
    >>> file.get_weights()["kernel"]
  """

  def __init__(
    self, marked: MarkedModel, capacity: int, batch_size: int, kernels: str
  ) -> None:
    """Begins as a file does that no call has changed; see the function."""
    self.head = head_spec(marked, capacity)
    self.prompt = prompt_spec(marked, batch_size)
    self._marked, self._kernels = marked, kernels
    self._frozen = Frozen(marked, kernels)
    self._engine = NumpyEngine()
    self._infers: tuple[bytes, Any] = b"", None
    self.reset()

  def infer(self, x: Array) -> Given:
    """Gives `probabilities` of x [1, ...].

    It runs the plain file with the weights that were trained.
    """
    weights = self.get_weights()
    key = b"".join(value.tobytes() for value in weights.values())
    if self._infers[0] != key:
      file = ModelFile.open(folded(self._marked, **weights), "folded")
      data = stripped(file).data
      self._infers = key, interpreter_of(data, self._kernels)
    engine = self._infers[1]
    engine.set_tensor(engine.get_input_details()[0]["index"], x)
    engine.invoke()
    out = engine.get_output_details()[0]["index"]
    return {"probabilities": engine.get_tensor(out)}

  def remember(self, x: Array, y: Array) -> Given:
    """Remembers x [1, ...] and y int32 [1], and gives `count`."""
    gain = offset = np.zeros((1,), np.int8)
    if self.prompt is not None:
      state = prompt_state(self.head, self.prompt)
      gain, offset = map(self._engine.read, (state.gain, state.offset))
    features = self._frozen.features(self._frozen.flow(x), gain, offset)
    count = self._call(remember, self.head, features, _whole(y))
    return {"count": count}

  def train(self, steps: Array, rate: Array) -> Given:
    """Trains: steps int32 [1] and rate float32 [1]; gives `loss`."""
    rate = np.asarray(rate, np.float32)
    return {"loss": self._call(train_head, self.head, _whole(steps), rate)}

  def evaluate(self) -> Given:
    """Gives `loss`, `correct` and `count` of what is remembered."""
    return _named(self._call(evaluate_head, self.head))

  def adapt_input(self, x: Array, y: Array, seed: Array) -> Given:
    """One step of the prompt; gives `loss` and `changed`.

    Args:
      x: [B, ...].
      y: int32 [B].
      seed: int32 [1].

    Raises:
      TflmFgError: if the file has no prompt.
    """
    if self.prompt is None:
      raise TflmFgError(
        f"{self._marked.file.name}: has no prompt, so that its file has no "
        "adapt_input; mark it with 'prompt,head' and one common gain"
      )
    flow, labels, drawn = self._frozen.flow(x), _whole(y), _whole(seed)
    given = self.head, self.prompt, flow, labels, drawn, self._features
    return _named(self._call(adapt_input, *given))

  def get_weights(self) -> Given:
    """Gives `kernel`, `bias` and, with a prompt, `offset` and `gain`."""
    found = _named(self._call(weights_now, self.head))
    if self.prompt is not None:
      found |= _named(self._call(prompt_now, self.head, self.prompt))
    return found

  def set_weights(
    self,
    kernel: Array,
    bias: Array,
    offset: Array | None = None,
    gain: Array | None = None,
  ) -> Given:
    """Takes what `get_weights` gave; gives `accepted`."""
    given = self.head, _whole(kernel), _whole(bias)
    accepted = self._call(set_weights, *given)
    if self.prompt is not None:
      numbers = _whole(offset), _whole(gain)
      self._call(set_prompt, self.head, self.prompt, *numbers, accepted)
    return {"accepted": accepted}

  def reset(self) -> Given:
    """Forgets all; gives `count`."""
    self._call(forget, self.head)
    if self.prompt is not None:
      self._call(forget_prompt, self.head, self.prompt)
    return {"count": np.zeros(1, np.int32)}

  def _features(self, e: Any, x: Array, gain: Array, offset: Array) -> Array:
    del e
    return self._frozen.features(x, gain, offset)

  def _call(self, function: Callable[..., Any], *given: Any) -> Any:
    with np.errstate(over="ignore"):  # what wraps around does so on devices
      return function(self._engine, *given)


def simulate_signatures(
  marked: MarkedModel,
  capacity: int = 512,
  batch_size: int = 8,
  kernels: str = "reference",
) -> SimulatedSignatures:
  """What the file of `tflm-fg-export --target=signatures` does, in NumPy.

  Args:
    marked: the file that is exported: `mark_trainable(model, "head")`,
      `"wide-head"`, or `"prompt,head"` with a gain that all channels share.
    capacity: how many samples it remembers, as exported.
    batch_size: samples of a call of `adapt_input`, as exported.
    kernels: what runs the frozen layers: "reference", "optimized" or
      "xnnpack", all of LiteRT.

  Returns:
    An object with a method for each signature.

  Raises:
    TflmFgError: if the model cannot train itself.
  """
  return SimulatedSignatures(marked, capacity, batch_size, kernels)


def _whole(values: Any) -> Array:
  return np.asarray(values, np.int32)


def _named(found: NamedTuple) -> Given:
  return dict(found._asdict())
