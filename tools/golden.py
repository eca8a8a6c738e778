"""Record what adapting small models gives, byte for byte, and compare.

One seed shall give the same bytes in every version, unless a change of the
numbers is meant. `tests/golden` holds small models and clips, and what
adapting them gave: directions, journals and adapted files. Streams of a last
layer are made up by `tests/detection/heads.py`.

  python tools/golden.py           compares; says what differs, exit status 1
  python tools/golden.py --write   records anew

Models and clips are read from `tests/golden`, so that an edit of the code that
built them changes nothing. Writing makes only those that are not there.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import pathlib
import sys
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # compares this tree, whatever is installed

# All that depends on where things are and how they are called is in these
# imports, in `directions` and in `built`.
import tflm_fg  # noqa: E402
from tests import models  # noqa: E402
from tests.detection import heads  # noqa: E402
from tests.options import method_of, options  # noqa: E402
from tflm_fg import detection, federated  # noqa: E402
from tflm_fg.fixed_point.layout import Layout  # noqa: E402
from tflm_fg.journal import Journal, parse  # noqa: E402
from tflm_fg.placement.measure import with_source_means  # noqa: E402
from tflm_fg.placement.phase_record import masters_of  # noqa: E402
from tflm_fg.runtimes.registry import RuntimeOptions  # noqa: E402
from tflm_fg.tflite.graph_options import GraphOptions  # noqa: E402
from tflm_fg.training.build import step_rule  # noqa: E402

FOLDER = ROOT / "tests" / "golden"

INPUTS = (
  "conv.tflite",
  "dense.tflite",
  "int16.tflite",
  "real.tflite",
  "untrained.tflite",
  "clips.npz",
)
"""The files that the others are made from."""

STEPS, NUM_DIRECTIONS = 2, 2
"""Of the directions that are recorded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """An adaptation whose journal and file are recorded.

  Attributes:
    model: the stem of an input model; the clips of that name go with it.
    trainable: as for `tflm_fg.adapt`.
    settings: how to train.
    graph_options: how the file may change.
    labelled: whether it learns from the labels.
    rolls_back: whether it shall keep a step between its first and its last.
    stores_file: whether the adapted file is recorded whole, and not only by the
      fingerprint in its journal.
  """

  model: str = "dense"
  trainable: str | None = None
  settings: dict[str, Any]
  graph_options: GraphOptions = dataclasses.field(default_factory=GraphOptions)
  labelled: bool = True
  rolls_back: bool = False
  stores_file: bool = True

  @property
  def ends(self) -> tuple[str, ...]:
    """Of the names of the files that are recorded."""
    return ("journal", "tflite") if self.stores_file else ("journal",)


def _signs(trainable: str, model: str = "dense", **changes) -> Case:
  """Ten steps of sign-m-SPSA, or of what the changes say."""
  own = {
    "method": "sign-m-spsa",
    "steps": 10,
    "validate_every": 10,
    "epsilon_lsb": 4.0,
    "learning_rate_lsb": 2.0,
    "batch_size": 16,
    "seed": 7,
    "validation_fraction": 0.0,  # keeps the last step, however good
  }
  settings = {**own, **changes}
  return Case(model=model, trainable=trainable, settings=settings)


def _exact(trainable: str, model: str, gain: bool = False, **changes) -> Case:
  """The closed form, behind forward gradients where it is not the head."""
  return Case(
    model=model,
    trainable=trainable,
    settings={"seed": 3, **changes},
    graph_options=GraphOptions(gain=gain),
  )


def _per_sample(**case) -> Case:
  """A prompt with a direction for every sample."""
  settings = {"method": "per-sample", "steps": 12, "seed": 5}
  settings["validation_fraction"] = 0.0
  return Case(model="conv", trainable="prompt", settings=settings, **case)


def _variant(**changes) -> Case:
  """The same of all tensors, without its file."""
  return dataclasses.replace(_signs("all", **changes), stores_file=False)


def _finer(weights: str) -> Case:
  """The same with kernels of 16 bits in the file."""
  case = _variant(momentum=0.5)
  return dataclasses.replace(case, graph_options=GraphOptions(weights=weights))


