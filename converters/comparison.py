"""Compare a float model with the integer file that was made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflm_fg.runtimes import interpreter_maker

Outputs = list[NDArray[np.float32]]
"""What a model gives for one sample, an array an output."""

MAX_COMPARED_SAMPLES = 200
"""More samples say little more about how far two models are apart."""


@dataclasses.dataclass(frozen=True)
class Comparison:
  """How far an integer file is from its float model, on the same samples.

  Attributes:
    samples: how many were compared.
    same_answer: share of samples whose largest output is the same one; None
      where no output has the shape [1, n] with n above 1.
    mean_difference: mean absolute difference of the outputs, in their units.
    output_step: what one step of the integer output stands for.
  """

  samples: int
  same_answer: float | None
  mean_difference: float
  output_step: float

  def line(self) -> str:
    """One line for people."""
    said = f"on {self.samples} calibration samples the integer file differs "
    said += f"from the float model by {self.mean_difference:.3g} on average"
    if self.output_step > 0:
      steps = self.mean_difference / self.output_step
      said += f" ({steps:.1f} output steps)"
    if self.same_answer is not None:
      said += f"; its largest output is the same in {self.same_answer:.1%}"
    return said


def compare(
  floats: Callable[[NDArray[Any]], Outputs],
  data: bytes,
  samples: NDArray[Any],
) -> Comparison | None:
  """Runs both models on the same samples.

  Only outputs whose shape no other output of the model has are compared, since
  a converter may give several outputs another order.

  Args:
    floats: gives the float model's outputs for one sample [1, ...].
    data: the integer .tflite.
    samples: [N, ...]: floats in the units that the model was trained on, or
      integers for a model that takes integers.

  Returns:
    The comparison, or None where no output can be compared.
  """
  stride = max(1, len(samples) // MAX_COMPARED_SAMPLES)
  chosen = samples[::stride][:MAX_COMPARED_SAMPLES]
  run = file_outputs(data)
  pairs = [
    pair
    for sample in chosen
    for pair in _pairs(floats(sample[None]), run(sample[None]))
  ]
  if not pairs:
    return None
  answers = [
    int(got.argmax()) == int(wanted.argmax())
    for wanted, (got, _) in pairs
    if wanted.ndim == 2 and wanted.shape[0] == 1 < wanted.shape[1]
  ]
  errors = [np.abs(got - wanted).mean() for wanted, (got, _) in pairs]
  return Comparison(
    samples=len(chosen),
    same_answer=float(np.mean(answers)) if answers else None,
    mean_difference=float(np.mean(errors)),
    output_step=max(step for _, (_, step) in pairs),
  )


_Real = tuple[NDArray[np.float32], float]
"""An output in real numbers, and what one step of it stands for."""


def _pairs(
  floats: Outputs, integers: list[_Real]
) -> list[tuple[NDArray[np.float32], _Real]]:
  """The outputs of both models that have the same shape, and it alone."""
  shapes = [value.shape for value in floats]
  found = []
  for value, step in integers:
    if shapes.count(value.shape) == 1:
      found.append((floats[shapes.index(value.shape)], (value, step)))
  return found


def file_outputs(
  data: bytes,
) -> Callable[[NDArray[np.float32]], list[_Real]]:
  """A function that runs one float sample through a .tflite, in LiteRT.

  Args:
    data: a .tflite of one input, which is float32, int8, int16 or int32.

  Returns:
    A function of a sample [1, ...] that gives its outputs in real numbers.
  """
  from ai_edge_litert import interpreter as litert

  make = interpreter_maker(litert, "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
  interpreter = make(bytes(bytearray(data)))
  interpreter.allocate_tensors()
  (source,) = interpreter.get_input_details()
  outputs = interpreter.get_output_details()

  def run(sample: NDArray[np.float32]) -> list[_Real]:
    given = _on_grid(sample, source).reshape(source["shape"])
    interpreter.set_tensor(source["index"], given)
    interpreter.reset_all_variables()
    interpreter.invoke()
    return [_real(interpreter.get_tensor(d["index"]), d) for d in outputs]

  return run


def _on_grid(sample: NDArray[np.float32], detail: dict[str, Any]) -> Any:
  """A float sample in the dtype and on the grid of an input."""
  dtype = np.dtype(detail["dtype"])
  scale, zero_point = detail["quantization"]
  if dtype.kind == "f" or not scale:  # floats, or tokens
    return sample.astype(dtype)
  limits = np.iinfo(dtype)
  steps = np.round(sample / scale) + zero_point
  return np.clip(steps, limits.min, limits.max).astype(dtype)


def _real(values: NDArray[Any], detail: dict[str, Any]) -> _Real:
  scale, zero_point = detail["quantization"]
  if not scale:
    return values.astype(np.float32), 0.0
  real = (values.astype(np.float32) - zero_point) * np.float32(scale)
  return real, float(scale)
