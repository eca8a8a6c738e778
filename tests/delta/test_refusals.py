"""A delta that is not as it was made, or not for this file, is refused."""

import hashlib
import sys
import tracemalloc
import zlib

import pytest

from tests import keys
from tests.delta.test_delta import random_bytes
from tflm_fg import delta
from tflm_fg.delta import delta_file
from tflm_fg.types import TflmFgError

cbor2 = pytest.importorskip("cbor2", reason="needs the extra delta")

BASE = random_bytes(300)
RESULT = BASE[:100] + b"changed" + BASE[107:200] + b"more" + BASE[200:]
DELTA = delta.make(BASE, RESULT)


def refused(text, changed, base=BASE, **options):
  with pytest.raises(TflmFgError, match=text) as caught:
    delta.apply(changed, base, name="d.bin", **options)
  assert "\n" not in str(caught.value)
  assert str(caught.value).startswith(("d.bin: ", "--verify_key=v.pem: "))


def flips(data):
  for at in range(8 * len(data)):
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    yield bytes(changed)


def test_one_changed_bit_anywhere_is_refused():
  for changed in flips(DELTA):
    refused("damaged", changed)


def test_one_changed_bit_of_a_signed_delta_is_refused():
  private, public = keys.ed25519()
  signed = delta.make(BASE, RESULT, private)
  assert delta.apply(signed, BASE, public) == RESULT
  for changed in flips(signed):
    refused("damaged|not signed with", changed, verify_key=public)


def test_a_delta_that_was_cut_off_or_has_more_behind_is_refused():
  for length in range(len(DELTA)):
    refused("damaged", DELTA[:length])
  refused("damaged", DELTA + b"\0")


def test_another_base_is_refused_with_both_fingerprints():
  for base in (BASE[:-1], BASE + b"x", bytes(300), b"", RESULT):
    refused(hashlib.sha256(BASE).hexdigest(), DELTA, base)
    refused(hashlib.sha256(base).hexdigest(), DELTA, base)


def test_a_signature_of_another_key_or_none_is_refused():
  private, public = keys.ed25519()
  refused("is not signed; take one", DELTA, verify_key=public)
  _, body, check = cbor2.loads(DELTA)
  forged = delta_file.sealed(body, bytes(64))
  assert cbor2.loads(forged)[2] == check
  refused("not signed with the other half", forged, verify_key=public)
  refused(
    "--verify_key=v.pem: is no Ed25519 public key.*openssl pkey",
    delta.make(BASE, RESULT, private),
    verify_key=private,
    key_name="--verify_key=v.pem",
  )
  for key in (public, b"", b"-----BEGIN PRIVATE KEY-----"):
    with pytest.raises(TflmFgError, match=r"no Ed25519 private key.*openssl"):
      delta.make(BASE, RESULT, key)
  assert delta.is_signed(delta.make(BASE, RESULT, private))
  assert not delta.is_signed(DELTA)


def body(**changed):
  """A body that says something else than it should, with a check that fits."""
  raw = zlib.decompress(cbor2.loads(DELTA)[1])
  told = delta_file.Told(*cbor2.loads(raw))._replace(**changed)
  return delta_file.sealed(delta_file.body_of(told), None)


@pytest.mark.parametrize(
  "pieces",
  [
    [],
    [5],
    [[]],
    [[0]],
    [None],
    [[0, 10**12]],
    [[2**70, 1]],
    [[-1, 304]],
    [[0, -1]],
    [[True, 304]],
    [[0.0, 304]],
    [["0", "304"]],
    [{"0": 304}],
    [[0, 304, 0]],
    [[0, 300, 0, b"x"], b"abcd", b""],
    [[0, 300, -1, b"x"], b"abcd"],
    [[0, 300, 300, b"x"], b"abcd"],
    [[0, 300, 2**63, b"x"], b"abcd"],
    [[0, 300, 0, "x"], b"abcd"],
    [[0, 300]] * 10**4,
    [bytes(304)],
    ["x" * 304],
    [cbor2.CBORTag(2, b"\1" * 8)],
  ],
)
def test_pieces_that_are_not_sound_are_refused(pieces):
  refused("damaged", body(pieces=pieces))


def test_sizes_that_would_take_all_memory_are_refused():
  refused("at most.*send the whole file", body(result_bytes=2**40))
  refused("at most.*send the whole file", body(result_bytes=-1))
  refused("damaged", body(result_bytes=303))
  refused("made from a file of 299 bytes", body(base_bytes=299))
  bomb = zlib.compress(bytes(delta.SPARE_BYTES + 2000), 9)
  assert len(bomb) < 20000
  refused("damaged", delta_file.sealed(bomb, None))


def test_no_more_is_unpacked_than_a_delta_may_hold(monkeypatch):
  monkeypatch.setattr(delta_file, "SPARE_BYTES", 1000)
  bomb = delta_file.sealed(zlib.compress(bytes(1 << 22), 9), None)
  tracemalloc.start()
  try:
    refused("damaged", bomb)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
  finally:
    tracemalloc.stop()


def test_a_result_that_a_delta_could_not_make_is_not_sent():
  big = bytes(4 * len(BASE) + delta.SPARE_BYTES + 1)
  with pytest.raises(TflmFgError, match=r"the result has.*send the whole file"):
    delta.make(BASE, big)


@pytest.mark.parametrize(
  "raw",
  [
    b"",
    b"\x9f" * 100000,  # lists in lists
    b"\x81" * 100000,
    b"\xd8\x1c" * 5000 + b"\x00",  # shared values
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",  # a list of 2^64 items
    b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",  # bytes of 2^63
    b"\xa1" * 60 + b"\x00" * 61,  # maps as keys of maps
    b"\xd8\x23\x68(a+)+$aa",  # a regular expression
    b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",  # 1e(2^63)
    cbor2.dumps({"format": delta.FORMAT}),
    cbor2.dumps([delta.FORMAT]),
    cbor2.dumps([delta.FORMAT, b"", b"", b"", b""]),
    cbor2.dumps([delta.FORMAT, "", ""]),
    cbor2.dumps([delta.FORMAT, b"", b""]),
    cbor2.dumps(["tflm-fg-delta-2", b"", b""]),
  ],
)
def test_what_is_no_delta_is_refused(raw):
  refused("no delta|damaged", raw)
  refused("damaged", delta_file.sealed(zlib.compress(raw), None))


@pytest.mark.parametrize(
  ("module", "extra", "key"),
  [
    ("cbor2", "delta", None),
    ("cryptography.hazmat.primitives.serialization", "signed", b""),
  ],
)
def test_a_missing_package_is_named_with_what_installs_it(
  module, extra, key, monkeypatch
):
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(TflmFgError, match=rf"pip install 'tflm-fg\[{extra}\]'"):
    delta.make(b"", b"", key)
