"""Write vectors.h for check.c: inputs, and what Python makes of them.

python -m tests.micro.write_vectors vectors.h
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys

import numpy as np

import tflm_fg
from apps.kws.model.shipped import clips_of
from tests import models
from tflm_fg import methods, micro
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.placement import (
  Phase,
  PhaseResult,
  TrainingData,
  masters_of,
  open_for,
  phases_of,
  run_phase,
)
from tflm_fg.placement.phase_record import write_masters
from tflm_fg.runtimes import RuntimeOptions, open_session
from tflm_fg.samples import model_input
from tflm_fg.tflite import (
  GraphOptions,
  MarkedModel,
  ModelFile,
  Part,
  input_spec,
)
from tflm_fg.training import Task
from tflm_fg.training.objective import Objective

ROOT = pathlib.Path(__file__).parents[2]
SPOTTER = ROOT / "apps/kws/ds_cnn.tflite"

PROMPT = GraphOptions(gain=True, common_gain=True)

ENGINE = RuntimeOptions(
  runtime="tflm", strategy="in-place", exact_prefix=True, workers=1
)


@dataclasses.dataclass(frozen=True)
class Case:
  """A phase of training that Python and a device run.

  Attributes:
    name: a C name.
    marked: the model and what trains in it.
    method: how.
    x: int8 samples [N, ...] of the model's input; the last are tests.
    y: their classes.
    kept: how many in front of the tests are kept aside.
    tests: how many are only scored.
    whole: whether the device runs the frozen layers too, and writes a journal.
    runtime: the engine that Python runs.
  """

  name: str
  marked: MarkedModel
  method: methods.Method
  x: np.ndarray
  y: np.ndarray
  kept: int = 0
  tests: int = 0
  whole: bool = False
  runtime: str = "tflm"

  @property
  def count(self) -> int:
    """Samples that are not tests."""
    return len(self.x) - self.tests

  @functools.cached_property
  def phase(self) -> Phase:
    """The phase, with all settings but what samples decide."""
    objective = Objective.of("cross-entropy", 1.0, "auto")
    [phase] = phases_of(self.marked, self.method, objective)
    return phase

  @functools.cached_property
  def opened(self):
    """The phase, open in the runtime; `inputs` are of all samples."""
    marked = self.marked
    masters = masters_of(marked.file, marked.mark)
    engine = dataclasses.replace(ENGINE, runtime=self.runtime)
    return open_for(
      self.phase, marked.file, marked.mark, masters, self.x, engine
    )

  @functools.cached_property
  def ended(self) -> PhaseResult:
    """What Python makes of it."""
    numbers = np.arange(self.count)
    fit, kept = np.split(numbers, [self.count - self.kept])
    data = TrainingData(self.x, self.y, fit, kept, Task())
    return run_phase(self.opened, data)

  @property
  def adapted(self) -> bytes:
    """The marked file that Python makes of it."""
    marked = self.marked
    return write_masters(marked.file, marked.mark, self.ended.masters).data

  @property
  def blob(self) -> bytes:
    """The same phase for a device."""
    return micro.make_blob(
      self.marked.file, self.marked.mark, self.phase.method
    )

  def right(self, masters) -> int:
    """Right answers on the tests, with these masters."""
    graph, layout = self.opened.graph, Layout(self.marked.mark.trainable)
    graph.suffix.load(layout.weights(layout.gather(masters)))
    inputs = tuple(a[self.count :] for a in self.opened.inputs)
    (logits,) = graph.suffix.run(inputs)
    answers = logits.reshape(self.tests, -1).argmax(axis=1)
    return int(np.sum(answers == self.y[self.count :]))

  def source(self) -> str:
    """All of it as C."""
    name, pieces = self.name, micro.device_pieces(self.marked)
    trained = ModelFile.open(pieces.trained.data)
    network = micro.read_network(trained)
    parts = self._model(pieces, network)
    samples = self.opened.inputs[0].reshape(len(self.x), -1)
    end, tensors = self.ended.masters, self.marked.mark.trainable
    held = [end[t.index] for t in tensors if t.role != "bias"]
    biases = [end[t.index] for t in tensors if t.role == "bias"]
    sizes = micro.device_sizes(self.blob, self.count)
    parts += [
      micro.c_array(f"{name}_blob", np.frombuffer(self.blob, "<u4")),
      micro.c_array(f"{name}_samples", samples),
      micro.c_array(f"{name}_labels", self.y.astype(np.uint8)),
      micro.c_array(f"{name}_masters", np.concatenate(held).astype(np.int16)),
      micro.c_array(
        f"{name}_biases", np.concatenate([*biases, [0]]).astype(np.int32)
      ),
    ]
    prefix = "0, 0, 0, 0, 0, 0"
    if self.whole and pieces.prefix is not None:
      frozen = micro.read_network(pieces.prefix.data)
      raw = self.x.reshape(len(self.x), -1)
      own = np.zeros_like(samples)
      parts += [
        micro.network_source(frozen, f"{name}_prefix"),
        micro.c_array(f"{name}_raw", raw),
        micro.c_array(f"{name}_own", own, writable=True),
      ]
      prefix = (
        f"&{name}_prefix, {frozen.inputs[0]}, {frozen.outputs[0]}, {name}_raw, "
        f"{raw.shape[1]}, {name}_own"
      )
    flows = network.inputs[1:]
    before, after = 0, 0
    if self.tests:
      before, after = self.right(self.opened.masters), self.right(end)
    fields = [
      f'"{name}", ' + (f'"{name}.saved"' if self.whole else "0"),
      f"{name}_blob, sizeof {name}_blob, &{name}, {network.inputs[0]}, "
      f"{network.outputs[0]}, {name}_flows, {len(flows)}, {len(tensors)}, "
      f"{name}_tensors",
      f"{name}_samples, {samples.shape[1]}, {pieces.trained.output_bytes}, "
      f"{self.count}, {self.kept}, {self.tests}, {name}_labels, "
      f"{int(sizes.features)}",
      prefix,
      f"{name}_masters, {name}_biases, {before}, {after}",
    ]
    parts.append(f"#define {name}_CASE {{{', '.join(fields)}}}\n")
    return "\n".join(parts)

  def _model(self, pieces, network) -> list[str]:
    """The trained network, and where its tensors lie."""
    name = self.name
    if pieces.flows:
      flows = [f"{name}_flow{i}" for i in range(len(pieces.values))]
      made = [
        micro.c_array(f, v, writable=True) for f, v in zip(flows, pieces.values)
      ]
      places, writable = flows, ()
    else:
      places = [f"{name}_t{i}" for i in pieces.indices]
      made, writable = [], pieces.indices
    inputs = ", ".join(map(str, (*network.inputs[1:], 0)))
    return [
      *made,
      micro.network_source(network, name, writable),
      f"static void *const {name}_tensors[] = {{{', '.join(places)}}};\n"
      f"static const uint16_t {name}_flows[] = {{{inputs}}};\n",
    ]


def spotter_logits(samples=2):
  """The shipped spotter from its input to its logits, and TFLM's."""
  file = ModelFile.open(SPOTTER.read_bytes())
  network = micro.read_network(file)
  graph = file.subgraph
  shape = graph.tensors[graph.inputs[0]].shape
  random = np.random.default_rng(0)
  x = random.integers(-128, 128, (samples, *shape[1:])).astype(np.int8)
  session = open_session("tflm", Part(file, graph.inputs, graph.outputs, ()))
  logits = np.concatenate([session.run((one[None],))[0] for one in x])
  numbers = {
    "LOGITS_SAMPLES": samples,
    "LOGITS_INPUT_BYTES": x[0].size,
    "LOGITS_OUTPUTS": logits[0].size,
    "LOGITS_INPUT": network.inputs[0],
    "LOGITS_OUTPUT": network.outputs[0],
  }
  return network.arena_bytes, [
    *(f"#define {name} {value}\n" for name, value in numbers.items()),
    micro.network_source(network, "logits_net"),
    micro.c_array("logits_x", x),
    micro.c_array("logits_wanted", logits),
  ]


