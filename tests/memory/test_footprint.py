"""Bytes are counted as TFLM counts them, and a backward pass by its needs."""

import itertools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

import tflm_fg
from apps.compare.analyses import tflm_arena
from apps.kws.model.shipped import shipped_model
from tests import models
from tests.options import method_of
from tflm_fg.memory import arena, footprint
from tflm_fg.memory.arena import Buffer
from tflm_fg.memory.backward_pass import (
  Training,
  kept_activations,
  training_buffers,
)
from tflm_fg.memory.dataflow import Dataflow, Node, Piece, read_dataflow
from tflm_fg.placement.phase_record import Phase
from tflm_fg.tflite.choice.outputs import with_output
from tflm_fg.tflite.graph_options import GraphOptions
from tflm_fg.tflite.model_file import ModelFile
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.training.objective import Objective
from tflm_fg.types import TflmFgError

BUFFERS = st.lists(
  st.builds(
    lambda size, first, length: Buffer(size, first, first + length),
    st.integers(1, 20),
    st.integers(0, 4),
    st.integers(0, 3),
  ),
  min_size=1,
  max_size=5,
)


def together(one, other):
  return one.first <= other.last and other.first <= one.last


def top(buffers, offsets):
  return max(o + b.size for o, b in zip(offsets, buffers))


def lowest_top(buffers):
  """The best of all orders, each buffer as low as it goes."""
  best = None
  for order in itertools.permutations(range(len(buffers))):
    offsets = {}
    for i in order:
      near = [j for j in offsets if together(buffers[i], buffers[j])]
      steps = [0, *(offsets[j] + buffers[j].size for j in near)]
      offsets[i] = min(
        o
        for o in steps
        if all(
          o + buffers[i].size <= offsets[j] or offsets[j] + buffers[j].size <= o
          for j in near
        )
      )
    reached = top(buffers, [offsets[i] for i in range(len(buffers))])
    best = reached if best is None else min(best, reached)
  return best


# The planner.


@given(BUFFERS)
def test_buffers_that_live_together_never_overlap(buffers):
  offsets = arena.plan(buffers)
  for i, j in itertools.combinations(range(len(buffers)), 2):
    if together(buffers[i], buffers[j]):
      low, high = sorted((i, j), key=lambda k: offsets[k])
      assert offsets[low] + buffers[low].size <= offsets[high]


def live_bytes(buffers):
  """The most bytes alive at once: no plan can take less."""
  times = {b.first for b in buffers}
  return max(
    (sum(b.size for b in buffers if b.first <= t <= b.last) for t in times),
    default=0,
  )


@given(BUFFERS)
def test_a_plan_lies_between_what_is_alive_and_all_side_by_side(buffers):
  reached = top(buffers, arena.plan(buffers))
  assert live_bytes(buffers) <= lowest_top(buffers) <= reached
  assert reached <= sum(b.size for b in buffers)


def test_a_small_buffer_goes_into_the_first_gap():
  buffers = [Buffer(4, 0, 9), Buffer(10, 0, 1), Buffer(8, 2, 3)]
  # 10 at 0; 8 lives later, at 0 too; 4 lives with both, behind the 10.
  assert arena.plan(buffers) == [10, 0, 0]
  assert arena.plan([*buffers, Buffer(2, 2, 3)])[3] == 8


def test_a_peak_rounds_every_buffer_up_to_16_bytes():
  assert arena.peak([Buffer(1, 0, 0), Buffer(17, 0, 0)]) == 48
  assert arena.peak([]) == 0


# Inference, against TFLM's own report. The constants of `arena` come from
# chains of one operator each; none of these models was used for them.


def plan(make, trainable):
  return lambda: tflm_fg.strip(mark_file(make(), trainable).data)


EARLY = 1
"""This graph hands out an early layer too."""

TIED = (27, 34, 88, 133)
"""Graphs whose arena depends on which of two equal buffers comes first."""


def tangled(seed):
  """Layers that read any earlier ones, of many sizes, some read by none."""
  net = models.Network(seed)
  random = np.random.default_rng(seed)
  flows = [net.activation("x", (1, int(random.integers(8, 90))), 4.0)]
  for number in range(12):
    name, units = f"n{number}", int(random.integers(1, 200))
    if number % 3 < 2:
      read = flows[random.integers(max(0, len(flows) - 4), len(flows))]
      flows.append(net.dense(read, units, name))
      continue
    parts = [flows[i] for i in random.integers(1, len(flows), 2)]
    shape = (1, sum(part.shape[1] for part in parts))
    made = net.activation(name, shape, 4.0)
    options = schema.ConcatenationOptionsT()
    options.axis = 1
    read = [part.index for part in parts]
    net.operator("CONCATENATION", read, made.index, options, 2)
    flows.append(made)
  early = [flows[2].index] if seed == EARLY else []
  return net.finish([flows[0].index], [flows[-1].index, *early])