CASES = {
  "head": _exact("head", "conv", steps=12),
  "head-squared-error": _exact("head", "dense", loss="mse", steps=12),
  "head-int16": _exact("head", "int16", steps=12),
  "wide-head": _exact("wide-head", "untrained", steps=12),
  "prompt": _exact("prompt", "untrained", steps=12),
  "prompt-gain": _exact("prompt", "untrained", gain=True, steps=12),
  "prompt-and-wide-head": _exact("prompt,wide-head", "conv", steps=12),
  "as-marked": Case(
    model="conv", settings={"method": "closed-form", "steps": 12, "seed": 5}
  ),
  "default": Case(model="conv", trainable="auto", settings={"seed": 5}),
  "per-sample-no-labels": _per_sample(labelled=False),
  "per-sample": _per_sample(
    graph_options=GraphOptions(gain=True, common_gain=True)
  ),
  "head-pulled": _exact(
    "head", "untrained", method="closed-form", steps=12, pull=0.1
  ),
  "no-labels": Case(
    model="conv",
    trainable="prompt",
    settings={"seed": 5, "steps": 20},
    labelled=False,
  ),
  "statistics": Case(
    model="conv",
    trainable="inner-bias",
    settings={
      "method": "statistics",
      "steps": 12,
      "seed": 5,
      "validation_fraction": 0.0,
    },
    labelled=False,
  ),
  "inner-biases": _signs("inner-bias", "conv", momentum=0.9),
  "everything": _signs("all", "conv", momentum=0.9, num_directions=3),
  "everything-int16": _signs("all", "int16", momentum=0.9),
  "first-bias-tuned": _signs(
    "first-bias", "untrained", epsilon_lsb=None, learning_rate_lsb=None
  ),
  "spsa": _signs("all", method="spsa", learning_rate_lsb=20.0),
  "multi-tangent": _signs(
    "all", method="multi-tangent", num_directions=3, learning_rate_lsb=20.0
  ),
  "node": _signs(
    "all", method="node", num_directions=2, learning_rate_lsb=0.5, momentum=0.9
  ),
  "stochastic": _signs(
    "all", rounding="stochastic", epsilon_lsb=0.5, momentum=0.9
  ),
  "error-feedback": _signs("all", rounding="error-feedback", momentum=0.9),
  "one-sided": _variant(method="one-sided", num_directions=3),
  "sharpness-aware": _variant(method="sharpness-aware"),
  "no-masters": _variant(precision="8w8a", rounding="stochastic"),
  "signs-of-slopes": _variant(method="spsa", optimizer="sign"),
  "frank-wolfe": _variant(optimizer="frank-wolfe", decay="cosine"),
  "root-mean-square": _variant(
    method="spsa", optimizer="rms", rounding="stochastic", momentum=0.5
  ),
  "normal": _variant(directions="normal", decay="constant"),
  "shaped": _variant(
    directions="normal",
    momentum=0.9,
    guidance=0.5,
    kernel_wise=True,
    sparsity=0.5,
    blocks=2,
  ),
  "huber": _variant(loss="huber", anchor=0.01),
  "tuned-in-short-runs": _variant(
    steps=208, epsilon_lsb=None, learning_rate_lsb=None
  ),
  "growing-and-stopping": _variant(
    steps=60, patience=4, validate_every=1, validation_fraction=0.25
  ),
  "weights-int16": _finer("int16"),
  "weights-int8x2": _finer("int8x2"),
  "real-targets": _exact("head", "real", loss="mse", steps=12),
  "real-targets-huber": _signs("bias", "real", method="spsa", loss="huber"),
  "rollback": dataclasses.replace(
    _signs(
      "all",
      learning_rate_lsb=12.0,  # far too large
      validate_every=1,
      validation_fraction=0.25,
      seed=8,
    ),
    rolls_back=True,
  ),
}
"""Name -> adaptation; each gives NAME.journal, and most NAME.tflite."""

DIRECTIONS = {
  "rademacher": {},
  "normal": {"directions": "normal"},
  "sparse": {"sparsity": 0.5},
  "sparse-by-seed": {"sparsity": 0.5, "sparse_by": "seed"},
  "blocks": {"blocks": 3},
  "kernel-wise": {"kernel_wise": True},
  "guided": {"guidance": 0.5, "momentum": 0.9},
}
"""Name -> settings; each gives directions-NAME.bin."""

