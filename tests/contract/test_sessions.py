"""One conformance suite: every session through the same checks."""

import numpy as np
import pytest

from tests import models
from tflm_fg.runtimes import write_check
from tflm_fg.runtimes.registry import importlib, installed, open_session
from tflm_fg.tflite.select_trainable import mark_file
from tflm_fg.tflite.split_graph import whole
from tflm_fg.tflite.tensors import Patchable, tensor_spec
from tflm_fg.tflite.training_metadata import without_mark
from tflm_fg.types import TflmFgError


def finer(data, weights):
  """The same network with 16-bit weights, unmarked."""
  return without_mark(mark_file(data, "all", weights=weights).data)


MODELS = {
  "dense": (models.dense_model(), (8,), "int8"),
  "dense-per-tensor": (models.dense_model(per_channel=False), (8,), "int8"),
  "dense-16x8": (models.dense_model(wide=True), (8,), "int16"),
  "conv": (models.conv_model(), (6, 5, 2), "int8"),
  "conv-16x8": (models.conv_model(wide=True), (6, 5, 2), "int16"),
  "recurrent": (models.recurrent_model(), (5, 8), "int8"),
  "dense-int16": (finer(models.dense_model(), "int16"), (8,), "int8"),
  "dense-int8x2": (finer(models.dense_model(), "int8x2"), (8,), "int8"),
  "pointwise-int16": (
    finer(models.pointwise_model(), "int16"),
    (6, 5, 2),
    "int8",
  ),
}
INSTALLED = installed()
SAMPLES = 6
LOGIT_STEP = 8.0 / 127
"""Of the int8 files."""


@pytest.fixture(params=MODELS, ids=str)
def model(request, runtime):
  if request.param.endswith("int16") and runtime in ("tf", "tflite-runtime"):
    pytest.skip("has no QUANTIZE from int8 to int16")
  data, shape, dtype = MODELS[request.param]
  marked = mark_file(data, "all")
  part = whole(marked.data, marked.mark)
  return marked, part, models.int8_samples(shape, SAMPLES, dtype=dtype)


@pytest.fixture(params=INSTALLED)
def runtime(request):
  return request.param


def other_weights(weights, seed=1):
  random = np.random.default_rng(seed)
  changed = []
  for w in weights:
    if w.dtype == np.int8:
      changed.append(random.integers(-127, 128, w.shape).astype(np.int8))
    else:
      changed.append(w + random.integers(-9, 10, w.shape).astype(w.dtype))
  return changed


def test_a_write_equals_a_fresh_session_on_the_patched_file(model, runtime):
  _, part, x = model
  session = open_session(runtime, part)
  for seed in range(5):
    new = other_weights(session.params(), seed)
    session.load(new)
    patched = part._replace(
      file=Patchable(part.file, part.writable).written(new)
    )
    fresh = open_session(runtime, patched)
    assert np.array_equal(session.run((x,))[0], fresh.run((x,))[0])


def test_params_are_what_was_loaded_and_are_copies(model, runtime):
  _, part, x = model
  session = open_session(runtime, part)
  first = session.params()
  new = other_weights(first)
  session.load(new)
  session.run((x,))
  for got, want in zip(session.params(), new, strict=True):
    assert np.array_equal(got, want)
    assert got.dtype == want.dtype
    got[...] = 0
  for got, want in zip(session.params(), new, strict=True):
    assert np.array_equal(got, want)


def test_flatbuffer_holds_the_present_weights_and_nothing_else_new(
  model, runtime
):
  _, part, _ = model
  session = open_session(runtime, part)
  assert session.flatbuffer() == part.data
  new = other_weights(session.params())
  session.load(new)
  assert session.flatbuffer() == Patchable(part.data, part.writable).write(new)


def test_loading_the_old_weights_gives_back_the_old_outputs(model, runtime):
  _, part, x = model
  session = open_session(runtime, part)
  start, before = session.params(), session.run((x,))[0]
  session.load(other_weights(start))
  assert not np.array_equal(session.run((x,))[0], before)
  session.load(start)
  assert np.array_equal(session.run((x,))[0], before)