def image_to_image():
  net = models.Network(0)
  x = net.activation("x", (1, 6, 5, 2), 4.0)
  flow = net.transposed(net.convolution(x, 8, "conv"), 3, "up")
  return net.finish([x.index], [net.mean(flow).index])


FILES = {
  "DS-CNN": shipped_model,
  "DS-CNN with a wide head": plan(shipped_model, "wide-head"),
  "DS-CNN with a prompt": plan(shipped_model, "prompt"),
  "dense": models.dense_model,
  "dense, int16": lambda: models.dense_model(wide=True),
  "dense, a scale a tensor": lambda: models.dense_model(per_channel=False),
  "convolutions": models.conv_model,
  "convolutions, int16": lambda: models.conv_model(wide=True),
  "deep": models.deep_model,
  "pointwise": models.pointwise_model,
  "transposed": image_to_image,
  **{f"tangled {s}": lambda s=s: tangled(s) for s in (0, EARLY, 2, *TIED)},
}
CLASSIFIERS = [n for n in FILES if n != "transposed" and "with" not in n]


@pytest.mark.parametrize("name", FILES)
def test_an_arena_is_within_5_percent_of_tflms_report(name):
  pytest.importorskip("tflite_micro")
  model = FILES[name]()
  reported = tflm_arena.reported(model)
  counted = arena.arena_of(read_dataflow(model))
  assert counted.activations == reported["head"]
  assert abs(counted.bookkeeping - reported["tail"]) <= 16
  assert abs(counted.total / reported["total"] - 1) <= 0.05


def test_an_operator_that_was_never_measured_is_counted_about():
  flow = read_dataflow(models.dense_model())
  nodes = (*flow.nodes[:-1], odd("SPACE_TO_MARS", (1,), (2,)))
  other = Dataflow(
    pieces=flow.pieces,
    nodes=nodes,
    inputs=flow.inputs,
    outputs=flow.outputs,
    constant_bytes=flow.constant_bytes,
  )
  one, two = (arena.arena_of(f).bookkeeping for f in (flow, other))
  assert 0 < abs(one - two) <= 64


# Backpropagation.


def flow_of(nodes, sizes):
  return Dataflow(
    pieces=tuple(
      Piece(shape=(1, size), num_bytes=size, scales=1, is_constant=False)
      for size in sizes
    ),
    nodes=nodes,
    inputs=(0,),
    outputs=(len(sizes) - 1,),
    constant_bytes=0,
  )


def odd(name, inputs, outputs, number=0):
  return Node(
    number=number, name=name, inputs=inputs, outputs=outputs, samples=False
  )


def training_of(found, width=4):
  return Training(
    trained=frozenset(t.index for t in found.mark.trainable),
    logits=found.mark.logits,
    width=width,
  )


@pytest.mark.parametrize("name", ["DS-CNN", "convolutions", "dense"])
def test_the_head_alone_keeps_only_its_own_input(name):
  found = mark_file(FILES[name](), "head")
  flow = read_dataflow(found.data)
  kept = kept_activations(flow, training_of(found))
  assert kept == (found.mark.head_input,)