def tones(count, seed=0):
  """Samples for the spotter: each class its own steady tone, in noise."""
  random = np.random.default_rng(seed)
  sounds = random.normal(0, 40, (12, 1, 40, 1))
  y = np.arange(count) % 12
  x = sounds[y] + random.normal(0, 60, (count, 49, 40, 1))
  return np.clip(x.round(), -128, 127).astype(np.int8), y


def spoken(per_word, tests_per_word, voice="child", gain=1.0, seed=0):
  """Clips of a voice as the shipped spotter takes them, and of as many tests.

  Args:
    per_word: clips of each of twelve classes.
    tests_per_word: the same of the tests, which come last.
    voice: one that the spotter does not know.
    gain: what the real features are multiplied by.
    seed: of the voice.
  """
  file = ModelFile.open(SPOTTER.read_bytes())
  parts = clips_of(voice, per_word, tests_per_word, seed)
  x, y = (np.concatenate(both) for both in zip(*parts))
  return model_input(gain * x, input_spec(file), "clips"), y


def points(shape, count, classes, seed=0):
  """Samples of any shape: each class its own pattern, in noise."""
  random = np.random.default_rng(seed)
  means = random.normal(0, 50, (classes, *shape))
  y = random.integers(0, classes, count)
  x = means[y] + random.normal(0, 30, (count, *shape))
  return np.clip(x.round(), -128, 127).astype(np.int8), y