def test_a_batch_equals_its_samples_one_by_one(model, runtime):
  _, part, x = model
  session = open_session(runtime, part)
  (together,) = session.run((x,))
  alone = np.concatenate(
    [session.run((x[i : i + 1],))[0] for i in range(SAMPLES)]
  )
  assert np.array_equal(together, alone)


def test_two_sessions_of_one_file_do_not_see_each_other(model, runtime):
  _, part, x = model
  kept = bytes(bytearray(part.data))
  one, two = (open_session(runtime, part) for _ in range(2))
  before = two.run((x,))[0]
  one.load(other_weights(one.params()))
  one.run((x,))
  assert np.array_equal(two.run((x,))[0], before)
  assert part.data == kept, "the caller's bytes were written"


def test_a_fed_batch_stays_while_weights_and_other_batches_come_and_go(
  model, runtime
):
  _, part, x = model
  session = open_session(runtime, part)
  start, fed = session.params(), (x,)
  changed = other_weights(start)
  wanted = []
  for weights in (start, changed):
    session.load(weights)
    wanted.append(session.run((x,))[0])
  for number, weights in enumerate([start, changed] * 2):
    session.load(weights)
    session.feed(fed)
    assert np.array_equal(session.forward()[0], wanted[number % 2])
    if number == 1:
      session.run((x[:2] + 1,))


def test_a_run_sees_what_was_written_to_its_arrays(model, runtime):
  _, part, x = model
  session, inputs = open_session(runtime, part), (x.copy(),)
  session.run(inputs)
  inputs[0][...] = x[::-1]
  want = session.run((x[::-1].copy(),))[0]
  assert np.array_equal(session.run(inputs)[0], want)


def test_the_order_of_samples_changes_nothing(model, runtime):
  """Variables of the graph are reset before every sample."""
  _, part, x = model
  session = open_session(runtime, part)
  (want,) = session.run((x,))
  for order in ([5, 2, 0, 4, 1, 3], [3, 3, 3], [1]):
    assert np.array_equal(session.run((x[order],))[0], want[order])


def test_passes_samples_and_seconds_are_counted(model, runtime):
  _, part, x = model
  session = open_session(runtime, part)
  counts = session.forward_passes, session.samples_run, session.invoke_seconds
  assert counts == (0, 0, 0.0)
  session.run((x,))
  session.run((x[:2],))
  assert (session.forward_passes, session.samples_run) == (2, SAMPLES + 2)
  assert session.invoke_seconds > 0


def test_outputs_stay_within_the_declared_distance_of_the_reference(
  model, runtime
):
  marked, part, x = model
  if "litert-reference" not in INSTALLED:
    pytest.skip("needs LiteRT's reference kernels")
  session = open_session(runtime, part)
  (got,) = session.run((x,))
  (want,) = open_session("litert-reference", part).run((x,))
  distance = np.abs(got.astype(int) - want).max()
  if x.dtype == np.int8:  # 16-bit weights give logits on a finer grid
    spec = tensor_spec(marked.data, part.outputs[0])
    distance = distance * spec.scale / LOGIT_STEP
  assert distance <= session.traits.lsb_to_reference


def test_arrays_that_were_run_may_be_written_and_fed_again(model, runtime):
  """`run` forgets its inputs: only what `feed` is given must stay as it is."""
  _, part, x = model
  session = open_session(runtime, part)
  inputs = (x.copy(),)
  first = session.run(inputs)[0].copy()
  inputs[0][...] = x[::-1]
  session.feed(inputs)
  (again,) = session.forward()
  assert np.array_equal(again, first[::-1])
  assert not np.array_equal(again, first)


def test_the_guard_sees_every_write_and_restores_the_weights(model, runtime):
  marked, part, x = model
  session = open_session(runtime, part)
  before = session.flatbuffer()
  verdicts = write_check.check_visibility(session, marked.mark.trainable, (x,))
  assert [v.seen for v in verdicts] == [True] * len(verdicts)
  assert session.flatbuffer() == before


def test_input_specs_tell_shape_and_dtype(model, runtime):
  _, part, x = model
  session = open_session(runtime, part)
  assert session.input_specs == ((x.shape[1:], x.dtype.name),)


def test_traits_name_the_runtime(runtime):
  marked = mark_file(models.dense_model(), "all")
  part = whole(marked.data, marked.mark)
  assert open_session(runtime, part).traits.runtime == runtime


