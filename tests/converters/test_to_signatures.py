"""A file that trains itself does what NumPy says, in every kind of kernel."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import tflm_fg
from converters.to_signatures import builder, to_signatures
from tests import models
from tests.refusals import refused
from tflm_fg import signatures
from tflm_fg.tflite import ModelFile, op_name, pack

KERNELS = ("BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN")


def runners(data, kernels="BUILTIN_REF"):
  made = Interpreter(
    model_content=data,
    num_threads=1,
    experimental_op_resolver_type=OpResolverType[kernels],
  )
  keys = made.get_signature_list()
  return {key: made.get_signature_runner(key) for key in keys}


def plain(data, x):
  made = Interpreter(
    model_content=bytes(bytearray(data)),
    num_threads=1,
    experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
  )
  made.allocate_tensors()
  (source,), (out,) = made.get_input_details(), made.get_output_details()
  found = []
  for sample in x:
    made.set_tensor(source["index"], sample[None])
    made.invoke()
    found.append(made.get_tensor(out["index"])[0])
  return np.array(found)


@pytest.fixture(scope="module")
def marked():
  return tflm_fg.mark_trainable(models.conv_model(), "head")


@pytest.fixture(scope="module")
def exported(marked):
  return to_signatures(marked, capacity=16).data


def samples(marked, count=12):
  shape = marked.file.subgraph.tensors[marked.file.subgraph.inputs[0]].shape
  random = np.random.default_rng(3)
  y = (np.arange(count) % 3).astype(np.int32)
  middles = random.integers(-90, 91, (3, *shape[1:]))
  x = middles[y] + random.integers(-30, 31, (count, *shape[1:]))
  return x.astype(np.int8), y


def inferred(run, x):
  return np.concatenate([run["infer"](x=s[None])["probabilities"] for s in x])


def test_it_infers_as_the_model_does_until_it_trains(marked, exported):
  x, _ = samples(marked)
  found = inferred(runners(exported), x)
  assert (found == plain(tflm_fg.strip(marked.file), x)).all()


def head_alone():
  """x [1, 6] -> dense -> softmax of 3: what is remembered is x itself."""
  net = models.Network(0, False, True)
  x = net.activation("x", (1, 6), 4.0, models.FEATURES)
  flow = net.dense(x, 3, "head", reach=8.0)
  return net.finish([x.index], [net.softmax(flow).index])


def simulated(spec, x, y, steps, rate):
  """What NumPy makes of the same calls."""
  engine = signatures.NumpyEngine()
  with np.errstate(over="ignore"):
    signatures.forget(engine, spec)
    for sample, label in zip(x, y):
      signatures.remember(engine, spec, sample[None], np.array([label]))
    loss = signatures.train_head(
      engine, spec, np.int32([steps]), np.float32([rate])
    )
  return loss, signatures.weights_now(engine, spec)


@pytest.mark.parametrize("kernels", KERNELS)
def test_it_trains_to_the_bytes_that_numpy_finds(kernels):
  marked = tflm_fg.mark_trainable(head_alone(), "head")
  x, y = samples(marked, 60)
  y = (y + 1) % 3  # the head knows none, so that all that it gains is clear
  run = runners(to_signatures(marked, capacity=64).data, kernels)
  for sample, label in zip(x, y):
    run["remember"](x=sample[None], y=np.array([label]))
  loss = run["train"](steps=np.int32([30]), rate=np.float32([4]))["loss"]
  found = run["get_weights"]()
  spec = signatures.head_spec(marked, 64)
  wanted_loss, wanted = simulated(spec, x, y, 30, 4)
  assert (found["kernel"] != spec.masters).any()
  assert (found["kernel"] == wanted.kernel).all()
  assert (found["bias"] == wanted.bias).all()
  assert loss == wanted_loss == run["evaluate"]()["loss"]


def test_it_infers_what_the_folded_plain_file_gives(marked):
  x, y = samples(marked, 60)
  run = runners(to_signatures(marked, capacity=64).data)
  for sample, label in zip(x, y):
    run["remember"](x=sample[None], y=np.array([label]))
  run["train"](steps=np.int32([30]), rate=np.float32([4]))
  found = run["get_weights"]()
  file = signatures.folded(marked, found["kernel"], found["bias"])
  assert (inferred(run, x) == plain(file, x)).all()
  assert (inferred(run, x) != plain(tflm_fg.strip(marked.file), x)).any()


def test_weights_that_go_from_one_session_to_another_are_the_same(
  marked, exported
):
  x, y = samples(marked)
  first, second = runners(exported), runners(exported)
  for sample, label in zip(x, y):
    first["remember"](x=sample[None], y=np.array([label]))
  first["train"](steps=np.int32([9]), rate=np.float32([4]))
  kept = first["get_weights"]()
  assert second["set_weights"](**kept)["accepted"] == 1
  again = second["get_weights"]()
  assert all((kept[key] == again[key]).all() for key in ("kernel", "bias"))
  assert (inferred(first, x) == inferred(second, x)).all()


@pytest.mark.parametrize("label", [-1, 3, 1 << 30])
def test_a_label_that_is_no_class_is_not_remembered(marked, exported, label):
  x, _ = samples(marked, 1)
  run = runners(exported)
  assert run["remember"](x=x, y=np.int32([1]))["count"] == 1
  assert run["remember"](x=x, y=np.int32([label]))["count"] == 1
  assert run["evaluate"]()["count"] == 1


@pytest.mark.parametrize(
  ("steps", "rate"), [(0, 1), (-3, 1), (5, 0), (5, -1), (5, float("nan"))]
)
def test_training_that_cannot_be_meant_leaves_the_weights(
  marked, exported, steps, rate
):
  x, y = samples(marked)
  run = runners(exported)
  for sample, label in zip(x, y):
    run["remember"](x=sample[None], y=np.array([label]))
  before = run["get_weights"]()["kernel"]
  told = run["train"](steps=np.int32([steps]), rate=np.float32([rate]))
  assert told["loss"] == -1
  assert (run["get_weights"]()["kernel"] == before).all()


def test_training_on_nothing_leaves_the_weights(exported):
  run = runners(exported)
  before = run["get_weights"]()["kernel"]
  assert run["train"](steps=np.int32([5]), rate=np.float32([1]))["loss"] == -1
  assert (run["get_weights"]()["kernel"] == before).all()


def test_weights_out_of_range_are_not_taken(marked, exported):
  run = runners(exported)
  before = run["get_weights"]()
  for number in (127 * 256 + 1, -127 * 256 - 1, -(1 << 31)):
    kernel = before["kernel"].copy()
    kernel[0, 0] = number
    told = run["set_weights"](kernel=kernel, bias=before["bias"])
    assert told["accepted"] == 0
    assert (run["get_weights"]()["kernel"] == before["kernel"]).all()


def test_a_reset_forgets_samples_and_training(marked, exported):
  x, y = samples(marked)
  run = runners(exported)
  before = run["get_weights"]()["kernel"]
  for sample, label in zip(x, y):
    run["remember"](x=sample[None], y=np.array([label]))
  run["train"](steps=np.int32([9]), rate=np.float32([4]))
  assert run["reset"]()["count"] == 0
  assert run["evaluate"]()["count"] == 0
  assert (run["get_weights"]()["kernel"] == before).all()


def test_the_oldest_samples_go_where_more_come_than_fit(marked, exported):
  x, y = samples(marked, 20)
  run = runners(exported)
  counts = [
    int(run["remember"](x=s[None], y=np.array([k]))["count"][0])
    for s, k in zip(x, y)
  ]
  assert counts == list(range(1, 21))
  assert run["evaluate"]()["count"] == 16


@pytest.mark.parametrize("seed", range(4))
def test_any_head_trains_in_the_file_as_in_numpy(seed):
  """Of any size, of a scale a class or one, with classes that are absent."""
  random = np.random.default_rng(seed)
  classes, inputs = int(random.integers(2, 9)), int(random.integers(1, 20))
  net = models.Network(seed, False, bool(seed % 2))
  x = net.activation("x", (1, inputs), 4.0, models.FEATURES)
  flow = net.dense(x, classes, "head", reach=float(random.uniform(1, 40)))
  model = net.finish([x.index], [net.softmax(flow).index])
  marked = tflm_fg.mark_trainable(model, "head")
  run = runners(to_signatures(marked, capacity=16).data, KERNELS[seed % 3])
  x = random.integers(-128, 128, (20, inputs)).astype(np.int8)
  y = random.integers(0, max(1, classes - 1), 20)
  for sample, label in zip(x, y):
    run["remember"](x=sample[None], y=np.int32([label]))
  run["train"](steps=np.int32([7]), rate=np.float32([9.5]))
  found = run["get_weights"]()
  _, wanted = simulated(signatures.head_spec(marked, 16), x, y, 7, 9.5)
  assert (found["kernel"] == wanted.kernel).all()
  assert (found["bias"] == wanted.bias).all()


@pytest.mark.parametrize(
  ("model", "why"),
  [
    (models.conv_model(wide=True), "reads int16"),
    (models.two_headed_model(), "--output=NAME"),
    (models.regression_model(tail="logistic"), "one number"),
    (models.regression_model(3, tail="logistic"), "3 sigmoids"),
  ],
)
def test_what_no_file_can_train_by_itself_is_refused_by_name(model, why):
  told = refused(
    lambda: to_signatures(tflm_fg.mark_trainable(model, "head", name="m"))
  )
  assert why in told
  assert told.startswith("m: ")


def test_a_model_with_state_is_refused():
  told = refused(
    lambda: to_signatures(
      tflm_fg.mark_trainable(models.recurrent_model(), "head")
    )
  )
  assert "state" in told


def test_a_mark_of_more_than_the_head_is_refused():
  marked = tflm_fg.mark_trainable(models.deep_model(), "all")
  assert "last layer" in refused(lambda: to_signatures(marked))


def test_only_operators_that_were_run_in_the_oldest_runtime_are_added(
  marked, exported
):
  """They and their versions are those of `VERSIONS`."""

  def codes(data):
    found = ModelFile.open(data).unpack()
    return {
      (op_name(found, op), found.operatorCodes[op.opcodeIndex].version)
      for graph in found.subgraphs
      for op in graph.operators
    }

  added = codes(exported) - codes(marked.data)
  assert added
  assert added <= set(builder.VERSIONS.items())


def test_the_features_and_their_labels_take_no_bytes_of_the_file(marked):
  """The ring is filled when it is needed, whatever its size."""
  small, large = (len(to_signatures(marked, n).data) for n in (16, 2048))
  assert abs(large - small) < 100


def test_what_is_equal_is_written_once(exported):
  """Functions that two signatures call, and tensors of one shape and type."""
  model = ModelFile.open(exported).unpack()
  names = [graph.name for graph in model.subgraphs]
  assert names.count(b"guarded") == names.count(b"forget") == 1
  tensors = sum(len(graph.tensors) for graph in model.subgraphs)
  assert len(exported) < len(pack(model)) - 16 * tensors
