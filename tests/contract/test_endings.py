"""Files whose endings say that they are something else get their true cause."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

import tflm_fg
from tests import models
from tests.refusals import X, Y, edited, refused

COMMANDS = {
  "mark": lambda m: tflm_fg.mark_trainable(m, "head", name="m.tflite"),
  "inspect": lambda m: tflm_fg.inspect(m, name="m.tflite"),
  "adapt": lambda m: tflm_fg.adapt(m, X, Y, name="m.tflite"),
  "evaluate": lambda m: tflm_fg.evaluate(m, X, Y, name="m.tflite"),
}


def custom(code):
  def edit(model):
    entry, op = model.operatorCodes[2], model.subgraphs[0].operators[2]
    entry.builtinCode = schema.BuiltinOperator.CUSTOM
    entry.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    entry.customCode = code
    op.builtinOptions, op.builtinOptionsType = None, 0

  return edited(edit)


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize(
  ("code", "text"),
  [
    (b"ethos-u", "Vela compiled for an Ethos-U: adapt the file that"),
    (b"edgetpu-custom-op", "compile the adapted file again"),
    (b"TFLite_Detection_PostProcess", "export the detector without it"),
    (b"FlexErf", "convert without SELECT_TF_OPS"),
    (b"my_own", "use a file without it"),
  ],
)
def test_every_command_says_what_a_custom_operator_is(command, code, text):
  message = refused(lambda: COMMANDS[command](custom(code)), text)
  assert message.startswith("m.tflite: operator 2 is")


def trained_by_itself():
  """A file with the forward pass of on-device training: float variables."""
  net = models.Builder()
  x = net.tensor("x", (1, 8), "float32")
  held = net.tensor("w", (4, 8), "float32", data=np.ones((4, 8)))
  kernel = net.tensor("read", (4, 8), "float32")
  out = net.tensor("out", (1, 4), "float32")
  net.operator("READ_VARIABLE", [held], kernel)
  options = schema.FullyConnectedOptionsT()
  net.operator("FULLY_CONNECTED", [x, kernel, -1], out, options, 3)
  return net.finish([x], [out])


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_file_that_trains_itself_is_not_called_streaming(command):
  message = refused(
    lambda: COMMANDS[command](trained_by_itself()), "'serving_default'"
  )
  assert "streaming" not in message


def embedding():
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0, models.FEATURES)
  flow = net.dense(x, 16, "hidden", relu=True)
  flow = net.dense(flow, 4, "head", reach=8.0)
  out = net.tensor("out", flow.shape, "int8", 1 / 128, 0)
  options = schema.L2NormOptionsT()
  net.operator("L2_NORMALIZATION", [flow.index], out, options, 2)
  return net.finish([x.index], [out])


@pytest.mark.parametrize("command", ["adapt", "evaluate"])
def test_an_embedding_gives_no_classes_and_its_cures_work(command):
  call = COMMANDS[command]
  refused(lambda: call(embedding()), "L2_NORMALIZATION", "[N, 4]", "--loss=mse")
  random = np.random.default_rng(0)
  y = random.normal(size=(len(X), 4))
  y /= np.linalg.norm(y, axis=1, keepdims=True)
  quick = tflm_fg.methods.SignSPSA(
    steps=2, epsilon_lsb=4.0, learning_rate_lsb=1
  )
  for loss in ("mse", lambda z, targets: 1 - (z * targets).sum(axis=1)):
    result = tflm_fg.adapt(
      embedding(), X, y, loss=loss, trainable="head", method=quick
    )
    assert result.report.mae_after is not None


def test_without_labels_an_embedding_is_refused_too():
  refused(lambda: tflm_fg.adapt(embedding(), X), "L2_NORMALIZATION")


def arg_max(softmax):
  """A classifier that gives its answer as an index behind the logits."""
  net = models.Network()
  x = net.activation("x", (1, 8), 4.0, models.FEATURES)
  flow = net.dense(x, 16, "hidden", relu=True)
  flow = net.dense(flow, 4, "head", reach=8.0)
  flow = net.softmax(flow) if softmax else flow
  axis = net.tensor("axis", (), "int32", data=np.array(1))
  kind = "int64" if softmax else "int32"
  out = net.tensor("out", (1,), kind)
  options = schema.ArgMaxOptionsT()
  options.outputType = getattr(schema.TensorType, kind.upper())
  net.operator("ARG_MAX", [flow.index, axis], out, options)
  return net.finish([x.index], [out])


@pytest.mark.parametrize("softmax", [False, True])
def test_a_file_that_ends_in_an_index_trains_the_logits_and_keeps_its_end(
  softmax,
):
  model = arg_max(softmax)
  result = tflm_fg.adapt(model, X, Y, test=(X, Y), trainable="head")
  assert result.report.method == "closed-form"
  assert result.report.accuracy_after > 0.9 > result.report.accuracy_before
  interpreter = Interpreter(model_content=result.model)
  interpreter.allocate_tensors()
  (taken,) = interpreter.get_input_details()
  scale, zero = taken["quantization"]
  right = 0
  for sample, label in zip(X / scale + zero, Y):
    on_grid = np.clip(np.rint(sample), -128, 127).astype(np.int8)
    interpreter.set_tensor(taken["index"], on_grid[None])
    interpreter.invoke()
    given = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    right += int(given[0]) == label
  assert right / len(Y) == pytest.approx(result.report.accuracy_after, abs=0.03)