@pytest.mark.parametrize("strategy", ["in-place", "rebuild"])
@pytest.mark.parametrize(
  ("name", "kernels"),
  [("litert-reference", "litert-reference"), ("litert", "litert-xnnpack")],
)
def test_rebuilding_keeps_the_kernels_but_litert_takes_xnnpack(
  model, name, kernels, strategy
):
  _, part, x = model
  session = open_session(name, part, strategy)
  assert session.traits.in_place == (strategy == "in-place")
  new = other_weights(session.params())
  session.load(new)
  if strategy == "in-place":
    kernels = name
  reference = open_session(kernels, part)
  reference.load(new)
  assert np.array_equal(session.run((x,))[0], reference.run((x,))[0])


def test_the_guard_names_xnnpack_when_it_hides_writes():
  marked = mark_file(models.dense_model(), "all")
  part = whole(marked.data, marked.mark)
  session = open_session("litert-xnnpack", part, "in-place")
  with pytest.raises(TflmFgError, match="XNNPACK packed the weights"):
    write_check.require_visible(session, marked.mark.trainable)


def transposed_part():
  net = models.Network()
  x = net.activation("x", (1, 3, 3, 2), 4.0)
  flow = net.transposed(x, 3, "up")
  out = net.dense(net.mean(flow), 3, "head", reach=8.0)
  marked = mark_file(net.finish([x.index], [out.index]), "all")
  return marked.mark.trainable, whole(marked.data, marked.mark)


def test_a_kernel_that_caches_its_weights_is_caught_and_named():
  """LiteRT's optimized TRANSPOSE_CONV keeps a transposed copy."""
  tensors, part = transposed_part()
  session = open_session("litert", part)
  with pytest.raises(TflmFgError, match=r"'up/kernel'.*--strategy=rebuild"):
    write_check.require_visible(session, tensors)


def test_rebuilding_trains_a_kernel_that_caches_its_weights():
  tensors, part = transposed_part()
  session = open_session("litert", part, "rebuild")
  write_check.require_visible(session, tensors)


def test_the_guard_names_a_tensor_that_moves_no_output():
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0)
  flow = net.dense(net.dense(x, 4, "dead"), 4, "live")
  (live,) = (t for t in net.graph.tensors if t.name == b"live/kernel")
  net.model.buffers[live.buffer].data = np.zeros(16, np.uint8)
  marked = mark_file(net.finish([x.index], [flow.index]), "all")
  part = whole(marked.data, marked.mark)
  session = open_session("litert", part)
  seen = {
    v.tensor.name: v.seen
    for v in write_check.check_visibility(session, marked.mark.trainable)
  }
  assert seen["live/kernel"]
  assert not seen["dead/kernel"]


@pytest.mark.parametrize("strategy", ["in-place", "rebuild"])
def test_a_batch_that_the_engine_refuses_is_one_line(strategy, monkeypatch):
  session = open_session(
    "litert", whole(*mark_file(models.dense_model(), "head")[:2]), strategy
  )

  def overflow():
    raise RuntimeError("Pad output size overflowed.")

  monkeypatch.setattr(session, "_resize", overflow)
  with pytest.raises(TflmFgError, match=r"the engine refused .*overflowed"):
    session.run((np.zeros((5, 8), np.int8),))


def test_an_unknown_runtime_or_strategy_is_refused():
  part = whole(*mark_file(models.dense_model(), "head")[:2])
  with pytest.raises(TflmFgError, match="runtime 'gpu' is unknown"):
    open_session("gpu", part)
  with pytest.raises(TflmFgError, match="strategy 'often' is unknown"):
    open_session("litert", part, "often")


def test_a_missing_runtime_is_refused_with_its_cure(monkeypatch):
  part = whole(*mark_file(models.dense_model(), "head")[:2])
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(TflmFgError, match=r"pip install 'tflm-fg\[tflm\]'"):
    open_session("tflm", part)


@pytest.mark.skipif("tflm" not in INSTALLED, reason="needs tflm")
def test_tflm_refuses_to_rebuild():
  part = whole(*mark_file(models.dense_model(), "head")[:2])
  with pytest.raises(TflmFgError, match="writes in place"):
    open_session("tflm", part, "rebuild")
