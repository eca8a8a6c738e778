"""Data sets as users have them, made small: what is read, what is refused."""

import os
import pathlib
import pickle

import numpy as np
import pytest

from apps.compare.data import cifar, image_folders, pickled, readers, sounds
from apps.kws.audio import files, folders
from apps.kws.features import mel
from apps.kws.features.registry import Frontend, named
from tests.apps.kws import corpora
from tests.refusals import refused

IMAGES = np.random.default_rng(0).integers(
  0, 256, (4, 32, 32, 3), dtype=np.uint8
)
ROWS = IMAGES.transpose(0, 3, 1, 2).reshape(4, -1)
LABELS = [3, 0, 9, 1]


def _batch(path, rows=ROWS, labels=LABELS, key=b"labels", protocol=2):
  content = {b"data": rows, key: labels, b"batch_label": b"a batch"}
  path.write_bytes(pickle.dumps(content, protocol=protocol))


def _cifar10(root: pathlib.Path, protocol=2) -> str:
  for number, name in enumerate((*cifar.FILES[10].train, "test_batch")):
    _batch(root / name, (ROWS + number).astype(np.uint8), protocol=protocol)
  return str(root)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_cifar_batches_give_their_images_and_classes(tmp_path, protocol):
  root = _cifar10(tmp_path, protocol)
  x, y, names, _ = readers.read(f"cifar10:{root}:all")
  assert x.shape == (24, 32, 32, 3)
  assert x.dtype == np.float32
  assert np.array_equal(np.rint(x[:4] * 255), IMAGES)
  assert y.tolist() == LABELS * 6
  assert names == tuple("0123456789")
  for split, count in ((":train", 20), (":test", 4), ("", 4)):
    assert len(readers.read(f"cifar10:{root}{split}").y) == count


