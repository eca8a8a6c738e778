"""Write the constants of one phase of training for the trainer in C.

A blob is words of 32 bits: a header, then tables at the places that the header
names. All that is a float in Python and known before a sample is seen is made
an integer here, so that a device needs none. `fg_core.h` names the words.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from tflm_fg.fixed_point.head_factors import (
  bias_constants,
  kernel_constants,
)
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.fixed_point.pull import pull_constants
from tflm_fg.gradients.closed_form import REFUSAL, ClosedForm
from tflm_fg.gradients.method import Method
from tflm_fg.gradients.per_sample import GAIN_STARTS, PerSample
from tflm_fg.gradients.perturbation import EPSILON_BITS
from tflm_fg.gradients.sample_slopes import require_data
from tflm_fg.gradients.spsa import SignSPSA
from tflm_fg.losses.base import Loss
from tflm_fg.losses.binary_cross_entropy import (
  Bernoulli,
  BernoulliInformation,
  BinaryCrossEntropy,
)
from tflm_fg.losses.cross_entropy import CrossEntropy, bits_a_step
from tflm_fg.losses.information_maximization import InformationMaximisation
from tflm_fg.optimizers.schedules import RATE_BITS
from tflm_fg.optimizers.transforms import kept
from tflm_fg.placement.phase_record import masters_of
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.tensors import tensor_spec
from tflm_fg.training.exact_settings import exact
from tflm_fg.training.objective import Task, loss_of, output_spec, width
from tflm_fg.types import Array, Mark, TflmFgError, TrainableTensor

MAGIC, VERSION = b"FGB1", 1
HEADER = """
  magic version bytes crc method loss outputs zero_point seed_low seed_high
  steps batch validate_every rate decay momentum optimizer directions epsilon
  keeper tensors tensor_table kernels biases tables gain_tables bits_a_step dim
  input_zero centred kernel_factors kernel_bits bias_factors bias_bits
  pull_kernel pull_bias scans scan_table reserved0 reserved1
