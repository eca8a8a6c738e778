"""Bad files, arrays and numbers end in one clear TflmFgError.

Everything here runs in this process; `test_apps` holds that programs turn the
error into one line and a status.
"""

from __future__ import annotations

import copy
import io
import json
import pathlib
import re
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflm_fg
from tests import models
from tflm_fg import data, files, flatbuffer, journal, runtimes
from tflm_fg.base import TflmFgError
from tflm_fg.flatbuffer_cut import cut

MODEL = models.dense_model()
MARKED = tflm_fg.mark(MODEL).data
X, Y = models.separable(clips=48)
QUICK = tflm_fg.Settings(steps=3)


def adapt(model: bytes = MODEL, x: Any = X, y: Any = Y, **options: Any) -> Any:
  options.setdefault("settings", QUICK)
  return tflm_fg.adapt(model, x, y, name="m.tflite", **options)


def refused(call: Callable[[], object], *words: str) -> str:
  """Runs what must be refused; the words must be in the message."""
  with pytest.raises(TflmFgError) as caught:
    call()
  message = str(caught.value)
  assert message.strip()
  assert len(message) < 500
  for word in words:
    assert word in message
  return message


def edited(edit: Callable[[schema.ModelT], None]) -> bytes:
  """The dense model: x, hidden kernel, bias, out, head kernel, bias, out."""
  model = flatbuffer.read(MODEL)
  edit(model)
  return flatbuffer.pack(model)


# Files that are no sound model.


@pytest.mark.parametrize("content", [b"", b"a text file\n" * 9, bytes(999)])
def test_what_is_no_tflite_is_refused_by_name(content):
  refused(lambda: adapt(content), "m.tflite")
  refused(lambda: tflm_fg.mark(content, name="m.tflite"), "m.tflite")
  refused(lambda: tflm_fg.strip(content, "m.tflite"), "m.tflite")


def test_every_truncation_is_refused():
  for model in (MODEL, MARKED):
    for length in {
      *range(0, len(model), 41),
      *range(len(model) - 9, len(model)),
    }:
      refused(lambda m=model[:length]: tflm_fg.mark(m, name="cut"), "cut")


def test_trailing_bytes_do_no_harm():
  assert adapt(MODEL + bytes(64)).model


def test_float_model_is_refused_with_the_cure():
  refused(lambda: adapt(models.float_model()), "float32", "quantize")


@pytest.mark.parametrize("trainable", ["head", "bias", "all", "float"])
def test_hybrid_model_is_refused_with_the_cure(trainable):
  hybrid = models.float_model("int8")
  refused(lambda: adapt(hybrid, trainable=trainable), "representative")


