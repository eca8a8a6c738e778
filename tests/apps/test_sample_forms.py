"""Programs take samples in every form, with the flags that say how."""

import importlib.util
import pathlib

import numpy as np
import pytest

from tests import models, programs

ROOT = pathlib.Path(__file__).parent.parent.parent
MODEL = str(ROOT / "apps" / "compare" / "digits.tflite")
DONE, REFUSED = 0, 1


@pytest.fixture
def folder(tmp_path):
  """Images of two classes in parts, an archive of both parts, and a table."""
  image = pytest.importorskip("PIL.Image", reason="needs the extra images")
  random = np.random.default_rng(0)
  x = random.integers(0, 256, (8, 8, 8)).astype(np.uint8)
  y = np.arange(8) % 2
  for number, (pixels, label) in enumerate(zip(x, y)):
    part = "train" if number < 6 else "test"
    own = tmp_path / "photos" / part / ("four", "nine")[label]
    own.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels).resize((9, 9)).save(own / f"{number}.png")
  np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])
  names = "zero one two three four five six seven eight nine".split()
  (tmp_path / "names.txt").write_text("\n".join(names))
  return tmp_path


def adapt(folder, *arguments):
  return programs.run(
    folder,
    "apps.adapt",
    f"--model={MODEL}",
    "--out=a.tflite",
    "--trainable=head",
    "--steps=2",
    *arguments,
  )


def test_a_folder_of_photos_trains_and_tests_by_the_models_names(folder):
  done = adapt(
    folder, "--train=photos", "--test=photos", "--classes_file=names.txt"
  )
  assert done.returncode == DONE, done.stderr
  assert "6 images of 6 resized to 8 x 8 (height x width)" in done.stdout
  assert "test samples (2)" in done.stdout
  scored = programs.run(
    folder,
    "apps.evaluate",
    f"--model={MODEL}",
    "--data=photos",
    "--classes_file=names.txt",
    "--pixel_range=0,1",
  )
  assert "on 2 samples" in scored.stdout, scored.stderr


def test_one_file_gives_what_is_trained_on_and_what_is_scored(folder):
  done = adapt(folder, "--train=a.npz", "--test=a.npz")
  assert done.returncode == DONE, done.stderr
  assert "test samples (3)" in done.stdout
  assert "3 samples of 3 are duplicates of training samples" in done.stderr


def test_samples_without_labels_are_said_to_have_none(folder):
  random = np.random.default_rng(0)
  np.save(folder / "x.npy", random.random((40, 8, 8)))
  done = programs.run(
    folder, "apps.adapt", f"--model={MODEL}", "--train=x.npy", "--out=a.tflite",
    "--trainable=prompt", "--steps=2",
  )  # fmt: skip
  assert done.returncode == DONE, done.stderr
  assert "note: x.npy: no labels, so it learns without" in done.stdout


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (
      ["--train=photos"],
      "2 classes (four, nine), and the model has 10",
    ),
    (["--train=photos", "--classes_file=none.txt"], "none.txt: no such file"),
    (["--train=a.npz", "--pixel_range=1"], "--pixel_range=1: need two numbers"),
    (["--train=names.npy"], "names.npy: no such file"),
    (["--train=none.csv"], "none.csv: no such file"),
  ],
)
def test_what_is_wrong_with_samples_is_one_line(folder, arguments, words):
  refused = adapt(folder, *arguments)
  assert refused.returncode == REFUSED
  (line,) = programs.own_lines(refused.stderr)
  assert words in line
  assert not (folder / "a.tflite").exists()


def test_names_that_are_doubled_or_no_text_are_refused(folder):
  for content in (b"", b"one\none\n", b"\xff\xfe"):
    (folder / "names.txt").write_bytes(content)
    refused = adapt(folder, "--train=photos", "--classes_file=names.txt")
    (line,) = programs.own_lines(refused.stderr)
    assert "names.txt: " in line


def test_an_output_may_not_be_one_of_the_samples(folder):
  np.save(folder / "x.npy", np.zeros((4, 8, 8)))
  np.save(folder / "y.npy", np.zeros(4, int))
  refused = adapt(folder, "--train=x.npy,y.npy", "--report=y.npy")
  assert "named by --report and by --train (labels)" in refused.stderr


def test_flags_of_samples_do_nothing_for_a_journal_and_are_refused(folder):
  refused = programs.run(
    folder,
    "apps.adapt",
    f"--model={MODEL}",
    "--out=a.tflite",
    "--from_journal=a.npz",
    "--stride=2",
  )
  assert "--stride: --from_journal takes" in refused.stderr


def convert(folder, *arguments):
  return programs.run(folder, "apps.convert", "--out=m.tflite", *arguments)


def test_statistics_are_the_same_of_a_table_and_of_an_archive(folder):
  x = np.random.default_rng(0).random((6, 64))
  np.savez(folder / "s.npz", x=x)
  rows = [",".join(map(repr, row)) for row in x.tolist()]
  names = ",".join(f"p{n}" for n in range(64))
  (folder / "s.csv").write_text("\n".join([names, *rows]))
  files = []
  for source in ("s.npz", "s.csv"):
    done = convert(folder, f"--model={MODEL}", f"--statistics={source}")
    assert done.returncode == DONE, done.stderr
    files.append((folder / "m.tflite").read_bytes())
  assert files[0] == files[1]


needs_tensorflow = pytest.mark.skipif(
  importlib.util.find_spec("tensorflow") is None, reason="needs the extra tf"
)


@needs_tensorflow
def test_what_a_float_model_cannot_say_of_photos_is_asked_for(folder):
  (folder / "f.tflite").write_bytes(models.float_model(shape=(1, 2, 2, 1)))
  (folder / "k.keras").write_bytes(b"PK")
  for model, words in (
    ("f.tflite", "add --pixel_range=0,1, or -1,1, or 0,255"),
    ("k.keras", "does not say the shape of a sample; give an .npz"),
  ):
    refused = convert(
      folder, f"--model={model}", "--calibration=photos/train/four"
    )
    assert refused.returncode == REFUSED
    (line,) = programs.own_lines(refused.stderr)
    assert words in line
