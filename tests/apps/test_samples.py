"""The sample programs teach one exported file, and keep what it learned."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tflm_fg
from apps.export import patch
from converters.to_signatures import chosen, to_signatures
from tests import models
from tests.converters.test_to_signatures import head_alone, plain
from tests.micro.compiling import STRICT
from tests.programs import own_lines, run
from tflm_fg.signatures import head_spec
from tflm_fg.tflite import ModelFile

ROOT = pathlib.Path(__file__).parent.parent.parent
SAMPLES = ROOT / "apps" / "samples"
JNA = pathlib.Path("/usr/share/java/jna.jar")
SHAPE = (6, 5, 2)
"""Of one sample of the model."""

TRAIN = 77
"""Samples to learn from: the last batch has empty rows."""


def done_by(*command, folder=None):
  done = subprocess.run(
    [str(c) for c in command],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:] + done.stdout
  return done.stdout


def library():
  """The folder with LiteRT's C library, in its Python package."""
  found = importlib.util.find_spec("ai_edge_litert")
  return pathlib.Path(found.submodule_search_locations[0])


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
  """A folder with T.tflite and data, as apps/samples/README.md makes them."""
  folder = tmp_path_factory.mktemp("taught")
  model = models.conv_model(seed=2)
  (folder / "model.tflite").write_bytes(model)
  x, y = sounds(120)
  np.savez(folder / "mine.npz", x=x[:TRAIN], y=y[:TRAIN])
  np.savez(folder / "others.npz", x=x[TRAIN:], y=y[TRAIN:])
  exported(folder, "T.tflite")
  exported(folder, "head.tflite", "head")
  made_data(folder, "T.tflite", "mine.npz", "--test=others.npz", "--out=data")
  moved_inputs(folder)
  return folder


def made_data(folder, model, train, *flags):
  script = [sys.executable, SAMPLES / "make_data.py", f"--model={model}"]
  done_by(*script, f"--train={train}", *flags, folder=folder)


def moved_inputs(folder):
  """A model whose input moved, so that adapt_input finds where to."""
  data = head_alone()
  (folder / "flat_model.tflite").write_bytes(data)
  marked = chosen(data)
  (folder / "flat.tflite").write_bytes(to_signatures(marked).data)
  random = np.random.default_rng(1)
  shape = marked.file.subgraph.tensors[marked.file.subgraph.inputs[0]].shape
  x = random.integers(-95, 96, (200, *shape[1:]))
  y = plain(data, x.astype(np.int8)).argmax(axis=1)
  kernel = head_spec(marked).kernel.astype(int)
  moved = np.sign(2 * kernel[0] - kernel[1] - kernel[2]) * 30
  np.savez(folder / "moved.npz", x=(x + moved).astype(np.int8), y=y)
  made_data(folder, "flat.tflite", "moved.npz", "--out=flat_data")


def sounds(count):
  """Samples of the model's three classes, each a pattern with noise."""
  random = np.random.default_rng(5)
  patterns = random.integers(-90, 90, (3, *SHAPE))
  y = np.arange(count) % 3
  x = patterns[y] + random.integers(-30, 30, (count, *SHAPE))
  return x.astype(np.int8), y


def exported(folder, out, trainable="auto", **options):
  """Writes what tflm-fg-export --target=signatures writes."""
  marked = chosen(str(folder / "model.tflite"), trainable)
  (folder / out).write_bytes(to_signatures(marked, **options).data)


@functools.cache
def compiled_c(folder):
  """The C sample, or a skip."""
  if shutil.which("gcc") is None:
    pytest.skip("gcc is not on PATH")
  compiled(folder, "teach")
  return [folder / "teach"], []


def compiled(folder, name, *more):
  """The C sample as a program of that name in a folder."""
  sources = [SAMPLES / "c" / source for source in ("main.c", "trainable.c")]
  lib = library()
  link = [f"-L{lib}", "-lLiteRt", f"-Wl,-rpath,{lib}"]
  command = ["gcc", *STRICT, *more, *sources, *link, "-o", name]
  done_by(*command, folder=folder)


@functools.cache
def compiled_java(folder):
  """The Java sample, or a skip."""
  if shutil.which("javac") is None or shutil.which("java") is None:
    pytest.skip("no JDK is on PATH")
  if not JNA.exists():
    pytest.skip(f"{JNA} is missing: apt install libjna-java")
  classes = folder / "classes"
  sources = sorted((SAMPLES / "java").glob("*.java"))
  done_by("javac", "-Xlint:all", "-Werror", "-cp", JNA, "-d", classes, *sources)
  path = f"{classes}{os.pathsep}{JNA}"
  quick = ["-XX:TieredStopAtLevel=1", "-Xshare:auto"]
  return (
    ["java", *quick, "-cp", path, "Teach"],
    [library() / "libLiteRt.so"],
  )


