"""A file finds a prompt of its input, as NumPy does and as files hold it."""

import functools

import numpy as np
import pytest

import tflm_fg
from converters.to_signatures import chosen, to_signatures
from tests import models, refusals
from tests.converters.test_to_signatures import (
  head_alone,
  inferred,
  plain,
  runners,
)
from tflm_fg import signatures

KERNELS = {
  "reference": "BUILTIN_REF",
  "optimized": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
  "xnnpack": "BUILTIN",
}
BATCH = 4
CONV = models.conv_model(seed=1)
FLAT = head_alone()
"""Its head reads the input, so that little is between a prompt and the loss."""


@functools.cache
def marked(model=FLAT):
  return chosen(model, batch_size=BATCH)


@functools.cache
def exported(model=FLAT):
  return to_signatures(marked(model), capacity=16, batch_size=BATCH).data


@functools.cache
def samples(model=FLAT):
  """What a sensor that moves channels sees, and classes without that."""
  file = marked(model).file
  shape = file.subgraph.tensors[file.subgraph.inputs[0]].shape[1:]
  random = np.random.default_rng(1)
  size = (200, *[1 for _ in shape[1:]], shape[-1])
  base = random.integers(-80, 81, size)
  base = base + random.integers(-15, 16, (200, *shape))
  y = plain(model, base.astype(np.int8)).argmax(axis=1)
  moved = np.resize([1, -1], shape[-1]) * 30
  if model is FLAT:  # towards the first class
    kernel = signatures.head_spec(marked(model)).kernel.astype(int)
    moved = np.sign(2 * kernel[0] - kernel[1] - kernel[2]) * 30
  return (base + moved).astype(np.int8), y.astype(np.int32)


def adapted(run, model=FLAT, count=240):
  """Calls adapt_input; what each call gave."""
  call = run["adapt_input"] if isinstance(run, dict) else run.adapt_input
  (x, y), told = samples(model), []
  random = np.random.default_rng(2)
  for _ in range(count):
    rows = random.choice(len(x), BATCH, replace=False)
    found = call(x=x[rows], y=y[rows], seed=np.int32([5]))
    told.append((float(found["loss"][0]), int(found["changed"][0])))
  return told


@functools.cache
def in_numpy(model, kernels):
  """What NumPy makes of the calls: each call's outputs, and the weights."""
  file = signatures.simulate_signatures(marked(model), 16, BATCH, kernels)
  count = 240 if model is FLAT else 90
  return adapted(file, model, count), file.get_weights()


@functools.cache
def in_a_runtime(model=FLAT, kernels="reference"):
  run = runners(exported(model), KERNELS[kernels])
  return adapted(run, model, 240 if model is FLAT else 90), run


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("model", [FLAT, CONV], ids=["head", "convolutions"])
def test_a_prompt_is_found_to_the_bytes_that_numpy_finds(model, kernels):
  told, run = in_a_runtime(model, kernels)
  wanted, weights = in_numpy(model, kernels)
  assert told == wanted
  found = run["get_weights"]()
  assert {*found} == {*weights} == {"kernel", "bias", "offset", "gain"}
  assert all((found[name] == weights[name]).all() for name in weights)


def test_a_prompt_is_taken():
  told, run = in_a_runtime()
  assert any(changed for _, changed in told)
  assert run["get_weights"]()["offset"].any()


def test_it_infers_as_the_model_does_before_there_is_a_prompt():
  for model in (FLAT, CONV):
    x, _ = samples(model)
    found = inferred(runners(exported(model)), x[:12])
    assert (found == plain(model, x[:12])).all()


def test_it_infers_what_the_plain_file_with_the_prompt_gives():
  x, _ = samples()
  _, run = in_a_runtime()
  file = tflm_fg.strip(signatures.folded(marked(), **run["get_weights"]()))
  found = inferred(run, x[:12])
  assert (found == plain(file, x[:12])).all()
  assert (found != plain(FLAT, x[:12])).any()


def test_a_prompt_that_changes_nothing_needs_no_operators():
  weights = runners(exported())["get_weights"]()
  assert {*signatures.with_prompt(weights)} == {"kernel", "bias"}
  for name in ("offset", "gain"):
    other = weights | {name: weights[name] + 1}
    assert {*signatures.with_prompt(other)} == {*weights}
  found = in_a_runtime()[1]["get_weights"]()
  with_one = {**found, "gain": np.full_like(found["gain"], 64)}
  assert {*signatures.with_prompt(with_one)} == {*weights}
  bare = {n: weights[n] for n in ("kernel", "bias")}
  assert signatures.with_prompt(bare) == bare
  refusals.refused(lambda: signatures.folded(marked(), **bare), "no offset")