@pytest.mark.parametrize("precision", footprint.PRECISIONS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_more_that_trains_takes_no_less_scratch(name, precision):
  file = with_output(ModelFile.open(FILES[name]()), 0)
  head, bias, everything = (
    footprint.backpropagation(found.data, found.mark, precision)
    for found in (mark_file(file, t) for t in ("head", "bias", "all"))
  )
  # A kernel needs its layer's input, and a bias does not.
  assert everything.scratch >= max(head.scratch, bias.scratch)
  assert everything.total > max(head.total, bias.total)


def test_scratch_of_all_weights_is_what_one_counts_by_hand():
  """x 8 int8; hidden 16 and logits 4 in float32, with a gradient each."""
  found = mark_file(models.dense_model(), "all")
  flow = read_dataflow(found.data)
  buffers = training_buffers(flow, training_of(found))
  assert live_bytes(buffers) == 8 + 64 + 16 + 64
  assert arena.peak(buffers) == 16 + 64 + 16 + 64
  assert footprint.backpropagation(
    found.data, found.mark, "float32", "adam"
  ) == footprint.Footprint(
    scratch=160,
    bookkeeping=footprint.inference(found.data).bookkeeping,
    weights=0,
    masters=4 * 212,
    gradient=4 * 212,
    optimizer=2 * 4 * 212,
  )


def test_biases_need_no_activation_but_a_bit_of_each_that_was_clipped():
  found = mark_file(models.dense_model(), "bias")
  flow = read_dataflow(found.data)
  training = training_of(found)
  assert kept_activations(flow, training) == ()
  buffers = training_buffers(flow, training)
  assert live_bytes(buffers) == 64 + 16 + 2  # a ReLU of 16 numbers


@pytest.mark.parametrize("gain", [False, True])
def test_an_offset_keeps_nothing_and_a_gain_the_input(gain):
  found = mark_file(
    models.conv_model(), "prompt", graph_options=GraphOptions(gain=gain)
  )
  flow = read_dataflow(found.data)
  kept = kept_activations(flow, training_of(found))
  assert kept == (flow.inputs if gain else ())


@pytest.mark.parametrize(
  ("name", "kept", "masks"),
  [
    ("ADD", (), 0),
    ("AVERAGE_POOL_2D", (), 0),
    ("MAX_POOL_2D", (), 40),
    ("RELU", (), 5),
    ("LOGISTIC", (2,), 0),
    ("SPACE_TO_MARS", (1, 2), 0),
  ],
)
def test_an_operator_keeps_what_its_own_gradient_needs(name, kept, masks):
  # 0 times 4, which trains, is 1; then the operator makes 2; then logits.
  nodes = (
    odd("MUL", (0, 4), (1,)),
    odd(name, (1,), (2,), number=1),
    odd("ADD", (2,), (3,), number=2),
  )
  flow = flow_of(nodes, [40, 40, 40, 40, 40])
  training = Training(trained=frozenset([4]), logits=3, width=1)
  assert kept_activations(flow, training) == (0, *kept)
  sizes = [b.size for b in training_buffers(flow, training)]
  assert sum(sizes) == 4 * 40 + 3 * 40 + masks


def test_a_product_of_two_that_move_keeps_both():
  nodes = (
    odd("MUL", (0, 4), (1,)),
    odd("MUL", (0, 4), (2,), number=1),
    odd("MUL", (1, 2), (3,), number=2),
  )
  flow = flow_of(nodes, [8] * 5)
  training = Training(trained=frozenset([4]), logits=3, width=1)
  assert kept_activations(flow, training) == (0, 1, 2)


@pytest.mark.parametrize(
  "given",
  [
    {},
    {"momentum": 0.9},
    {"rounding": "error-feedback"},
    {"anchor": 0.1},
    {"optimizer": "frank-wolfe"},
    {"optimizer": "rms", "momentum": 0.5},
    {"precision": "8w8a", "rounding": "error-feedback", "momentum": 0.9},
  ],
  ids=str,
)
def test_forward_gradients_take_what_a_step_keeps_and_no_more(given):
  """All of `TrainerBytes` but the copy of the best masters."""
  found = mark_file(shipped_model(), "all")
  everything = tuple(t.index for t in found.mark.trainable)
  phase = Phase(everything, method_of("sign-m-spsa", **given), Objective())
  own = footprint.trainer_bytes(found.mark.trainable, [phase], 12)
  forward = footprint.forward_gradients(found.data, found.mark, [phase], 12)
  plain = footprint.inference(found.data)
  assert forward.total == plain.total + own.total - own.best
  least = own.masters + own.loss
  assert (forward.total > plain.total + least) == bool(given)


def test_forward_gradients_take_the_scratch_of_inference():
  found = mark_file(shipped_model(), "all")
  everything = tuple(t.index for t in found.mark.trainable)
  phase = Phase(everything, method_of("sign-m-spsa"), Objective())
  plain = footprint.inference(found.data)
  forward = footprint.forward_gradients(found.data, found.mark, [phase], 12)
  assert forward.scratch == plain.scratch == 48_000
  masters = footprint.trainer_bytes(found.mark.trainable, [phase], 12).masters
  assert forward.total == plain.total + masters + 4 * 14
  least = footprint.backpropagation(found.data, found.mark, "int8")
  assert forward.total < least.total


@pytest.mark.parametrize(
  ("wrong", "named"),
  [({"precision": "fp8"}, "float16"), ({"optimizer": "lion"}, "adam")],
)
def test_an_unknown_precision_or_optimizer_is_refused_by_name(wrong, named):
  found = mark_file(models.dense_model(), "head")
  with pytest.raises(TflmFgError, match=rf"'{next(iter(wrong.values()))}'.*"):
    footprint.backpropagation(found.data, found.mark, **wrong)
  with pytest.raises(TflmFgError, match=named):
    footprint.backpropagation(found.data, found.mark, **wrong)