def python_sample(folder):
  del folder
  return [sys.executable, SAMPLES / "python" / "teach.py"], []


WITHOUT_LITERT = """
import runpy, sys
sys.modules["ai_edge_litert"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def tflite_runtime_sample(folder):
  """The Python sample on the other engine, or a skip."""
  if importlib.util.find_spec("tflite_runtime") is None:
    pytest.skip("tflite-runtime is not installed")
  program, first = python_sample(folder)
  return [program[0], "-c", WITHOUT_LITERT, *program[1:]], first


PROGRAMS = {
  "c": compiled_c,
  "java": compiled_java,
  "python": python_sample,
  "tflite-runtime": tflite_runtime_sample,
}


def told(folder, language, what, weights, model="T.tflite", data="data"):
  """What a program's last line says of one run of it."""
  program, first = PROGRAMS[language](folder)
  out = done_by(*program, what, *first, model, data, weights, folder=folder)
  return json.loads(out.strip().splitlines()[-1])


@functools.cache
def lesson(folder, language, model="T.tflite"):
  """What a program says when it teaches, and the bytes that it keeps."""
  kept = f"{language}.bin" if model == "T.tflite" else f"{model}.bin"
  data = "flat_data" if model == "flat.tflite" else "data"
  said = told(folder, language, "train", kept, model, data)
  return said, (folder / kept).read_bytes()


@pytest.mark.xdist_group("samples")
@pytest.mark.parametrize("language", PROGRAMS)
def test_a_sample_teaches_and_a_new_process_restores(language, taught):
  first, kept = lesson(taught, language)
  assert first["count"] == TRAIN
  assert first["after"] > first["before"] + 0.1
  again = told(taught, language, "restore", f"{language}.bin")
  assert again["after"] == first["after"]
  assert again["before"] == first["before"]
  assert (taught / f"{language}.bin").read_bytes() == kept


@pytest.mark.xdist_group("samples")
@pytest.mark.parametrize(
  ("language", "model"),
  [("c", "flat.tflite"), ("java", "flat.tflite"), ("c", "head.tflite")],
)
def test_a_sample_learns_the_bytes_that_python_learns(language, model, taught):
  own, other = (lesson(taught, n, model)[1] for n in (language, "python"))
  assert own == other


