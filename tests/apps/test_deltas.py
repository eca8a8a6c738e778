"""What changed is written, signed and applied by the program."""

import pytest

from tests import keys, programs
from tests.apps.test_programs import Folder

pytest.importorskip("cbor2", reason="needs the extra delta")

TELL_ORDER = """
from tflm_fg import files
write = files.write_set
def told(contents, folders):
  print("written:", *contents)
  write(contents, folders)
files.write_set = told
"""
AGAIN = ("--model=model.tflite", "--apply=d", "--out=again.tflite")


@pytest.fixture
def folder(tmp_path):
  made = Folder(tmp_path)
  private, public = keys.ed25519()
  made.write("sign.pem", private)
  made.write("verify.pem", public)
  return made


def test_a_delta_makes_the_adapted_file_again_for_those_who_trust_it(folder):
  given = ("--method=closed-form", "--delta=d", "--sign_key=sign.pem")
  flags = folder.adapt_flags(*given, "--report=r")
  ran = programs.run(folder.path, "apps.adapt", *flags, before=TELL_ORDER)
  assert f"d: {len(folder.read('d'))} bytes to send" in ran.stdout
  assert "written: d r out.tflite" in ran.stdout  # the model last
  assert "--verify_key says by whom" in folder.done("adapt", *AGAIN)
  assert folder.read("again.tflite") == folder.read("out.tflite")
  assert folder.read("again.tflite") != folder.read("model.tflite")
  assert "note" not in folder.done("adapt", *AGAIN, "--verify_key=verify.pem")
  for flags, text in (
    (["--verify_key=sign.pem"], "--verify_key=sign.pem: is no Ed25519 public"),
    (["--train=clips.npz"], "--apply takes --model, --out and --verify_key"),
  ):
    assert text in folder.refused("adapt", *AGAIN, *flags)


def test_a_key_or_a_name_that_does_not_serve_is_refused_before_the_work(folder):
  for flags, text in (
    (["--sign_key=sign.pem"], "--sign_key: is for --delta, which is missing"),
    (["--delta=d", "--sign_key=verify.pem"], "verify.pem: is no Ed25519 priv"),
    (["--delta=clips.npz"], "named by --"),
  ):
    line = folder.refused("adapt", *folder.adapt_flags(*flags))
    assert text in line