""".split()
"""The words of the header, as `fg_core.h` has them."""

MOST_DIRECTIONS, MOST_OUTPUTS = 64, 256

METHODS: tuple[type[Method], ...] = (ClosedForm, SignSPSA, PerSample)
ROLES = ("kernel", "bias", "offset", "gain")
OPTIMIZERS = ("sgd", "sign")
DECAYS = ("constant", "linear")
_KEEP_UNLESS_WORSE, _KEEP_BEST = 1, 2


def make_blob(
  marked: ModelFile, mark: Mark, method: Method, task: Task | None = None
) -> bytes:
  """The blob of a phase that starts from a marked file.

  Args:
    marked: the marked file.
    mark: its mark, with the tensors of the phase alone.
    method: `ClosedForm`, `SignSPSA` or `PerSample`. What it leaves open is
      filled in where that needs no samples.
    task: what is learned; None for classes under cross-entropy.

  Raises:
    TflmFgError: if the C trainer does not know a setting, a tensor or a loss.
  """
  layout, spec = Layout(mark.trainable), output_spec(marked, mark)
  loss = loss_of(spec, Task() if task is None else task)
  filled = _filled(method, layout, loss)
  _require_known(filled, layout, loss)
  words, outputs = _Words(), width(spec)
  if outputs > MOST_OUTPUTS:
    raise TflmFgError(
      f"{outputs} outputs: the trainer in C takes up to {MOST_OUTPUTS}, whose "
      "labels are bytes; adapt this model on the host"
    )
  _write_training(words, filled, layout)
  _write_loss(words, loss, filled, outputs)
  _write_tensors(words, layout, masters_of(marked, mark))
  if isinstance(filled, ClosedForm):
    _write_head(words, filled, layout, loss, marked, mark, outputs)
  return words.to_bytes()


class _Words:
  """A header and what stands behind it."""

  def __init__(self) -> None:
    self._header = dict.fromkeys(HEADER, 0)
    self._rest: list[int] = []

  def add(self, values: Iterable[int]) -> int:
    """Puts words behind the others; gives their place."""
    place = len(HEADER) + len(self._rest)
    self._rest += [int(v) for v in values]
    return place

  def set(self, **values: int) -> None:
    """Sets words of the header by name."""
    self._header |= {name: int(value) for name, value in values.items()}

  def to_bytes(self) -> bytes:
    """Little-endian, with length and checksum."""
    words = [*self._header.values()][_CHECKED:] + self._rest
    body = struct.pack(f"<{len(words)}I", *(w & 0xFFFFFFFF for w in words))
    whole = len(body) + 4 * _CHECKED
    return MAGIC + struct.pack("<III", VERSION, whole, zlib.crc32(body)) + body


_CHECKED = 4
"""Words in front of those that the checksum is of."""


def _filled(method: Method, layout: Layout, loss: Loss) -> Any:
  """The method with nothing left open."""
  if type(method) not in METHODS:
    raise TflmFgError(
      f"method {method.name!r}: the trainer in C has "
      f"{', '.join(m.name for m in METHODS)}; choose one of them"
    )
  filled = method.for_layout(layout).filled()
  if isinstance(filled, ClosedForm):
    filled, _ = exact(filled, layout, loss)
  if filled.batch_size is None:
    filled = dataclasses.replace(filled, batch_size=64)
  for name in ("epsilon_lsb", "learning_rate_lsb"):
    if getattr(filled, name, 0) is None:
      raise TflmFgError(
        f"{name}: is measured on samples, which a device has and the host has "
        f"not; give --{name}, as a run of tflm-fg-adapt reports it"
      )
  return filled


def _require_known(method: Any, layout: Layout, loss: Loss) -> None:
  """Refuses by name what the trainer in C does not have."""
  known: dict[str, tuple[Any, ...]] = {
    "optimizer": OPTIMIZERS,
    "decay": DECAYS,
    "rounding": ("nearest",),
    "precision": ("16w8a",),
    "anchor": (0,),
    "patience": (0,),
    "directions": ("rademacher",),
    "guidance": (0,),
    "kernel_wise": (False,),
    "sparsity": (0,),
    "blocks": (1,),
  }
  for name, values in known.items():
    value = getattr(method, name, values[0])
    if value not in values:
      raise TflmFgError(
        f"{name}={value!r}: the trainer in C knows "
        f"{' and '.join(map(repr, values))}"
      )
  if getattr(method, "num_directions", 1) > MOST_DIRECTIONS:
    raise TflmFgError(
      f"num_directions={method.num_directions}: the trainer in C takes up to "
      f"{MOST_DIRECTIONS}"
    )
  for tensor in layout.tensors:
    held = "int32" if tensor.role == "bias" else "int8"
    if tensor.role not in ROLES or tensor.dtype != held:
      raise TflmFgError(
        f"{tensor.name}: a {tensor.role} of {tensor.dtype}; the trainer in C "
        "trains int8 kernels, offsets and gains, and int32 biases"
      )
  if isinstance(method, PerSample):
    require_data(layout)
    if any(t.role == "bias" for t in layout.tensors):
      raise TflmFgError(
        f"{layout.tensors[0].name}: per-sample trains input prompts alone in "
        "C; use --trainable=prompt"
      )
  if not isinstance(loss, CrossEntropy | Bernoulli):
    raise TflmFgError(
      f"loss {type(loss).__name__}: the trainer in C has cross-entropy, binary "
      "cross-entropy and information maximisation"
    )


def _write_training(words: _Words, method: Any, layout: Layout) -> None:
  rate = round(method.learning_rate_lsb * (1 << RATE_BITS))
  if not 1 <= rate < 1 << 32:
    raise TflmFgError(
      f"learning_rate_lsb={method.learning_rate_lsb}: need 2**-16 to below "
      "65536 int8 steps"
    )
  ends_only = method.validate_every >= method.steps
  epsilon = getattr(method, "epsilon_lsb", 0)
  words.set(
    method=METHODS.index(type(method)),
    seed_low=method.seed & 0xFFFFFFFF,
    seed_high=method.seed >> 32,
    steps=method.steps,
    batch=method.batch_size,
    validate_every=method.validate_every,
    rate=rate,
    decay=DECAYS.index(method.decay),
    momentum=kept(method.momentum),
    optimizer=OPTIMIZERS.index(method.optimizer),
    directions=getattr(method, "num_directions", 1),
    epsilon=round(epsilon * (1 << EPSILON_BITS)),
    keeper=_KEEP_UNLESS_WORSE if ends_only else _KEEP_BEST,
    kernels=layout.num_kernels,
    biases=layout.num_biases,
  )
  has_gain = any(t.role == "gain" for t in layout.tensors)
  if isinstance(method, PerSample) and method.scan and has_gain:
    words.set(scans=len(GAIN_STARTS), scan_table=words.add(GAIN_STARTS))


_LOSSES = (
  CrossEntropy,
  BinaryCrossEntropy,
  InformationMaximisation,
  BernoulliInformation,
)
"""In the order of their numbers; the last that fits counts."""


def _write_loss(
  words: _Words, loss: Loss, method: Method, outputs: int
) -> None:
  gain = getattr(method, "logit_gain", 0) or 1.0
  kinds = [n for n, kind in enumerate(_LOSSES) if isinstance(loss, kind)]
  place = words.add(_tables(loss))
  sloped = place if gain == 1 else words.add(_tables(loss.magnified(gain)))
  words.set(loss=kinds[-1], outputs=outputs, tables=place, gain_tables=sloped)
  if isinstance(loss, Bernoulli):
    words.set(zero_point=loss.grid.zero_point)
    words.set(bits_a_step=bits_a_step(loss.grid.scale))
  elif isinstance(loss, CrossEntropy):
    words.set(bits_a_step=bits_a_step(loss.scale))


def _tables(loss: Any) -> list[int]:
  if isinstance(loss, Bernoulli):
    table = loss.table
    parts = [table.distance, table.tail, table.sure]
  else:
    parts = [loss.distance, loss.power]
  if any(len(part) != 256 for part in parts):
    raise TflmFgError(
      "logits of int16: the trainer in C takes int8; convert the model with "
      "int8 activations"
    )
  return [int(v) for part in parts for v in part]


def _write_tensors(
  words: _Words, layout: Layout, masters: dict[int, Array]
) -> None:
  table: list[int] = []
  for tensor, where in layout.places:
    start = masters[tensor.index]
    if tensor.has_master:
      high = (start.astype(np.int64) >> 8).astype(np.int8)
      padded = high.tobytes() + bytes(-len(high) % 4)
      values = np.frombuffer(padded, "<u4").tolist()
    else:
      values = start.tolist()
    channels, inner = _channels(tensor)
    table += [ROLES.index(tensor.role), tensor.index, tensor.size, where.start]
    table += [channels, inner, words.add(tensor.output_step), words.add(values)]
  words.set(tensors=len(layout.tensors), tensor_table=words.add(table))


def _channels(tensor: TrainableTensor) -> tuple[int, int]:
  """How many steps a tensor has, and how many numbers in a row share one."""
  channels = len(tensor.output_step)
  if channels == 1:
    return 1, tensor.size
  inner = np.prod(tensor.shape[tensor.channel_axis + 1 :], dtype=np.int64)
  return channels, int(inner)


def _write_head(
  words: _Words,
  method: ClosedForm,
  layout: Layout,
  loss: Loss,
  marked: ModelFile,
  mark: Mark,
  outputs: int,
) -> None:
  tensors = {t.role: t for t in layout.tensors}
  spec = tensor_spec(marked, mark.head_input)
  dim = int(np.prod(spec.shape[1:], dtype=np.int64))
  fits = {"kernel": outputs * dim, "bias": outputs}
  alone = len(tensors) == len(layout.tensors)
  if not alone or any(t.size != fits.get(r) for r, t in tensors.items()):
    raise TflmFgError(REFUSAL)
  words.set(dim=dim, input_zero=spec.zero_point, centred=len(tensors) == 2)
  reach = loss.reach / (method.logit_gain or 1.0)
  if "kernel" in tensors:
    found = kernel_constants(reach, spec.scale, tensors["kernel"])
    each = words.add(np.resize(found.mantissas, outputs))
    words.set(kernel_factors=each, kernel_bits=found.bits)
  if "bias" in tensors:
    found = bias_constants(reach, tensors["bias"])
    each = words.add(np.resize(found.mantissas, outputs))
    words.set(bias_factors=each, bias_bits=found.bits)
  if method.pull:
    kernel, bias = pull_constants(method.pull)
    words.set(pull_kernel=kernel, pull_bias=bias)