FLEETS = federated.SCHEMES
"""Whose sums and steps are recorded."""

STREAMS = {"logistic": 1, "softmax": 3}
"""Last layers that learn a word from streams, and how many outputs they have;
each gives stream-head-NAME.bin."""

NAMES = (
  *(f"directions-{name}" for name in DIRECTIONS),
  *(f"fleet-{name}" for name in FLEETS),
  *(f"stream-head-{name}" for name in STREAMS),
  *CASES,
)
"""All that is recorded."""


def directions(name: str) -> bytes:
  """What sign-m-SPSA of all tensors perturbs along in its first steps.

  Args:
    name: a key of `DIRECTIONS`.

  Returns:
    int8 [STEPS, NUM_DIRECTIONS, K + B], kernels before biases.
  """
  case = _signs("all", num_directions=NUM_DIRECTIONS, **DIRECTIONS[name])
  marked = tflm_fg.mark_trainable(model_of("conv"), "all")
  layout = Layout(marked.mark.trainable)
  method = method_of(**case.settings)
  rule = step_rule(method, layout, method.batch_size)
  state = rule.start(layout.gather(masters_of(marked.data, marked.mark)))
  steps = []
  for _ in range(STEPS):
    steps.append(rule.estimator.directions.of(state, NUM_DIRECTIONS))
    # Slopes of the size of 1.0, of different signs: a velocity to be guided by.
    state = rule.replayed(state, [65536, -65536])
  return np.stack(steps).astype(np.int8).tobytes()


def adapted(name: str) -> tuple[Journal, bytes]:
  """Runs an adaptation.

  Args:
    name: a key of `CASES`.

  Returns:
    The journal, and the adapted file with its mark.
  """
  case = CASES[name]
  x, y = clips_of(case.model)
  result = tflm_fg.adapt(
    model_of(case.model),
    x,
    y if case.labelled else None,
    trainable=case.trainable,
    graph_options=case.graph_options,
    runtime="litert-reference",
    strategy="in-place",
    exact_prefix=True,
    workers=1,
    **options(**case.settings),
    name=name,
  )
  return result.journal, result.marked_model


def fleet(scheme: str) -> bytes:
  """What two clients send in a fleet's first rounds, and the steps they take.

  A ridge regression is of floats, so that of one round the sums are recorded
  and not the step.

  Args:
    scheme: one of `FLEETS`.
  """
  model, (x, y) = model_of("conv"), clips_of("conv")
  plan = federated.plan_for(model, scheme, gain=scheme == "per-sample")
  server = federated.Federation(model, plan)
  options = RuntimeOptions(
    runtime="litert-reference",
    strategy="in-place",
    exact_prefix=True,
    workers=1,
  )
  clients = [
    federated.Client(
      model, plan, x[n::2], y[n::2], client=f"c{n}", runtime_options=options
    )
    for n in range(2)
  ]
  sent = []
  while len(server.steps) <= STEPS and not server.is_done:
    sums = [c.contribute(federated.Share(n, 2)) for n, c in enumerate(clients)]
    sent += sums
    for content in sums:
      server.accept(content)
    step = server.close()
    if scheme != "one-round":
      sent.append(step)
    for client in clients:
      client.take(step)
  return b"".join(sent)


def stream_head(name: str) -> bytes:
  """A last layer that learned a word from streams.

  Args:
    name: a key of `STREAMS`.

  Returns:
    Its weights int8, then its bias int32, little-endian.
  """
  weights, bias = detection.train_head(
    heads.head(name.upper(), STREAMS[name]),
    heads.streams(3, (1, 2)),
    heads.streams(4, (7, 8), seed=2),
    heads.streams(2, (2, 3, 4), seed=3),
    heads.RULE,
    detection.Settings(settle_seconds=0.4, steps=20, hard_steps=60),
  )
  return weights.tobytes() + bias.astype("<i4").tobytes()


def steps_of(journal: Journal) -> tuple[int, int]:
  """The step that the last phase kept, and how many it took."""
  record = journal.records[-1]
  return record.kept_step, record.steps


def journal_of(name: str) -> Journal:
  """A journal as it was recorded."""
  return parse((FOLDER / f"{name}.journal").read_bytes(), name)