@pytest.mark.xdist_group("samples")
@pytest.mark.parametrize("language", ["c", "python"])
def test_weights_of_another_size_are_refused_and_the_file_stays(
  language, taught
):
  program, first = PROGRAMS[language](taught)
  (taught / "short.bin").write_bytes(b"short")
  command = [*program, "restore", *first, "T.tflite", "data", "short.bin"]
  done = subprocess.run(
    [str(c) for c in command],
    cwd=taught,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode != 0
  assert "holds no weights of this model" in done.stderr
  assert (taught / "short.bin").read_bytes() == b"short"


@pytest.mark.xdist_group("samples")
def test_the_c_sample_runs_with_the_model_as_an_array(taught):
  if shutil.which("gcc") is None:
    pytest.skip("gcc is not on PATH")
  flags = ("--model=T.tflite", "--target=c", "--out=model.h")
  done = run(taught, "apps.export", *flags)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("model.c and model.h: ")
  compiled(taught, "embedded", "-DEMBEDDED", "-I.", "model.c")
  out = done_by(
    taught / "embedded", "train", "-", "data", "array.bin", folder=taught
  )
  assert json.loads(out.splitlines()[-1])["count"] == TRAIN
  assert (taught / "array.bin").read_bytes() == lesson(taught, "python")[1]


@pytest.mark.xdist_group("samples")
@pytest.mark.parametrize("kept", ["python.bin", "python.npz"])
def test_a_patch_of_what_was_learned_says_what_the_app_says(kept, taught):
  _, learned = lesson(taught, "python")
  np.savez(taught / "python.npz", **by_name(taught, learned))
  done = patched(taught, f"--learned={kept}", "--base=model.tflite")
  assert done.returncode == 0, done.stderr
  base = (taught / "model.tflite").read_bytes()
  plain = patch.apply(base, (taught / "p.bin").read_bytes())
  assert plain != base
  x, y = sounds(120)
  model = Interpreter(model_content=plain)
  model.allocate_tensors()
  (source,), (out,) = model.get_input_details(), model.get_output_details()
  right = 0
  for sample, label in zip(x[TRAIN:], y[TRAIN:]):
    model.set_tensor(source["index"], sample[None])
    model.invoke()
    right += model.get_tensor(out["index"]).argmax() == label
  assert right / len(y[TRAIN:]) == pytest.approx(
    lesson(taught, "python")[0]["after"]
  )


@pytest.mark.xdist_group("samples")
def test_a_patch_of_a_wide_head_needs_no_flag(taught):
  exported(taught, "wide.tflite", "wide-head")
  lesson(taught, "python", "wide.tflite")
  flags = ("--learned=wide.tflite.bin", "--base=model.tflite")
  done = patched(taught, *flags, model="wide.tflite")
  assert done.returncode == 0, done.stderr
  base = (taught / "model.tflite").read_bytes()
  made = patch.apply(base, (taught / "p.bin").read_bytes())
  ModelFile.open(made)


@pytest.mark.xdist_group("samples")
def test_the_sample_learns_with_floats_at_the_ends_and_real_numbers(taught):
  exported(taught, "float.tflite", float_ends=True)
  for name in ("mine", "others"):
    with np.load(taught / f"{name}.npz") as held:
      (details,) = Interpreter(
        model_path=str(taught / "model.tflite")
      ).get_input_details()
      scale, zero_point = details["quantization"]
      x = (held["x"].astype(np.float64) - zero_point) * scale
      np.savez(taught / f"real_{name}.npz", x=x, y=held["y"])
  make = [sys.executable, SAMPLES / "make_data.py", "--model=float.tflite"]
  names = "--train=real_mine.npz", "--test=real_others.npz", "--out=reals"
  done_by(*make, *names, folder=taught)
  said = told(taught, "python", "train", "f.bin", "float.tflite", "reals")
  assert said["after"] == lesson(taught, "python")[0]["after"]
  assert (taught / "f.bin").read_bytes() == lesson(taught, "python")[1]
  done = subprocess.run(
    [*make, "--train=mine.npz", "--out=none"],
    cwd=taught,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert "mine.npz: x holds int8" in done.stderr
  assert not (taught / "none").exists()


@pytest.mark.xdist_group("samples")
@pytest.mark.parametrize(
  ("script", "given", "said"),
  [
    ("python/teach.py", ("restore", "T.tflite", "data", "none.bin"), "none."),
    ("python/teach.py", ("train", "none.tflite", "data", "w.bin"), "none."),
    ("python/teach.py", ("train", "uneven.tflite", "data", "w.bin"), "data"),
    (
      "make_data.py",
      ("--model=T.tflite", "--train=none.npz", "--out=none"),
      "none.npz",
    ),
  ],
)
def test_files_that_are_not_there_or_do_not_fit_are_one_line(
  script, given, said, taught
):
  if "uneven.tflite" in given:
    marked = chosen(head_alone(), "head")
    (taught / "uneven.tflite").write_bytes(to_signatures(marked).data)
  done = subprocess.run(
    [sys.executable, SAMPLES / script, *given],
    cwd=taught,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert "Traceback" not in done.stderr
  assert said in done.stderr.splitlines()[-1]
  assert not (taught / "none").exists()


@pytest.mark.xdist_group("samples")
def test_a_sample_finds_how_the_input_moved(taught):
  said, learned = lesson(taught, "python", "flat.tflite")
  assert said["after"] > said["before"] + 0.1
  assert by_name(taught, learned, "flat.tflite")["offset"].any()


@pytest.mark.xdist_group("samples")
@pytest.mark.parametrize("language", ["c", "java"])
def test_scores_of_uint8_have_no_sign(language, taught):
  legacy = models.uint8_model(models.conv_model(seed=2, per_channel=False))
  marked = chosen(legacy, "head")
  (taught / "uint8.tflite").write_bytes(to_signatures(marked).data)
  x, _ = sounds(35)
  y = np.resize([0, 1, 1, 2, 2, 2, 2], 35)  # each class has its own share
  numbers = x.astype(int) + 128
  np.savez(taught / "pixels.npz", x=numbers.astype(np.uint8), y=y)
  made_data(taught, "uint8.tflite", "pixels.npz", "--out=uint8_data")
  files = "uint8.tflite", "uint8_data"
  own, other = (
    told(taught, program, "train", "u.bin", *files)
    for program in (language, "python")
  )
  for when in ("before", "after"):
    assert own[when] == pytest.approx(other[when], abs=1e-3)


def by_name(folder, learned, name="T.tflite"):
  """What the bytes hold that a sample keeps."""
  model = Interpreter(model_path=str(folder / name))
  details = model.get_signature_runner("set_weights").get_input_details()
  held, numbers = {}, np.frombuffer(learned, np.int32)
  for name in sorted(details):
    count = int(np.prod(details[name]["shape"]))
    held[name] = numbers[:count].reshape(details[name]["shape"])
    numbers = numbers[count:]
  return held


@pytest.mark.xdist_group("samples")
def test_a_patch_of_a_head_leaves_the_file_as_long_as_it_was(taught):
  lesson(taught, "python", "head.tflite")
  flags = ("--learned=head.tflite.bin", "--base=model.tflite")
  assert patched(taught, *flags, model="head.tflite").returncode == 0
  base, made = (
    (taught / name).read_bytes() for name in ("model.tflite", "p.bin")
  )
  assert len(patch.apply(base, made)) == len(base)
  assert len(made) < 100


def patched(folder, *flags, model="T.tflite"):
  (folder / "p.bin").unlink(missing_ok=True)
  return run(
    folder,
    "apps.export",
    f"--model={model}",
    "--target=patch",
    *flags,
    "--out=p.bin",
  )


@pytest.mark.xdist_group("samples")
@pytest.mark.parametrize(
  ("flags", "told"),
  [
    ((), "say with --base which file"),
    (("--base=model.tflite",), "say with --learned what its get_weights gave"),
    (("--base=other.tflite", "--learned=python.bin"), "says other things than"),
    (("--base=model.tflite", "--learned=x.bin"), "x.bin: no such file"),
    (("--base=p.bin", "--learned=python.bin"), "--out and by --base"),
  ],
)
def test_a_patch_of_what_does_not_belong_together_is_refused(
  flags, told, taught
):
  lesson(taught, "python")
  (taught / "other.tflite").write_bytes(models.conv_model(seed=9))
  done = patched(taught, *flags)
  assert done.returncode == 1
  (line,) = own_lines(done.stderr)
  assert told in line
  assert not (taught / "p.bin").exists()


@pytest.mark.xdist_group("samples")
def test_weights_beside_a_plain_file_are_refused(taught):
  flags = ("--base=model.tflite", "--learned=python.bin")
  done = patched(taught, *flags, model="model.tflite")
  assert done.returncode == 1
  assert "has no signature get_weights" in own_lines(done.stderr)[0]


@pytest.mark.xdist_group("samples")
def test_an_adapted_file_becomes_a_patch(taught):
  base = (taught / "model.tflite").read_bytes()
  marked = tflm_fg.mark_trainable(base, "head")
  kernel = next(t for t in marked.mark.trainable if t.role == "kernel")
  start, length = ModelFile.open(base).span(kernel.index)
  fresh = bytes(byte ^ 1 for byte in base[start : start + length])
  adapted = base[:start] + fresh + base[start + length :]
  (taught / "adapted.tflite").write_bytes(adapted)
  done = patched(taught, "--base=model.tflite", model="adapted.tflite")
  assert done.returncode == 0, done.stderr
  made = (taught / "p.bin").read_bytes()
  assert patch.apply(base, made) == adapted
  assert done.stdout == (
    f"p.bin: {len(made)} bytes, {length} of them new, for {len(base):,} bytes\n"
  )


def page_commands(*pages):
  """The commands of the project that pages tell, each as its words."""
  for page in pages:
    text = (ROOT / page).read_text()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
      for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if words[:1] == ["tflm-fg-export"]:
          yield words[1:]


@pytest.mark.xdist_group("samples")
def test_the_commands_of_the_guide_and_the_samples_run(taught):
  lesson(taught, "python")
  shutil.copy(taught / "python.bin", taught / "weights.bin")
  shutil.copy(taught / "model.tflite", taught / "adapted.tflite")
  commands = [*page_commands("docs/mobile.md", "apps/samples/README.md")]
  assert len(commands) >= 5
  for words in commands:
    done = run(taught, "apps.export", *words)
    assert done.returncode == 0, (words, done.stderr)
  assert (taught / "T.tflite").exists() and (taught / "p.bin").exists()


@pytest.mark.xdist_group("samples")
def test_the_python_of_the_samples_page_runs(taught, monkeypatch, capsys):
  text = (SAMPLES / "python" / "README.md").read_text()
  first, second = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
  monkeypatch.chdir(taught)
  shutil.copy("head.tflite", "T10.tflite")
  x, y = sounds(TRAIN)
  scope = {"samples": x[:, None], "labels": y}
  first = first.replace('"T.tflite"', '"T10.tflite"')
  exec(first, scope)
  assert capsys.readouterr().out.startswith("[[")
  assert len(first.splitlines()) <= 11
  exec(second, scope)