def test_a_pickle_as_python_2_wrote_it_is_read(tmp_path):
  """Text is bytes, the array in Fortran's order, and NumPy's old names."""
  # Protocol 0 of _reconstruct(ndarray, (0,), "b") and its state, by hand.
  plain = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3)
  content = plain.tobytes(order="F")
  written = (
    b"(dp0\nS'data'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    b"(I0\ntS'b'\ntR(I1\n(I2\nI3\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\n"
    b"NNNI-1\nI-1\nI0\ntbI01\nS" + repr(content)[1:].encode() + b"\ntbs."
  )
  held = pickled.load(written, "old")
  assert np.array_equal(held["data"], plain)


def test_the_peak_is_what_the_model_wants(tmp_path):
  root = _cifar10(tmp_path)
  assert np.array_equal(
    readers.read(f"cifar10:{root}:test", peak=255).x[0],
    (IMAGES[0] + np.uint8(5)).astype(np.float32),
  )
  refused(lambda: readers.read(f"cifar10:{root}", peak=0), "peak=0")


def test_names_are_read_where_a_file_has_them(tmp_path):
  root = _cifar10(tmp_path)
  said = [f"thing{n}".encode() for n in range(10)]
  meta = pathlib.Path(root, "batches.meta")
  meta.write_bytes(pickle.dumps({b"label_names": said}, protocol=2))
  assert readers.read(f"cifar10:{root}").names[9] == "thing9"
  meta.write_bytes(pickle.dumps({b"label_names": said[:3]}, protocol=2))
  refused(lambda: readers.read(f"cifar10:{root}"), "names 3 classes, need 10")


def test_binary_batches_of_both_sets_are_the_same_images(tmp_path):
  label = np.array(LABELS, np.uint8)[:, None]
  for name in (*cifar.FILES[10].train, "test_batch"):
    records = np.hstack([label, ROWS])
    (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
  x, y, _, _ = readers.read(f"cifar10:{tmp_path}:test")
  assert np.array_equal(np.rint(x * 255), IMAGES)
  assert y.tolist() == LABELS
  fine = np.hstack([label * 0 + 7, label + 90, ROWS])  # coarse, fine, pixels
  (tmp_path / "test.bin").write_bytes(fine.tobytes())
  names = "\n".join(f"n{i}" for i in range(100))
  (tmp_path / "fine_label_names.txt").write_text(names)
  x, y, names, _ = readers.read(f"cifar100:{tmp_path}:test")
  assert np.array_equal(np.rint(x * 255), IMAGES)
  assert y.tolist() == [n + 90 for n in LABELS]
  assert names[99] == "n99"


def test_cifar100_takes_the_fine_classes(tmp_path):
  _batch(tmp_path / "train", labels=[99, 0, 1, 2], key=b"fine_labels")
  found = readers.read(f"cifar100:{tmp_path}:train")
  assert found.y.tolist() == [99, 0, 1, 2]
  _batch(tmp_path / "train", key=b"coarse_labels")
  refused(
    lambda: readers.read(f"cifar100:{tmp_path}:train"), "need 'data' and 'fine"
  )


class _Evil:
  """Writes a file when it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return (os.mkdir, (self.path,))


def test_a_pickle_cannot_run_anything(tmp_path):
  trap = tmp_path / "trap"
  for content in (
    {b"data": _Evil(str(trap))},
    _Evil(str(trap)),
    {b"data": np.array([_Evil(str(trap))], object)},
  ):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    message = refused(
      lambda: readers.read(f"cifar10:{tmp_path}:test"), "it names", "mkdir"
    )
    assert "\n" not in message
  assert not trap.exists()


def test_an_array_of_objects_is_refused():
  content = pickle.dumps({"data": np.array([None, 1], object)}, protocol=4)
  refused(lambda: pickled.load(content, "f"), "f: not a pickle", "'O8'")


@pytest.mark.parametrize("keep", [0, 1, 30, 200, 5000])
def test_a_truncated_batch_is_refused(tmp_path, keep):
  _batch(tmp_path / "test_batch")
  content = (tmp_path / "test_batch").read_bytes()
  (tmp_path / "test_batch").write_bytes(content[:keep])
  refused(
    lambda: readers.read(f"cifar10:{tmp_path}:test"), "test_batch: not a pickle"
  )


@pytest.mark.parametrize(
  "rows, labels, said",
  [
    (ROWS, [0, 1, 2, 10], "classes 0 to 10; need 0 to 9"),
    (ROWS, [0, 1, 2, -1], "classes -1 to 2"),
    (ROWS, [0, 1], "need uint8 [2, 3072]"),
    (ROWS.astype(np.float32), LABELS, "float32 [4, 3072]; need uint8"),
    (ROWS[:, :100], LABELS, "[4, 100]; need uint8"),
    (ROWS, [[0], [1, 2]], "not a list of integers"),
    (b"pixels", LABELS, "'data' is bytes"),
  ],
)
def test_a_batch_that_does_not_fit_is_refused(tmp_path, rows, labels, said):
  _batch(tmp_path / "test_batch", rows, labels)
  refused(lambda: readers.read(f"cifar10:{tmp_path}:test"), said)


def test_missing_and_cut_files_are_named(tmp_path):
  refused(
    lambda: readers.read(f"cifar10:{tmp_path}:all"),
    "data_batch_1: no such file, nor data_batch_1.bin",
    ":test",
  )
  (tmp_path / "test_batch.bin").write_bytes(bytes(3072))
  refused(
    lambda: readers.read(f"cifar10:{tmp_path}:test"),
    "3072 bytes are not whole records of 3073",
  )
  (tmp_path / "test_batch").write_bytes(pickle.dumps([1, 2]))
  refused(
    lambda: readers.read(f"cifar10:{tmp_path}:test"), "a list, not a dict"
  )


def _corrupted(root: pathlib.Path, each=3) -> str:
  blocks = np.zeros((5 * each, 32, 32, 3), np.uint8)
  blocks += np.repeat(np.arange(1, 6, dtype=np.uint8), each)[
    :, None, None, None
  ]
  np.save(root / "fog.npy", blocks)
  np.save(root / "labels.npy", np.arange(5 * each) % 10)
  return f"cifar10-c:{root}:fog"


def test_cifar10_c_gives_the_block_of_a_severity(tmp_path):
  spec = _corrupted(tmp_path)
  for severity in (1, 3, 5):
    x, y, names, _ = readers.read(f"{spec}:{severity}", peak=255)
    assert np.array_equal(np.unique(x), [severity])
    first = 3 * (severity - 1)
    assert y.tolist() == [n % 10 for n in range(first, first + 3)]
    assert len(names) == 10


def test_bad_cifar10_c_is_refused(tmp_path):
  spec = _corrupted(tmp_path)
  refused(lambda: readers.read(f"{spec}:6"), "severity=6: need 1 to 5")
  refused(
    lambda: readers.read(f"cifar10-c:{tmp_path}"), "need a corruption and"
  )
  refused(
    lambda: readers.read(f"cifar10-c:{tmp_path}:snow:1"), "snow.npy: no su"
  )
  whole = (tmp_path / "fog.npy").read_bytes()
  for broken in (b"", b"not numpy at all", whole[:200], whole[:-1]):
    (tmp_path / "fog.npy").write_bytes(broken)
    refused(lambda: readers.read(f"{spec}:1"), "fog.npy: not a whole .npy")
  np.save(tmp_path / "fog.npy", np.array([{}], object), allow_pickle=True)
  refused(lambda: readers.read(f"{spec}:1"), "fog.npy: not a whole .npy")
  np.save(tmp_path / "fog.npy", np.zeros((5, 28, 28)))
  refused(lambda: readers.read(f"{spec}:1"), "float64 [5, 28, 28]; need uint8")
  _corrupted(tmp_path)
  np.save(tmp_path / "labels.npy", np.arange(4))
  refused(lambda: readers.read(f"{spec}:1"), "labels.npy: holds int64 [4]")
  np.save(tmp_path / "labels.npy", np.full(15, 11))
  refused(lambda: readers.read(f"{spec}:1"), "classes 11 to 11")


HEADER = "filename,fold,target,category,esc10,src_file,take"


def _esc50(root: pathlib.Path, lines=None) -> str:
  (root / "meta").mkdir(exist_ok=True)
  (root / "audio").mkdir(exist_ok=True)
  for number in range(4):
    sound = corpora.tone(0.5, 300.0 + 200 * number)
    files.write(str(root / "audio" / f"{number}.wav"), sound)
  lines = lines or [
    HEADER,
    "0.wav,1,0,dog,True,100,A",
    "1.wav,1,2,rain,False,101,A",
    "2.wav,2,0,dog,True,102,B",
    "3.wav,5,2,rain,False,103,A",
  ]
  (root / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
  return f"esc50:{root}"


def test_esc50_gives_features_of_its_folds(tmp_path):
  spec = _esc50(tmp_path)
  x, y, names, _ = readers.read(spec)
  assert x.shape == (4, *sounds.FRONTEND.shape) == (4, 249, 40, 1)
  assert y.tolist() == [0, 2, 0, 2]
  assert names == ("dog", "1", "rain")
  for folds, rows in (("1", [0, 1]), ("2,5", [2, 3])):
    some = readers.read(f"{spec}:{folds}")
    assert np.array_equal(some.x, x[rows])
    assert np.array_equal(some.y, y[rows])


@pytest.mark.parametrize("has_column", [True, False])
def test_esc50_knows_which_samples_are_of_one_recording(tmp_path, has_column):
  """By the table, or by how its files are named."""
  spec = _esc50(tmp_path)
  lines = [HEADER if has_column else "filename,fold,target,category"]
  for number, source in enumerate((7, 8, 7, 9)):
    name = f"1-{0 if has_column else source}-{number}-0.wav"
    (tmp_path / "audio" / f"{number}.wav").rename(tmp_path / "audio" / name)
    lines.append(f"{name},1,0,dog" + f",True,{source},A" * has_column)
  (tmp_path / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
  groups = readers.read(spec).groups
  assert groups[0] == groups[2] and len(set(groups)) == 3


def test_esc50_takes_the_front_end_of_a_model(tmp_path):
  short = mel.Parameters(coefficients=0, clip_samples=8000, channels=20)
  frontend = Frontend("logmel", short)
  found = readers.read(f"{_esc50(tmp_path)}:1", frontend=frontend)
  assert found.x.shape[1:] == frontend.shape


@pytest.mark.parametrize(
  "lines, said",
  [
    (["filename,fold,category", "0.wav,1,dog"], "has no column target"),
    ([HEADER, "0.wav,1,0,dog", "1.wav,6,0,dog"], "line 3: fold 6"),
    ([HEADER, "0.wav,1,50,dog"], "line 2: fold 1, target 50; need"),
    ([HEADER, "0.wav,one,0,dog"], "line 2: fold one"),
    ([HEADER, "0.wav"], "line 2: fold None"),
    ([HEADER], "no samples in fold 1, 2, 3, 4, 5"),
    ([HEADER, "9.wav,1,0,dog"], "9.wav: no such file"),
  ],
)
def test_a_bad_table_of_esc50_is_refused(tmp_path, lines, said):
  refused(lambda: readers.read(_esc50(tmp_path, lines)), said)


def test_a_sample_that_is_no_sound_is_named(tmp_path):
  spec = _esc50(tmp_path)
  (tmp_path / "audio" / "1.wav").write_bytes(b"RIFF and then nothing")
  refused(lambda: readers.read(spec), "1.wav: not a sound file")
  refused(lambda: readers.read(f"{spec}:4"), "no samples in fold 4")
  refused(
    lambda: readers.read(f"esc50:{tmp_path}/x"), "esc50.csv: no such file"
  )


def test_speech_commands_folders_give_features_by_word():
  root = corpora.speech(clips=3)
  x, y, names, _ = readers.read(f"speech-commands:{root}:all")
  assert x.shape[1:] == named("micro").shape
  assert set(corpora.WORDS) <= set(names)
  counts = np.bincount(y, minlength=len(names))
  assert all(counts[names.index(word)] == 3 for word in corpora.WORDS)
  mfcc = readers.read(f"speech-commands:{root}:all", frontend=named("mfcc"))
  assert mfcc.x.shape[1:] == (49, 10, 1)
  refused(lambda: readers.read("speech-commands:/nowhere"), "no such folder")


def test_a_part_of_speech_commands_is_the_one_that_file_names_tell():
  root = corpora.speech(clips=5)
  counted = 0
  for part, split in ((":training", "training"), ("", "testing")):
    _, y, names, _ = readers.read(f"speech-commands:{root}{part}")
    for word in corpora.WORDS:
      found = [folders.split_of(str(p)) for p in (root / word).glob("*.wav")]
      assert np.sum(y == names.index(word)) == found.count(split)
    counted += len(y)
  assert counted > 0


def _omniglot(root: pathlib.Path) -> str:
  import matplotlib.image

  for alphabet, count in (("Greek", 2), ("Latin", 1)):
    for letter in range(count):
      folder = root / alphabet / f"character{letter + 1:02d}"
      folder.mkdir(parents=True)
      for take in range(2):
        drawing = np.ones((105, 105, 3))
        drawing[:, 40 + 10 * letter + take] = 0.0  # a thin line
        matplotlib.image.imsave(str(folder / f"{take}.png"), drawing)
  return f"omniglot:{root}"


def test_folders_of_drawings_give_classes_by_folder(tmp_path):
  spec = _omniglot(tmp_path)
  x, y, names, _ = readers.read(spec)
  assert x.shape == (6, 28, 28, 1)
  assert y.tolist() == [0, 0, 1, 1, 2, 2]
  assert names == (
    "Greek/character01",
    "Greek/character02",
    "Latin/character01",
  )
  assert x.min() >= 0
  assert x.max() <= 1
  assert readers.read(f"{spec}:14").x.shape == (6, 14, 14, 1)


def test_thin_lines_survive_the_resize(tmp_path):
  x = readers.read(_omniglot(tmp_path)).x
  darkest = x[..., 0].min(axis=2)
  assert (darkest < 0.9).all()  # in every row of every drawing
  assert abs(int(x[0, 14, :, 0].argmin()) - 40 * 28 // 105) <= 1


def test_transparent_pixels_are_white(tmp_path):
  import matplotlib.image

  path = str(tmp_path / "a.png")
  clear = np.zeros((4, 4, 4))
  clear[:2, :, 3] = 1  # black above, nothing below
  matplotlib.image.imsave(path, clear)
  assert image_folders.grey(path)[:, 0].tolist() == [0, 0, 1, 1]


def test_bad_drawings_are_refused(tmp_path):
  refused(lambda: readers.read(f"omniglot:{tmp_path}"), "holds no images")
  refused(lambda: readers.read(f"omniglot:{tmp_path}/x"), "no such folder")
  spec = _omniglot(tmp_path)
  refused(lambda: readers.read(f"{spec}:1"), "size=1: need 2 to 512")
  whole = tmp_path / "Latin" / "character01" / "0.png"
  for broken in (b"", b"GIF89a", whole.read_bytes()[:60]):
    whole.write_bytes(broken)
    refused(lambda: readers.read(spec), "0.png: not an image")


@pytest.mark.parametrize("spec", ["", "child-5shot", "mnist:/x", "cifar10"])
def test_an_unknown_kind_is_refused(spec):
  refused(lambda: readers.read(spec), "need KIND:PATH, KIND one of speech-com")
  assert not readers.is_data_set(spec)


def test_a_path_may_hold_colons_and_must_be_there(tmp_path):
  odd = tmp_path / "a:b"
  odd.mkdir()
  _batch(odd / "test_batch")
  assert len(readers.read(f"cifar10:{odd}:test").y) == 4
  refused(lambda: readers.read("cifar10:"), "names no path")
  assert readers.is_data_set(f"cifar10:{odd}")