def replayed(name: str) -> bytes:
  """What a recorded journal makes of the model that it was recorded on.

  Raises:
    TflmFgError: if it is not what the journal's fingerprint says.
  """
  return tflm_fg.replay(journal_of(name), model_of(CASES[name].model))


def recomputed(name: str) -> dict[str, bytes]:
  """The files of one of `NAMES`, made anew."""
  kind = name.removeprefix("directions-")
  if kind != name:
    return {f"{name}.bin": directions(kind)}
  kind = name.removeprefix("fleet-")
  if kind != name:
    return {f"{name}.bin": fleet(kind)}
  kind = name.removeprefix("stream-head-")
  if kind != name:
    return {f"{name}.bin": stream_head(kind)}
  journal, file = adapted(name)
  made = {"journal": journal.to_bytes(), "tflite": file}
  return {f"{name}.{end}": made[end] for end in CASES[name].ends}


@functools.cache
def recompute() -> dict[str, bytes]:
  """All files but the inputs, made anew."""
  return {k: v for name in NAMES for k, v in recomputed(name).items()}


def recorded() -> dict[str, bytes]:
  """All files but the inputs, as they were recorded."""
  found = sorted(FOLDER.iterdir())
  return {p.name: p.read_bytes() for p in found if p.name not in INPUTS}


def model_of(stem: str) -> bytes:
  """An input model."""
  return (FOLDER / f"{stem}.tflite").read_bytes()


def clips_of(stem: str) -> tuple[np.ndarray, np.ndarray]:
  """The clips on an input model's grid, and their classes or real targets."""
  with np.load(FOLDER / "clips.npz") as arrays:
    own = {"untrained": "conv", "real": "dense", "int16": "dense"}
    x, y = arrays[own.get(stem, stem)], arrays["classes"]
    if stem == "int16":
      x = x.astype(np.int16) * 200  # most of its grid
    return x, arrays["reals"] if stem == "real" else y


class Converted(models.Network):
  """A network whose activations have the zero points of a converter's.

  A converter gives every activation the grid of the values that it saw, so
  those behind a ReLU begin at -128 and the others lie anywhere.
  """

  def __init__(self, seed: int, spans: dict[str, tuple[float, float]]) -> None:
    """Makes it.

    Args:
      seed: of the weights.
      spans: real values of the activations, from and to, by tensor name.
    """
    super().__init__(seed)
    self._spans = spans

  def activation(
    self, name: str, shape: tuple[int, ...], reach: float, zero_point: int = 0
  ) -> models.Flow:
    """Adds an activation tensor of its span, whatever else is asked for."""
    low, high = self._spans[name]
    scale = (high - low) / 255
    zero_point = -128 - round(low / scale)
    index = self.tensor(name, shape, self.flow_type, scale, zero_point)
    return models.Flow(index, shape, scale, zero_point)


def _conv() -> bytes:
  """Builds x [1, 6, 5, 2] -> 3 convolutions, mean, dense -> softmax of 4."""
  spans = {
    "x": (0.0, 20.0),
    "conv/out": (0.0, 16.0),
    "depthwise/out": (0.0, 9.0),
    "project/out": (-5.0, 3.0),
    "mean/out": (-2.5, 1.5),
    "head/out": (-3.0, 2.0),
  }
  net = Converted(1, spans)
  x = net.activation("x", (1, 6, 5, 2), 0)
  flow = net.convolution(x, 4, "conv")
  flow = net.convolution(flow, 4, "depthwise", depthwise=True)
  flow = net.convolution(flow, 6, "project", size=1, relu=False)
  flow = net.dense(net.mean(flow), 4, "head")
  return net.run_candidate([x.index], [net.softmax(flow).index])


def _dense(outputs: int = 4, softmax: bool = True) -> bytes:
  """Builds x [1, 8] -> dense with ReLU, dense -> dense, maybe -> softmax."""
  spans = {
    "x": (0.0, 4.0),
    "first/out": (0.0, 6.0),
    "second/out": (-6.0, 5.0),
    "head/out": (-6.0, 9.0),
  }
  net = Converted(2, spans)
  x = net.activation("x", (1, 8), 0)
  flow = net.dense(x, 10, "first", relu=True)
  flow = net.dense(flow, 6, "second")
  flow = net.dense(flow, outputs, "head")
  out = net.softmax(flow) if softmax else flow
  return net.run_candidate([x.index], [out.index])