def test_what_is_remembered_is_seen_through_the_prompt():
  x, y = samples()
  _, run = in_a_runtime()
  file = signatures.simulate_signatures(marked(), 16, BATCH)
  file.set_weights(**run["get_weights"]())
  found = []
  for made in (run, {n: getattr(file, n) for n in run}):
    for sample, label in zip(x[:12], y):
      made["remember"](x=sample[None], y=np.int32([label]))
    made["train"](steps=np.int32([9]), rate=np.float32([4]))
    found.append((made["get_weights"](), made["evaluate"]()))
  for one, other in zip(*found):
    assert all((one[name] == other[name]).all() for name in one)


def test_a_prompt_goes_from_one_session_to_another():
  x, _ = samples()
  _, run = in_a_runtime()
  other = runners(exported())
  assert other["set_weights"](**run["get_weights"]())["accepted"] == 1
  assert (inferred(other, x[:12]) == inferred(run, x[:12])).all()


def test_weights_that_are_refused_leave_the_prompt():
  run = runners(exported())
  before = run["get_weights"]()
  wrong = {n: np.full_like(v, 1 << 20) for n, v in before.items()}
  assert run["set_weights"](**wrong)["accepted"] == 0
  after = run["get_weights"]()
  assert all((before[name] == after[name]).all() for name in before)


def test_a_reset_takes_the_prompt_away():
  run = runners(exported())
  adapted(run, count=60)
  run["set_weights"](**in_numpy(FLAT, "reference")[1])
  run["reset"]()
  weights = run["get_weights"]()
  assert not weights["offset"].any()
  assert (weights["gain"] == 64).all()


def test_a_prompt_alone_needs_no_samples_that_are_remembered():
  data = to_signatures(marked(), batch_size=BATCH, trains_head=False).data
  run = runners(data)
  assert {*run} == {
    "adapt_input",
    "get_weights",
    "set_weights",
    "reset",
    "infer",
  }
  assert adapted(run, count=60) == in_a_runtime()[0][:60]


def test_float_ends_take_the_same_samples_to_the_same_prompt():
  data = to_signatures(
    marked(), capacity=16, float_ends=True, batch_size=BATCH
  ).data
  file = marked().file
  source = file.subgraph.tensors[file.subgraph.inputs[0]]
  run, native = runners(data), runners(exported())
  x, y = samples()
  real = (x.astype(np.float64) - source.zero_points[0]) * source.scales[0]
  real = real.astype(np.float32)
  for start in range(0, 160, BATCH):
    rows, seed = slice(start, start + BATCH), np.int32([5])
    found = run["adapt_input"](x=real[rows], y=y[rows], seed=seed)
    assert found == native["adapt_input"](x=x[rows], y=y[rows], seed=seed)


def test_a_wide_head_infers_as_the_model_does_until_it_trains():
  wide = chosen(CONV, "prompt,wide-head", batch_size=BATCH)
  run = runners(to_signatures(wide, capacity=16, batch_size=BATCH).data)
  x, y = samples(CONV)
  assert (inferred(run, x[:8]) == plain(CONV, x[:8])).all()
  file = signatures.simulate_signatures(wide, 16, BATCH)
  for sample, label in zip(x[:12], y):
    for made in (run["remember"], file.remember):
      made(x=sample[None], y=np.int32([label]))
  for made in (run["train"], file.train):
    made(steps=np.int32([9]), rate=np.float32([4]))
  found, wanted = run["get_weights"](), file.get_weights()
  assert all((found[name] == wanted[name]).all() for name in wanted)
  assert found["kernel"].shape[1] > signatures.head_spec(marked(CONV)).inputs


@pytest.mark.parametrize(
  ("trainable", "told"),
  [("everything", "trains one of auto"), ("head,bias", "trains one of auto")],
)
def test_what_no_such_file_trains_is_refused(trainable, told):
  refusals.refused(lambda: chosen(FLAT, trainable), told)


@pytest.mark.parametrize("batch", [0, 257])
def test_a_batch_that_no_call_takes_is_refused(batch):
  refusals.refused(lambda: chosen(FLAT, batch_size=batch), "1 to 256")
