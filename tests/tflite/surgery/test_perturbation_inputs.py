"""Biases and gains of layers flow in as data, and stand in the file after."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests import models
from tflm_fg.fixed_point.layout import Layout
from tflm_fg.placement.phase_record import masters_of, write_masters
from tflm_fg.runtimes.input_weights import InputWeightsSession
from tflm_fg.runtimes.registry import installed, open_session
from tflm_fg.tflite import model_file
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import cut, whole
from tflm_fg.tflite.surgery.perturbation_inputs import weights_to_inputs
from tflm_fg.tflite.tensors import Patchable, weights_of
from tflm_fg.tflite.training_metadata import read_mark, without_mark
from tflm_fg.types import SCALE_ONE, NotApplicable, TflmFgError

KINDS = {
  "int8": models.conv_model(),
  "per tensor": models.conv_model(per_channel=False),
  "int16": models.conv_model(wide=True),
  "dense": models.deep_model(),
  "dense int16": models.deep_model(wide=True),
}

CHOICES = ("inner-bias", "gain", "inner-bias,gain", "bias,gain", "first-bias")

MOST_AWAY = {"int8": 4, "int16": 40}
"""Steps of the logits that the file may be from the training graph; int16's are
256 times finer."""


def x_for(model, samples=64):
  graph = model_file.read(model).subgraphs[0]
  tensor = graph.tensors[graph.inputs[0]]
  kind = model_file.TYPE_NAMES[tensor.type]
  return models.int8_samples(tuple(tensor.shape[1:]), samples, dtype=kind)


def opened(marked, runtime="litert-reference"):
  """The whole of a marked file with its trainable numbers as inputs."""
  part = whole(marked.file, marked.mark)
  flowing = weights_to_inputs(part)
  inner = open_session(runtime, flowing.part, "in-place")
  return InputWeightsSession(inner, part, flowing.flows)


def answers(data, mark, x, runtime="litert-reference"):
  part = whole(data, mark)
  part = part._replace(writable=(), gains=())
  (out,) = open_session(runtime, part).run((x,))
  return out.reshape(len(out), -1).astype(int)


def logits_of(session, x):
  (out,) = session.run((x,))
  return out.reshape(len(out), -1).astype(int)


def moved(marked, seed=0):
  """Masters that are far from the start: gains of .6 to 1.6, biases by 12."""
  layout, random = Layout(marked.mark.trainable), np.random.default_rng(seed)
  masters = masters_of(marked.file, marked.mark)
  for tensor in layout.tensors:
    held = masters[tensor.index]
    if tensor.role == "scale":
      masters[tensor.index] = random.integers(
        int(0.6 * SCALE_ONE), int(1.6 * SCALE_ONE), held.shape
      ).astype(np.int16)
    else:
      steps = np.resize(tensor.output_step, held.shape)
      way = random.integers(-12, 13, held.shape) * steps
      masters[tensor.index] = (held + way).astype(held.dtype)
  return layout, masters


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("runtime", ["litert-reference", "litert-xnnpack"])
def test_the_training_graph_starts_where_the_file_is(kind, choice, runtime):
  marked, x = mark_file(KINDS[kind], choice), x_for(KINDS[kind])
  away = np.abs(
    logits_of(opened(marked, runtime), x)
    - answers(KINDS[kind], marked.mark, x, runtime)
  )
  assert away.max() <= (2 if "int16" not in kind else 8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("choice", CHOICES)
def test_the_written_file_answers_as_the_training_graph(kind, choice):
  marked, x = mark_file(KINDS[kind], choice), x_for(KINDS[kind])
  layout, masters = moved(marked)
  session = opened(marked)
  session.load(layout.weights(layout.gather(masters)))
  written = write_masters(marked.file, marked.mark, masters)
  plain = without_mark(written)
  names = model_file.ModelFile.open(plain).operator_names
  assert names == model_file.ModelFile.open(KINDS[kind]).operator_names
  end = answers(plain, marked.mark, x)
  away = np.abs(logits_of(session, x) - end)
  assert away.max() <= MOST_AWAY["int16" if "int16" in kind else "int8"]
  assert np.abs(end - answers(KINDS[kind], marked.mark, x)).max() > away.max()


@pytest.mark.parametrize("runtime", installed())
def test_every_sample_has_biases_and_gains_of_its_own(runtime):
  marked, x = (
    mark_file(KINDS["int8"], "inner-bias,gain"),
    x_for(KINDS["int8"], 4),
  )
  session, rows = opened(marked, runtime), []
  for seed in range(4):
    layout, masters = moved(marked, seed)
    rows.append(layout.weights(layout.gather(masters)))
  session.load([np.stack([w.reshape(-1) for w in each]) for each in zip(*rows)])
  together = logits_of(session, x)
  for i, row in enumerate(rows):
    session.load(row)
    assert np.array_equal(logits_of(session, x[i : i + 1])[0], together[i])
    assert all(np.array_equal(a, b) for a, b in zip(session.params(), row))


def test_gains_are_read_from_the_scales_of_a_file_as_they_were_written():
  marked = mark_file(KINDS["int8"], "inner-bias,gain")
  layout, masters = moved(marked)
  wanted = layout.weights(layout.gather(masters))
  patchable = Patchable.of(marked.file, marked.mark.trainable)
  written = patchable.write(wanted)
  assert all(map(np.array_equal, patchable.read(written), wanted))
  # A file that is adapted further starts from what its scales are now.
  mark = read_mark(written)
  again = weights_of(written, mark.trainable)
  gains = [w for w, t in zip(again, mark.trainable) if t.role == "scale"]
  assert gains and all((g == SCALE_ONE).all() for g in gains)
  before, after = (
    model_file.ModelFile.open(data).subgraph.tensors
    for data in (marked.data, written)
  )
  for gain, tensor in zip(wanted, mark.trainable):
    if tensor.role == "scale":
      operator = marked.file.subgraph.operators[tensor.operator]
      for index in (tensor.index, operator.inputs[2]):  # kernel and bias
        ratio = np.divide(after[index].scales, before[index].scales)
        assert np.allclose(ratio, gain[0] / SCALE_ONE, rtol=1e-6)


def test_a_gain_of_zero_or_less_leaves_a_scale_that_an_engine_takes():
  marked = mark_file(KINDS["int8"], "gain")
  patchable = Patchable.of(marked.file, marked.mark.trainable)
  nothing = [np.full_like(w, -5) for w in patchable.read()]
  written = patchable.write(nothing)
  answers(without_mark(written), marked.mark, x_for(KINDS["int8"]))
  assert all((w == SCALE_ONE >> 6).all() for w in patchable.read(written))


def test_a_kernel_of_one_scale_gets_one_a_channel_for_its_gains():
  marked = mark_file(KINDS["per tensor"], "gain")
  tensors = [t for t in marked.mark.trainable if t.role == "scale"]
  assert tensors and all(t.size > 1 for t in tensors)
  x = x_for(KINDS["per tensor"])
  assert np.array_equal(
    answers(marked.data, marked.mark, x),
    answers(KINDS["per tensor"], marked.mark, x),
  )


def test_gains_that_no_layer_can_have_are_refused():
  flat = models.deep_model(per_channel=False)
  with pytest.raises(NotApplicable, match=r"before the head .*another"):
    mark_file(flat, "gain")
  with pytest.raises(TflmFgError, match="both its weights and its gains"):
    mark_file(KINDS["int8"], "all,gain")


def test_a_wrong_count_of_gains_is_refused():
  marked = mark_file(KINDS["int8"], "gain")
  patchable = Patchable.of(marked.file, marked.mark.trainable)
  short = [w[:, :-1] for w in patchable.read()]
  with pytest.raises(TflmFgError, match="channels cannot be int16"):
    patchable.write(short)


def test_a_layer_with_another_activation_function_is_refused():
  model = model_file.read(KINDS["dense"])
  options = model.subgraphs[0].operators[0].builtinOptions
  options.fusedActivationFunction = schema.ActivationFunctionType.TANH
  marked = mark_file(model_file.pack(model), "first-bias")
  with pytest.raises(NotApplicable, match=r"ends in TANH.*RELU6.*--method"):
    weights_to_inputs(cut(marked.file, marked.mark).suffix)


def test_gains_are_not_written_in_place():
  marked = mark_file(KINDS["int8"], "gain")
  with pytest.raises(TflmFgError, match=r"gains.*--method=per-sample"):
    open_session("litert", cut(marked.file, marked.mark).suffix, "in-place")