def _clips() -> dict[str, np.ndarray]:
  """64 clips of four classes for each model; most of a grid is used."""
  random = np.random.default_rng(4)
  classes = np.arange(64) % 4
  clips = {"classes": classes}
  for stem, shape in (("conv", (6, 5, 2)), ("dense", (8,))):
    centres = random.normal(0, 50, (4, *shape))
    x = centres[classes] + random.normal(0, 35, (64, *shape))
    clips[stem] = np.clip(np.rint(x), -128, 127).astype(np.int8)
  clips["reals"] = clips["dense"] @ random.normal(0, 0.01, (8, 2)) + 1
  return clips


def built() -> dict[str, bytes]:
  """The inputs, made anew."""
  clips, runtime_options = (
    _clips(),
    RuntimeOptions(runtime="litert-reference", exact_prefix=True),
  )
  # The convolutional network knows its clips; they come back from elsewhere.
  learned = tflm_fg.adapt(
    _conv(),
    clips["conv"],
    clips["classes"],
    trainable="wide-head",
    runtime="litert-reference",
    exact_prefix=True,
  ).model
  conv = tflm_fg.mark_trainable(learned, "head")
  conv = with_source_means(conv, clips["conv"], runtime_options)
  moved = clips["conv"] // 2 + np.array([60, -30])
  clips["conv"] = np.clip(moved, -128, 127).astype(np.int8)
  packed = io.BytesIO()
  np.savez_compressed(packed, **clips)
  return {
    "conv.tflite": conv.data,
    "dense.tflite": _dense(),
    "int16.tflite": models.dense_model(hidden=6, seed=3, wide=True),
    "real.tflite": _dense(2, softmax=False),
    "untrained.tflite": _conv(),
    "clips.npz": packed.getvalue(),
  }


def differences() -> list[str]:
  """Says in a line each what is not as it was recorded; empty if all is."""
  old, new = recorded(), recompute()
  said = []
  for name in sorted(old | new):
    if name not in new:
      said.append(f"{name}: recorded, and nothing makes it")
    elif name not in old:
      said.append(f"{name}: not recorded")
    elif old[name] != new[name]:
      said.append(f"{name}: {_difference(old[name], new[name])}")
  for name in CASES:
    if f"{name}.journal" in old:
      said += _said_of_replay(name, old.get(f"{name}.tflite"))
  return said


def _said_of_replay(name: str, file: bytes | None) -> list[str]:
  try:
    found = replayed(name)
  except tflm_fg.TflmFgError as fault:
    return [f"{name}.journal: {fault}"]
  if file not in (None, found):
    return [f"{name}.journal: replays to another file than {name}.tflite"]
  return []


def _difference(old: bytes, new: bytes) -> str:
  if len(old) != len(new):
    return f"{len(new)} bytes, recorded were {len(old)}"
  changed = [n for n, (a, b) in enumerate(zip(old, new)) if a != b]
  return f"{len(changed)} of {len(old)} bytes differ, from {changed[0]} on"


def write() -> None:
  """Records everything anew; inputs only where they are not there.

  Raises:
    ValueError: if a case that is to roll back did not.
  """
  FOLDER.mkdir(parents=True, exist_ok=True)
  missing = [name for name in INPUTS if not (FOLDER / name).exists()]
  made = built() if missing else {}
  for name in missing:
    (FOLDER / name).write_bytes(made[name])
  new = recompute()
  for name in recorded().keys() - new.keys():
    (FOLDER / name).unlink()
  for name, content in new.items():
    (FOLDER / name).write_bytes(content)
  for name in (name for name, case in CASES.items() if case.rolls_back):
    kept, last = steps_of(journal_of(name))
    if not 0 < kept < last:
      raise ValueError(f"{name}: kept step {kept} of {last}; change its rate")


def main(arguments: list[str]) -> int:
  """Compares or records; returns the exit status."""
  if arguments not in ([], ["--write"]):
    print("usage: python tools/golden.py [--write]", file=sys.stderr)
    return 2
  if arguments:
    write()
  said = differences()
  for line in said:
    print(line)
  if not said:
    print(f"{len(recorded())} files are as recorded")
  return 1 if said else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