def _to_int4(model: schema.ModelT) -> None:
  tensor = model.subgraphs[0].tensors[4]
  tensor.type = schema.TensorType.INT4
  buffer = model.buffers[tensor.buffer]
  buffer.data = buffer.data[: len(buffer.data) // 2]


def test_int4_weights_are_refused_by_name():
  refused(lambda: adapt(edited(_to_int4)), "int4", "head/kernel")


def test_layers_beside_int4_weights_still_train():
  marked = tflm_fg.mark(edited(_to_int4), "all")
  assert "int4" not in {t.dtype for t in marked.mark.trainable}
  assert "head/kernel" not in {t.name for t in marked.mark.trainable}


def _to_custom(code: bytes) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    operator = model.subgraphs[0].operators[2]
    model.operatorCodes[2].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[2].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[2].customCode = code
    operator.builtinOptions, operator.builtinOptionsType = None, 0

  return edit


@pytest.mark.parametrize("code", [b"edgetpu-custom-op", b"\xff\xfe\n", b""])
def test_custom_operator_is_refused(code):
  refused(lambda: adapt(edited(_to_custom(code))), "operator 2")


def test_uint8_weights_are_refused():
  def edit(model: schema.ModelT) -> None:
    for tensor in model.subgraphs[0].tensors:
      if tensor.type == schema.TensorType.INT8:
        tensor.type = schema.TensorType.UINT8

  refused(lambda: adapt(edited(edit)), "uint8")


def test_two_inputs_are_refused_everywhere():
  def edit(model: schema.ModelT) -> None:
    graph = model.subgraphs[0]
    graph.tensors.append(copy.copy(graph.tensors[0]))
    graph.inputs = np.array([0, len(graph.tensors) - 1], np.int32)

  refused(lambda: adapt(edited(edit)), "2 inputs")
  refused(lambda: tflm_fg.evaluate_model(edited(edit), X, Y), "2 inputs")


def test_model_of_batch_eight_is_refused_with_the_cure():
  def edit(model: schema.ModelT) -> None:
    for tensor in model.subgraphs[0].tensors:
      if tensor.buffer == 0:
        tensor.shape = np.array([8, tensor.shape[1]], np.int32)

  refused(lambda: adapt(edited(edit)), "batch")
  refused(lambda: tflm_fg.evaluate_model(edited(edit), X, Y), "batch")


# Models that are sound flatbuffers and broken graphs.


def _set(index: int, field: str, value: Any) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    setattr(model.subgraphs[0].tensors[index], field, value)

  return edit


def _scale(index: int, scale: list[float]) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    quantization = model.subgraphs[0].tensors[index].quantization
    quantization.scale = np.array(scale, np.float32)
    quantization.zeroPoint = np.zeros(len(scale), np.int64)

  return edit


def _operator(
  number: int, field: str, value: Any
) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    held = None if value is None else np.array(value, np.int32)
    setattr(model.subgraphs[0].operators[number], field, held)

  return edit


def _graph(field: str, value: Any) -> Callable[[schema.ModelT], None]:
  def edit(model: schema.ModelT) -> None:
    setattr(model.subgraphs[0], field, value)

  return edit


BROKEN = {
  "kernel scale zero": _scale(4, [0.0] * 4),
  "bias scale zero": _scale(5, [0.0] * 4),
  "bias scale minus zero": _scale(5, [-0.0] * 4),
  "input without scale": _scale(0, []),
  "hidden without scale": _scale(3, []),
  "logits without scale": _scale(6, []),
  "input not quantized": _set(0, "quantization", None),
  "hidden not quantized": _set(3, "quantization", None),
  "logits not quantized": _set(6, "quantization", None),
  "kernel not quantized": _set(4, "quantization", None),
  "bias not quantized": _set(5, "quantization", None),
  "bias of floats": _set(5, "type", schema.TensorType.FLOAT32),
  "bias of an unknown type": _set(5, "type", 99),
  "kernel of an unknown type": _set(4, "type", 99),
  "logits of an unknown type": _set(6, "type", 99),
  "input of an unknown type": _set(0, "type", -1),
  "operator without inputs": _operator(1, "inputs", None),
  "operator with no inputs": _operator(2, "inputs", []),
  "operator without outputs": _operator(1, "outputs", None),
  "operator that reads what it writes": _operator(2, "inputs", [7]),
  "operator that writes what it reads": _operator(2, "outputs", [7, 6]),
  "operator that writes a constant": _operator(2, "outputs", [4]),
  "operator that writes the input": _operator(2, "outputs", [0]),
  "bias that is an activation": _operator(1, "inputs", [3, 4, 0]),
  "kernel that is an activation": _operator(1, "inputs", [3, 3, 5]),
  "input that nothing reads": _operator(0, "inputs", [4, 1, 2]),
  "no outputs": _graph("outputs", np.zeros(0, np.int32)),
  "outputs missing": _graph("outputs", None),
  "no inputs": _graph("inputs", np.zeros(0, np.int32)),
  "no operators": _graph("operators", None),
  "shape that is missing": _set(6, "shape", None),
  "shape of no sizes": _set(6, "shape", np.zeros(0, np.int32)),
  "logits of three sizes": _set(6, "shape", np.array([1, 2, 2], np.int32)),
  "input of size zero": _set(0, "shape", np.array([1, 0], np.int32)),
  "input too narrow": _set(0, "shape", np.array([1, 7], np.int32)),
  "logits too wide": _set(6, "shape", np.array([1, 65535], np.int32)),
  "logits enormous": _set(6, "shape", np.array([1, 2**31 - 1], np.int32)),
  "hidden enormous": _set(3, "shape", np.array([1, 2**28], np.int32)),
}


@pytest.mark.parametrize("kind", list(BROKEN))
def test_broken_graph_is_refused_before_training(kind):
  broken = edited(BROKEN[kind])
  width = flatbuffer.schema.Model.GetRootAsModel(broken, 0)
  shape = width.Subgraphs(0).Tensors(0).ShapeAsNumpy()
  x = np.zeros((48, *shape[1:]), np.float32)
  refused(lambda: adapt(broken, x=x, trainable="all"))


@pytest.mark.parametrize("operator", [0, 1])
@pytest.mark.parametrize("stride", [None, 0])
def test_convolution_without_its_options_is_refused(operator, stride):
  # tflite-runtime divides by a stride that is not there.
  model = flatbuffer.read(models.conv_model())
  convolution = model.subgraphs[0].operators[operator]
  if stride is None:
    convolution.builtinOptions, convolution.builtinOptionsType = None, 0
  else:
    convolution.builtinOptions.strideH = stride
  broken = flatbuffer.pack(model)
  refused(lambda: tflm_fg.mark(broken, name="m.tflite"), "m.tflite")


@pytest.mark.parametrize("name", [None, b"", b"\xff\xfe", b"a\nb"])
def test_odd_tensor_names_are_no_fault(name):
  def edit(model: schema.ModelT) -> None:
    for tensor in model.subgraphs[0].tensors:
      tensor.name = name

  odd = edited(edit)
  try:
    assert adapt(odd, trainable="all").model
  except TflmFgError as fault:  # an engine may refuse them: still one line
    assert str(fault)


# Arrays.


def npz(folder: pathlib.Path, **arrays: Any) -> str:
  path = folder / "clips.npz"
  np.savez(path, **arrays)
  return str(path)


def _npz_bytes() -> bytes:
  content = io.BytesIO()
  np.savez(content, x=X, y=Y)
  return content.getvalue()


def _npy(value: Any) -> bytes:
  content = io.BytesIO()
  np.save(content, value)
  return content.getvalue()


def _zip(**members: bytes) -> bytes:
  content = io.BytesIO()
  with zipfile.ZipFile(content, "w") as archive:
    for name, held in members.items():
      archive.writestr(name.replace("_npy", ".npy"), held)
  return content.getvalue()


def _encrypted(content: bytes) -> bytes:
  return re.sub(
    rb"(PK\x01\x02.{4})(.)",
    lambda m: m[1] + bytes([m[2][0] | 1]),
    content,
    flags=re.DOTALL,
  )


def _unknown_compression(content: bytes) -> bytes:
  return re.sub(rb"(PK\x01\x02.{6}).", rb"\1c", content, flags=re.DOTALL)


def _huge_header(clips: int) -> bytes:
  content = io.BytesIO()
  header = {"descr": "<f4", "fortran_order": False, "shape": (clips, 1960)}
  np.lib.format.write_array_header_1_0(content, header)
  return _zip(x_npy=content.getvalue() + b"abc", y_npy=_npy(Y))


GOOD = _npz_bytes()
UNREADABLE = {
  "empty": b"",
  "text": b"hello\n" * 9,
  "a model": MODEL,
  "half": GOOD[: len(GOOD) // 2],
  "without its end": GOOD[:-30],
  "an npy": _npy(X),
  "a text member": _zip(x=b"hello", y=b"hello"),
  "a broken member": _zip(x_npy=b"hello", y_npy=b""),
  "encrypted": _encrypted(GOOD),
  "unknown compression": _unknown_compression(GOOD),
  "a header of petabytes": _huge_header(10**12),
}


@pytest.mark.parametrize("kind", list(UNREADABLE))
def test_unreadable_npz_is_refused_by_name(kind, tmp_path):
  path = tmp_path / "clips.npz"
  path.write_bytes(UNREADABLE[kind])
  message = refused(lambda: data.load_npz(str(path)), "clips.npz")
  assert "allow_pickle" not in message  # no advice that runs foreign code


def test_npz_with_any_flipped_bit_loads_or_is_refused(tmp_path):
  path = tmp_path / "clips.npz"
  random = np.random.default_rng(0)
  ends = [*range(200), *range(len(GOOD) - 200, len(GOOD))]
  for place in random.choice(ends, 120, replace=False):
    broken = bytearray(GOOD)
    broken[place] ^= 1 << random.integers(8)
    path.write_bytes(broken)
    try:
      data.load_npz(str(path))
    except TflmFgError as fault:
      assert "clips.npz" in str(fault)


def test_missing_npz_and_folder_are_refused(tmp_path):
  refused(lambda: data.load_npz(str(tmp_path / "no.npz")), "no.npz", "no such")
  refused(lambda: data.load_npz(str(tmp_path)), str(tmp_path))


@pytest.mark.parametrize("key", ["x", "y"])
def test_missing_array_is_named(key, tmp_path):
  held = {k: v for k, v in {"x": X, "y": Y}.items() if k != key}
  path = npz(tmp_path, **held)
  refused(lambda: data.load_npz(path), repr(key))


@pytest.mark.parametrize("key", ["x", "y"])
def test_pickled_objects_are_never_loaded(key, tmp_path):
  arrays = {"x": X, "y": Y, key: np.array([object()] * 48, object)}
  refused(lambda: data.load_npz(npz(tmp_path, **arrays)), "clips.npz")


BAD_X = {
  "another width": X[:, :5],
  "one clip without its axis": X[0],
  "a scalar": np.float32(1),
  "one axis too many": X[..., None],
  "no clips": X[:0],
  "int32": X.astype(np.int32),
  "uint8": X.astype(np.uint8),
  "bool": X > 0,
  "complex": X.astype(complex),
  "text": np.full(X.shape, "a"),
  "dates": np.zeros(X.shape, "datetime64[s]"),
  "records": np.zeros(X.shape, [("a", "f4")]),
  "NaN": np.where(X > 1, np.nan, X),
  "infinity": np.where(X > 1, -np.inf, X),
}


@pytest.mark.parametrize("kind", list(BAD_X))
def test_clips_that_do_not_fit_are_refused(kind):
  y = Y[: len(BAD_X[kind])] if np.ndim(BAD_X[kind]) > 1 else Y
  refused(lambda: adapt(x=BAD_X[kind], y=y), "train x")
  refused(lambda: tflm_fg.evaluate_model(MODEL, BAD_X[kind], y), "x")


BAD_Y = {
  "negative": Y - 1,
  "above the last class": Y + 1,
  "floats": Y.astype(float),
  "NaN": np.full(len(Y), np.nan),
  "too few": Y[:-1],
  "one-hot": np.eye(4, dtype=int)[Y],
  "a column": Y[:, None],
  "a scalar": np.int64(1),
  "bool": Y > 1,
  "words": np.array(list("abcd"))[Y],
  "beyond 63 bits": np.full(len(Y), 2**64 - 1, np.uint64),
}


@pytest.mark.parametrize("kind", list(BAD_Y))
def test_classes_that_do_not_fit_are_refused(kind):
  refused(lambda: adapt(y=BAD_Y[kind]), "train y")
  refused(lambda: adapt(test=(X, BAD_Y[kind])), "test y")


FINE = {
  "one clip": (X[:1], Y[:1]),
  "two clips": (X[:2], Y[:2]),
  "one class": (X, Y * 0),
  "float16": (X.astype(np.float16), Y),
  "float64 beyond float32": (X.astype(float) * 1e300, Y),
  "long double": (X.astype(np.longdouble), Y),
  "another byte order": (X.astype(">f4"), Y.astype(">i4")),
  "column order": (np.asfortranarray(X), Y),
  "uint64 classes": (X, Y.astype(np.uint64)),
  "the model's integers": (models.int8_clips((8,), 48), Y),
}


@pytest.mark.parametrize("kind", list(FINE))
def test_odd_but_sound_clips_are_taken(kind):
  x, y = FINE[kind]
  result = adapt(x=x, y=y)
  assert np.isfinite(result.report["loss_after"])


def test_batch_larger_than_the_set_is_the_whole_set():
  large = adapt(settings=tflm_fg.Settings(steps=3, batch_size=2**31 - 1))
  assert large.model == adapt().model


# Numbers.

BAD_SETTINGS: list[dict[str, Any]] = [
  {"batch_size": 0},
  {"batch_size": -1},
  {"steps": 0},
  {"steps": 10**15},
  {"seed": -1},
  {"seed": 2**64},
  {"epsilon_lsb": 0.0},
  {"epsilon_lsb": -1.0},
  {"epsilon_lsb": 1000.0},
  {"epsilon_lsb": float("nan")},
  {"learning_rate_lsb": 0.0},
  {"learning_rate_lsb": float("nan")},
  {"learning_rate_lsb": float("inf")},
  {"learning_rate_lsb": 1e9},
  {"momentum": 1.0},
  {"momentum": -0.1},
  {"momentum": float("nan")},
  {"validation_fraction": 1.0},
  {"validation_fraction": -0.1},
  {"validation_fraction": float("nan")},
  {"num_directions": 0},
  {"num_directions": 10**6},
  {"validate_every": 0},
  {"patience": -1},
  {"method": "adam"},
  {"directions": "sobol"},
  {"decay": "cosine"},
  {"steps": 2.5},
  {"seed": "1"},
  {"momentum": "much"},
]


@pytest.mark.parametrize("bad", BAD_SETTINGS, ids=str)
def test_number_out_of_range_is_named_without_a_warning(bad):
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    message = refused(
      lambda: adapt(settings=tflm_fg.Settings(**{"steps": 3, **bad}))
    )
  (name,) = bad
  assert name.removesuffix("s") in message


def test_small_perturbation_warns_and_runs():
  with pytest.warns(UserWarning, match="epsilon_lsb"):
    settings = tflm_fg.Settings(steps=3, epsilon_lsb=0.5)
  assert adapt(settings=settings).model


def test_negative_rate_climbs():
  def loss(rate: float) -> float:
    settings = tflm_fg.Settings(
      steps=150, learning_rate_lsb=rate, validation_fraction=0.0
    )
    return adapt(settings=settings).report["loss_after"]

  assert loss(-0.5) > adapt().report["loss_before"] > loss(0.5)


def test_momentum_just_under_one_dies_out_without_new_slopes():
  from tflm_fg import optimizers, quant
  from tflm_fg.base import Params, Vectors

  layout = quant.Layout(tflm_fg.mark(MODEL).mark.trainable)
  optimizer = optimizers.sgd(
    layout, optimizers.schedule(1.0, "constant", 1), momentum=0.9999
  )
  params = Params(
    np.zeros(layout.num_kernels, np.int16),
    np.zeros(layout.num_biases, np.int32),
  )
  nothing = Vectors(
    np.zeros(layout.num_kernels, np.int64),
    np.zeros(layout.num_biases, np.int64),
  )
  full = Vectors(nothing.kernels + 65536, nothing.biases + 65536)
  _, state = optimizer.update(full, optimizer.init(params), params, 0)
  start = np.abs(state.kernels).max()
  for step in range(1, 40):
    _, state = optimizer.update(nothing, state, params, step)
  assert 0 < np.abs(state.kernels).max() < start


# What to train, and where.


@pytest.mark.parametrize("choice", ["zzz", "(", "*", ",", " , ,", "[", "(?P<"])
def test_choice_that_names_nothing_is_refused(choice):
  refused(lambda: adapt(trainable=choice), "trainable")


def test_unknown_runtime_and_strategy_are_refused():
  refused(lambda: adapt(runtime="onnx"), "onnx", "litert")
  refused(lambda: adapt(strategy="magic"), "magic", "in-place")


def test_runtime_that_is_not_installed_is_refused_with_the_cure(monkeypatch):
  monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
  refused(lambda: adapt(runtime="tflm"), "tflm", "pip install")
  assert runtimes.installed() == []


def test_runtime_that_does_not_import_is_refused_with_the_cure(monkeypatch):
  found = runtimes.importlib.import_module

  def broken(name: str, *rest: Any) -> Any:
    if name.startswith("ai_edge_litert.interpreter"):
      raise ImportError("libc is too old")
    return found(name, *rest)

  monkeypatch.setattr(runtimes.importlib, "import_module", broken)
  refused(lambda: adapt(), "libc is too old", "pip install")


def test_guard_refuses_in_place_writes_under_xnnpack_with_the_cause():
  call = lambda: adapt(runtime="litert-xnnpack", strategy="in-place")  # noqa: E731
  refused(call, "XNNPACK", "--strategy=rebuild", "head/kernel")


def test_guard_leaves_the_weights_as_they_were():
  marked = tflm_fg.mark(MODEL, "all")
  piece = cut(marked.data, marked.mark).suffix
  session = runtimes.open_session("litert-xnnpack", piece, "in-place")
  verdicts = runtimes.check_visibility(session, marked.mark.trainable)
  assert not all(v.seen for v in verdicts)
  assert session.flatbuffer() == piece.data


# The mark.

TEXT = json.loads(MARKED[MARKED.index(b'{"version"') :].split(b"\0")[0])


def remarked(content: bytes | dict[str, Any]) -> bytes:
  if isinstance(content, dict):
    content = json.dumps(content).encode()
  return flatbuffer.prepend_metadata(MODEL, "tflm_fg", content)


def _bad_marks() -> dict[str, bytes | dict[str, Any]]:
  bad: dict[str, bytes | dict[str, Any]] = {
    repr(text): text
    for text in (
      b"", b"{", b"[]", b"5", b'"x"', b"null", b"\xff\xfe", b"{}",
      b'{"version":1}', b'{"version":2}', b'{"version":1e999}',
    )
  }  # fmt: skip
  bad["a deep nest"] = b"[" * 100_000
  bad["no tensors"] = {**TEXT, "trainable": []}
  bad["no list of tensors"] = {**TEXT, "trainable": None}
  bad["a tensor twice"] = {**TEXT, "trainable": TEXT["trainable"][:1] * 2}
  wrong = (None, "a", -1, 10**6, 1.5, True, [1], 2**70, float("nan"))
  for key in ("logits", "head_input"):
    bad |= {f"{key}={v}": {**TEXT, key: v} for v in wrong}
  bad["logits a kernel"] = {**TEXT, "logits": 4}
  for key in ("index", "operator", "subgraph", "role", "name"):
    for value in (*wrong, "bias", "x", {}):
      changed = copy.deepcopy(TEXT)
      changed["trainable"][0][key] = value
      bad[f"{key}={value}"] = changed
  return bad


BAD_MARKS = _bad_marks()


@pytest.mark.parametrize("kind", list(BAD_MARKS))
def test_broken_mark_is_refused(kind):
  broken = remarked(BAD_MARKS[kind])
  refused(lambda: adapt(broken))
  # Nothing is trained, so the mark is not read: the file scores as before.
  assert tflm_fg.evaluate_model(broken, X, Y)["clips"] == len(X)


def test_broken_mark_comes_off():
  assert tflm_fg.strip(remarked(b"{")) == MODEL
  assert tflm_fg.mark(remarked(b"{")).data == MARKED


# The journal.

RECORDED = adapt(settings=tflm_fg.Settings(steps=6, validation_fraction=0.0))
LINES = RECORDED.journal.to_bytes().decode().splitlines()


def replayed(lines: list[str], model: bytes = RECORDED.marked) -> bytes:
  content = "\n".join(lines).encode("utf-8", "surrogateescape")
  return tflm_fg.replay(journal.parse(content, "j.jsonl"), model, "m.tflite")


def _head(**changes: Any) -> list[str]:
  return [json.dumps({**json.loads(LINES[0]), **changes}), *LINES[1:]]


def _settings(**changes: Any) -> list[str]:
  return _head(settings={**json.loads(LINES[0])["settings"], **changes})


def _line(number: int, text: str) -> list[str]:
  lines = list(LINES)
  lines[number] = text
  return lines


def test_replay_gives_the_same_bytes():
  assert replayed(LINES) == RECORDED.model
  assert RECORDED.model != RECORDED.marked


BAD_JOURNALS: dict[str, list[str]] = {
  "empty": [],
  "one line": LINES[:1],
  "text": ["hello", "world"],
  "numbers": ["1", "2"],
  "lists": ["[]", "[]"],
  "objects": ["{}", "{}"],
  "not UTF-8": ["\udcff\udcfe", *LINES],
  "cut off": LINES[:-1],
  "cut in the middle": [*LINES[:3], LINES[3][:9]],
  "a step missing": [*LINES[:2], *LINES[3:]],
  "a step twice": [*LINES[:2], *LINES[1:]],
  "steps swapped": [LINES[0], LINES[2], LINES[1], *LINES[3:]],
  "another version": _head(tflm_fg_journal=2),
  "model not a string": _head(model_sha256=3),
  "model null": _head(model_sha256=None),
  "settings null": _head(settings=None),
  "settings a list": _head(settings=[]),
  **{f"batch_size {v}": _head(batch_size=v) for v in (0, -1, "x", None, 1e30)},
  **{
    f"settings {c}": _settings(**c)
    for c in (
      {"method": "zz"}, {"method": None}, {"method": ["spsa"]},
      {"directions": 3}, {"num_directions": 0}, {"num_directions": 1.0},
      {"epsilon_lsb": None}, {"epsilon_lsb": "2"}, {"epsilon_lsb": 1e400},
      {"learning_rate_lsb": "x"}, {"decay": 5}, {"momentum": "much"},
      {"momentum": [1]}, {"steps": 2.5}, {"steps": None}, {"seed": 1.5},
      {"seed": "a"}, {"seed": True}, {"bogus": 1},
    )
  },
  **{
    f"slopes {s}": _line(1, f'{{"step":0,"slopes":{s}}}')
    for s in (
      "[1e400]", "[NaN]", f"[{2**63 - 1}]", f"[{2**70}]", '["1"]', "[1,2]",
      "5", "null", "[null]", "[1.5]", "[true]",
    )
  },
  "a deep nest": _line(1, "[" * 100_000),
  **{
    f"kept_step {k}": _line(-1, f'{{"kept_step":{k}}}')
    for k in ("-1", "7", "1e400", '"a"', "null", "true", "1.5")
  },
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BAD_JOURNALS))
def test_broken_journal_is_refused_by_name(kind):
  refused(lambda: replayed(BAD_JOURNALS[kind]), "j")


@pytest.mark.parametrize(
  "other", [MODEL, tflm_fg.mark(MODEL, "bias").data, RECORDED.model]
)
def test_journal_of_another_model_is_refused(other):
  refused(lambda: replayed(LINES, other), "m.tflite", "journal")


# Files.


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
  target = tmp_path / "out"
  target.write_bytes(b"old")

  def full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(files.os, "fsync", full)
  refused(lambda: files.write_atomically(str(target), b"new"), "No space")
  assert [p.name for p in tmp_path.iterdir()] == ["out"]
  assert target.read_bytes() == b"old"


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
  target = tmp_path / "out"
  target.write_bytes(b"old")

  def interrupted(descriptor: int) -> None:
    raise KeyboardInterrupt

  monkeypatch.setattr(files.os, "fsync", interrupted)
  with pytest.raises(KeyboardInterrupt):
    files.write_atomically(str(target), b"new")
  assert [p.name for p in tmp_path.iterdir()] == ["out"]
  assert target.read_bytes() == b"old"


def test_write_through_a_link_keeps_the_link(tmp_path):
  target, link = tmp_path / "target", tmp_path / "link"
  target.write_bytes(b"old")
  link.symlink_to("target")
  files.write_atomically(str(link), b"new")
  assert link.is_symlink()
  assert target.read_bytes() == b"new"


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
  import os

  pipe, link = tmp_path / "pipe", tmp_path / "link"
  os.mkfifo(pipe)  # stands for a device: renaming over one destroys it
  link.symlink_to("pipe")
  for path in (pipe, link):
    refused(lambda p=path: files.write_atomically(str(p), b"new"), path.name)
    refused(lambda p=path: files.require_writable(str(p)), path.name)
  assert pipe.is_fifo()
  assert link.is_symlink()


@pytest.mark.parametrize("name", ["", "a\0b", "a" * 300, "no/such/folder"])
def test_impossible_file_name_is_refused_up_front(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  refused(lambda: files.require_writable(name))
  refused(lambda: files.write_atomically(name, b""))
  assert not list(tmp_path.iterdir())