def cases():
  """What every board runs: small, and quick."""
  spotter = SPOTTER.read_bytes()
  head = tflm_fg.mark_trainable(spotter, "head", name="spotter")
  x, y = tones(30)
  small = tflm_fg.mark_trainable(
    models.conv_model(), "prompt", graph_options=PROMPT, name="small"
  )
  sx, sy = points((6, 5, 2), 20, 3)
  return [
    Case("exact", head, methods.ClosedForm(steps=20), x, y, kept=6),
    Case("pulled", head, methods.ClosedForm(steps=9, pull=0.05), x, y),
    Case(
      "signs",
      head,
      methods.SignSPSA(
        steps=20,
        num_directions=3,
        batch_size=8,
        epsilon_lsb=2.0,
        seed=3,
        learning_rate_lsb=0.5,
      ),
      x,
      y,
      kept=6,
    ),
    Case(
      "prompt", small, methods.PerSample(steps=12, batch_size=8), sx, sy, kept=4
    ),
  ]


def whole_cases():
  """The spotter from its input on: what one board runs, for its time."""
  spotter = SPOTTER.read_bytes()
  head = tflm_fg.mark_trainable(spotter, "head", name="spotter")
  stage = tflm_fg.mark_trainable(
    spotter, "prompt", graph_options=PROMPT, name="spotter"
  )
  x, y = spoken(2, 1, voice="whisper", gain=0.7)
  quiet, classes = spoken(1, 1, gain=0.5)
  exact = methods.ClosedForm()
  stages = methods.PerSample(steps=2, batch_size=4)
  return [
    Case("head", head, exact, x, y, kept=4, tests=12, whole=True),
    Case("stage", stage, stages, quiet, classes, kept=4, tests=12, whole=True),
  ]


def write(path, chosen, logits=()):
  """Writes vectors.h of some cases."""
  arena, buffer, masters = 64, 8, 8
  parts = ['#include "forward.h"\n']
  for case in chosen:
    parts.append(case.source())
    pieces = micro.device_pieces(case.marked)
    frozen = [pieces.prefix] if case.whole and pieces.prefix else []
    for piece in (pieces.trained, *frozen):
      arena = max(arena, micro.read_network(piece.data).arena_bytes)
    sizes = micro.device_sizes(case.blob, case.count)
    buffer = max(buffer, sizes.buffer_bytes)
    masters = max(masters, sizes.saved_bytes)
  if logits:
    arena = max(arena, logits[0])
    parts += ["#define CHECK_LOGITS\n", *logits[1]]
  names = ",\n  ".join(f"{case.name}_CASE" for case in chosen)
  parts += [
    f"#define CHECK_ARENA {arena}\n#define CHECK_BUFFER {buffer}\n"
    f"#define CHECK_MASTERS {masters}\n"
    f"static const check_case check_cases[] = {{\n  {names}\n}};\n"
  ]
  pathlib.Path(path).write_text("".join(parts))


def main(folder):
  """Writes all that test.sh takes; gives the whole cases."""
  folder = pathlib.Path(folder)
  write(folder / "vectors.h", cases(), spotter_logits())
  (folder / "whole").mkdir(exist_ok=True)
  whole = whole_cases()
  write(folder / "whole" / "vectors.h", whole)
  return whole


if __name__ == "__main__":
  main(sys.argv[1])
