"""What is exported for TFLM compiles, learns, and appears whole or not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

import tflm_fg
from tests import models
from tests.micro import fake_tflm
from tests.micro.compiling import MICRO, STRICT
from tests.programs import run
from tflm_fg import micro
from tflm_fg.tflite import GraphOptions

PROMPT = ("--trainable=prompt", "--prompt_gain", "--common_gain")

needs_compilers = pytest.mark.skipif(
  shutil.which("gcc") is None or shutil.which("g++") is None,
  reason="gcc and g++ are not on PATH",
)


def exported(folder, model, *flags):
  (folder / "model.tflite").write_bytes(model)
  done = run(
    folder,
    "apps.export",
    "--model=model.tflite",
    "--target=tflm",
    "--out=board",
    *flags,
  )
  assert done.returncode == 0, done.stderr
  return folder / "board", done.stdout


def done_by(command, folder):
  done = subprocess.run(
    command, cwd=folder, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr[:4000] + done.stdout
  return done.stdout


def known(name, piece, indices=(), places=()):
  """A network for the interpreter that stands in, and its row."""
  network = micro.read_network(piece.data)
  held = {
    index: f"(const {kind} *)(FAKE_TRAINED + {place})"
    for index, place, kind in zip(indices, places, ("int8_t", "int32_t"))
  }
  ends = ", ".join(map(str, (*network.inputs, network.outputs[0])))
  row = f"{{{name}, &{name}_net, {len(network.inputs)}, {{{ends}}}}}"
  return micro.network_source(network, f"{name}_net", places=held), row


def program(folder, board, marked, *defines):
  """The example, linked with what stands in for TFLM."""
  pieces = micro.device_pieces(marked)
  stubs = folder / "stubs"
  calls = re.findall(
    r"->Add(\w+)\(\)", (board / "src/fg_operators.h").read_text()
  )
  fake_tflm.write_headers(stubs, sorted(set(calls)))
  parts = [
    known("fg_trained_model", pieces.trained, pieces.indices, pieces.places)
  ]
  if pieces.prefix is not None:
    parts.append(known("fg_prefix_model", pieces.prefix))
  text = fake_tflm.RUNNING.replace("@NETWORKS@", "\n".join(t for t, _ in parts))
  text = text.replace("@KNOWN@", ", ".join(row for _, row in parts))
  (stubs / "running.cc").write_text(text)
  sources = [*sorted((board / "src").glob("*.c")), MICRO / "forward.c"]
  example = board / "examples" / "enroll"
  include = ["-I", str(board / "src"), "-I", str(example)]
  warnings = ["-Wall", "-Wextra", "-Werror"]
  done_by(
    ["gcc", *STRICT, "-c", *include, *map(str, sources), f"{example}/board.c"],
    folder,
  )
  objects = [str(p) for p in folder.glob("*.o") if p.name != "main.o"]
  done_by(
    ["g++", "-std=c++17", *warnings, "-Wconversion", "-Wshadow", *include]
    + ["-I", str(stubs), *defines, "-c", f"{example}/main.cc"],
    folder,
  )
  done_by(
    ["g++", "-std=c++17", *warnings, *include, "-I", str(MICRO), "-I"]
    + [str(stubs), *defines, f"{stubs}/running.cc", "main.o", *objects]
    + ["-o", "enroll"],
    folder,
  )
  return folder / "enroll"


def right(told):
  before, after = re.search(
    r"aside: (\d+)\nright after: (\d+)\n", told
  ).groups()
  return int(before), int(after)


@needs_compilers
@pytest.mark.parametrize("trainable", ["head", "prompt"])
def test_an_exported_folder_compiles_and_learns_from_buttons(
  trainable, tmp_path
):
  flags = PROMPT if trainable == "prompt" else ()
  model = models.conv_model(seed=2)
  board, told = exported(tmp_path, model, *flags, "--samples=30")
  options = GraphOptions(gain=bool(flags), common_gain=bool(flags))
  marked = tflm_fg.mark_trainable(model, trainable, graph_options=options)
  lines = done_by([str(program(tmp_path, board, marked))], tmp_path)
  before, after = right(lines)
  assert 0 <= before <= after <= 6
  if trainable == "head":
    assert after > before
  assert "\nok 0\n" in lines  # of training, behind 30 named samples
  assert lines.count("class ") == 30 + 1 + 2 + 1
  assert "the trainer's buffer" in told


@needs_compilers
def test_kernels_that_keep_a_copy_are_found_out_and_rebuilt(tmp_path):
  model = models.conv_model(seed=2)
  board, _ = exported(tmp_path, model, "--samples=30")
  marked = tflm_fg.mark_trainable(model, "head")
  size = len(micro.device_pieces(marked).trained.data)
  keeps = f"-DFAKE_KEEPS_COPY={size}"
  enroll = program(tmp_path, board, marked, keeps)
  done = subprocess.run([str(enroll)], capture_output=True, check=False)
  assert done.returncode == 1
  assert b"kernels keep sums of weights: set FG_REBUILD to 1" in done.stdout
  shutil.rmtree(tmp_path / "stubs")
  enroll = program(tmp_path, board, marked, keeps, "-DFG_REBUILD=1")
  before, after = right(done_by([str(enroll)], tmp_path))
  assert after > before


@needs_compilers
@pytest.mark.parametrize("outputs", [1, 3])
def test_an_exported_detector_learns_yes_and_no(outputs, tmp_path):
  model = models.regression_model(outputs, tail="logistic")
  board, _ = exported(tmp_path, model, "--samples=20")
  text = (board / "src" / "fg_model.h").read_text()
  assert f"#define FG_LABELS {outputs}\n" in text
  assert f"#define FG_CLASSES {max(2, outputs)}\n" in text
  marked = tflm_fg.mark_trainable(model, "head")
  lines = done_by([str(program(tmp_path, board, marked))], tmp_path)
  before, after = right(lines)
  assert before <= after <= 4 * outputs
  assert "\nok 0\n" in lines


@needs_compilers
def test_an_exported_folder_learns_without_labels(tmp_path):
  model = models.conv_model(seed=2)
  board, _ = exported(tmp_path, model, "--labels=none")
  assert "#define FG_LABELS 0\n" in (board / "src/fg_model.h").read_text()
  marked = tflm_fg.mark_trainable(model, "head")
  assert "\nok 0\n" in done_by(
    [str(program(tmp_path, board, marked))], tmp_path
  )


@needs_compilers
def test_an_operator_or_an_arena_too_few_ends_the_example(tmp_path):
  model = models.conv_model()
  board, _ = exported(tmp_path, model)
  header = board / "src" / "fg_model.h"
  text = header.read_text()
  assert "#define FG_PREFIX_OPERATORS 3\n" in text
  header.write_text(
    text.replace("FG_PREFIX_OPERATORS 3\n", "FG_PREFIX_OPERATORS 2\n")
  )
  enroll = program(tmp_path, board, tflm_fg.mark_trainable(model, "head"))
  assert subprocess.run([str(enroll)], check=False).returncode == 1


def test_an_export_names_operators_memory_and_dependencies(tmp_path):
  board, told = exported(tmp_path, models.conv_model())
  text = (board / "README.md").read_text()
  assert "CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, MEAN." in text
  assert "CMSIS-NN" in text
  assert "depends=" in (board / "library.properties").read_text()
  assert "esp-tflite-micro" in (board / "idf_component.yml").read_text()
  assert "TFLM_TARGET" in (board / "CMakeLists.txt").read_text()
  names = {p.name for p in (board / "src").iterdir()}
  assert {"fg.h", "fg_trainer.c", "fg_slots.c", "tflm_engine.h"} <= names
  assert not any("forward" in name for name in names)
  assert told.count(" bytes of ") == 8
  (tmp_path / "again").mkdir()
  again, _ = exported(tmp_path / "again", models.conv_model())
  for path in board.rglob("*"):
    if path.is_file():
      twin = again / path.relative_to(board)
      assert path.read_bytes() == twin.read_bytes(), path


def test_the_adapter_is_the_only_file_that_includes_tflm():
  including = [
    path.name
    for path in MICRO.rglob("*")
    if path.suffix in (".c", ".cc", ".h")
    and "tensorflow/lite" in path.read_text(encoding="utf-8")
  ]
  assert including == ["tflm_engine.h"]
  lines = (MICRO / "tflm" / "tflm_engine.h").read_text().splitlines()
  assert len(lines) < 150


@pytest.mark.parametrize(
  ("model", "flags", "status", "word"),
  [
    (models.conv_model(wide=True), (), 1, "a device trains int8"),
    (models.conv_model(), ("--trainable=bias,prompt",), 1, "together"),
    (models.conv_model(), ("--method=spsa",), 1, "closed-form, sign-m-spsa"),
    (models.conv_model(), ("--samples=70000",), 1, "65535"),
    (models.regression_model(), ("--loss=mse",), 1, "SquaredError"),
    (b"no model", (), 1, "model.tflite"),
    (models.conv_model(), ("--target=paper",), 2, "web"),
    (models.conv_model(), ("--out=nowhere/board",), 1, "no folder"),
  ],
  ids=[
    "int16",
    "mixed",
    "method",
    "samples",
    "loss",
    "file",
    "target",
    "parent",
  ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
  model, flags, status, word, tmp_path
):
  (tmp_path / "model.tflite").write_bytes(model)
  done = run(
    tmp_path,
    "apps.export",
    "--model=model.tflite",
    "--target=tflm",
    "--out=board",
    *flags,
  )
  assert done.returncode == status
  assert done.stderr.count("\n") == 1
  assert word in done.stderr
  assert os.listdir(tmp_path) == ["model.tflite"]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
  (tmp_path / "model.tflite").write_bytes(models.conv_model())
  (tmp_path / "board").mkdir()
  (tmp_path / "board" / "mine").write_text("kept")
  done = run(
    tmp_path, "apps.export", "--model=model.tflite", "--target=tflm",
    "--out=board",
  )  # fmt: skip
  assert done.returncode == 1
  assert "board: is there already; name a new folder" in done.stderr
  assert [p.name for p in (tmp_path / "board").iterdir()] == ["mine"]


def test_a_folder_whose_disk_fills_up_leaves_nothing(tmp_path, monkeypatch):
  from tflm_fg import files

  class FullError(OSError):
    strerror = "No space left on device"

  def fails(*_):
    raise FullError

  monkeypatch.setattr(os, "rename", fails)
  with pytest.raises(tflm_fg.TflmFgError, match="No space left"):
    files.write_folder(str(tmp_path / "x"), {"a/b": b"1"})
  assert not list(tmp_path.iterdir())
