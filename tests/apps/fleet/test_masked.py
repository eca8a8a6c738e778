"""Rounds with masks: the total is right to the last bit, and nothing else."""

from __future__ import annotations

import pytest

from apps.fleet import masked, messages
from apps.fleet.faults import Faults
from apps.fleet.simulation.rounds import led
from tests.apps.fleet import fleets
from tests.apps.fleet.test_rounds import led_by_hand
from tflm_fg.types import TflmFgError

pytest.importorskip("cryptography", reason="needs the extra fleet")


def test_masked_sums_make_the_same_masters_as_open_ones():
  hidden, plain = fleets.server(secure=True), fleets.server()
  led(hidden, fleets.devices())
  led(plain, fleets.devices())
  own = hidden.federation.masters_sha256
  assert own == plain.federation.masters_sha256
  assert hidden.report()["masters_equal"] and hidden.refused == []


def test_devices_that_drop_behind_their_keys_are_survived():
  server = fleets.server(secure=True)
  led(server, fleets.devices(), Faults(0.2, 1))
  assert server.missed > 0
  assert server.report()["masters_equal"]


def test_the_total_of_those_who_answered_is_that_of_an_open_round_of_theirs():
  hidden, plain = fleets.server(secure=True), fleets.server()
  led(plain, fleets.devices()[:2])

  def meddle(number, request, answer):
    keeps = number == 2 and request["ask"] == messages.MASKED
    return None if keeps else answer

  led_by_hand(hidden, dict(enumerate(fleets.devices())), meddle)
  own = hidden.federation.masters_sha256
  assert own == plain.federation.masters_sha256


def test_a_device_that_does_not_lift_its_mask_is_left_out_of_a_new_round():
  hidden, plain = fleets.server(secure=True), fleets.server()
  led(plain, fleets.devices()[:2])

  def meddle(number, request, answer):
    keeps = number == 2 and request["ask"] == messages.REVEAL
    return None if keeps else answer

  asked = led_by_hand(hidden, dict(enumerate(fleets.devices())), meddle)
  own = hidden.federation.masters_sha256
  assert own == plain.federation.masters_sha256
  keys = [set(r) for r in asked if next(iter(r.values()))["ask"] == "keys"]
  assert keys == [{0, 1, 2}, {0, 1}] * 4


@pytest.mark.parametrize(
  ("ask", "key", "sent", "told"),
  [
    ("keys", "key", bytes(32), "no X25519 key"),
    ("keys", "key", b"short", "no X25519 key"),
    ("keys", "key", 1 << 60, "sent no key"),
    ("masked", "masked", 7, "sent no masked"),
    ("reveal", "revealed", b"", "begins as no message"),
    ("reveal", "revealed", "x", "sent no revealed"),
  ],
)
def test_a_device_that_breaks_its_masks_is_left_out(ask, key, sent, told):
  hidden, plain = fleets.server(secure=True), fleets.server()
  led(plain, fleets.devices()[:2])

  def meddle(number, request, answer):
    breaks = number == 2 and request["ask"] == ask
    return answer | {key: sent} if breaks else answer

  led_by_hand(hidden, dict(enumerate(fleets.devices())), meddle)
  own = hidden.federation.masters_sha256
  assert own == plain.federation.masters_sha256
  assert len(hidden.refused) == 4
  assert all("client-2" in line and told in line for line in hidden.refused)


def test_a_single_device_is_not_summed_up():
  server = fleets.server(secure=True)
  with pytest.raises(TflmFgError, match="fewer than 2 devices"):
    led(server, fleets.devices()[:1])


def test_a_device_lifts_its_mask_for_one_list_alone():
  device = fleets.device(0)
  own = fleets.plan().to_bytes()
  device.answer({"ask": "join", "plan": own})
  common = {"from": 0, "steps": [], "round": 1}
  key = device.answer({"ask": "keys", **common})["key"]
  others = [fleets.device(n) for n in (1, 2)]
  keys = [key]
  for other in others:
    other.answer({"ask": "join", "plan": own})
    keys.append(other.answer({"ask": "keys", **common})["key"])
  names = [f"client-{n}" for n in range(3)]
  request = {"ask": "masked", **common, "names": names, "keys": keys}
  request |= {"position": 0, "clients": 3}
  assert "masked" in device.answer(request)
  assert "were used" in device.answer(request)["fault"]
  lift = {"ask": "reveal", **common}
  assert "revealed" in device.answer(lift | {"answered": names[:2]})
  again = device.answer(lift | {"answered": names})
  assert "for other devices" in again["fault"]


def test_masked_sums_before_their_keys_are_refused():
  device = fleets.device(0)
  device.answer({"ask": "join", "plan": fleets.plan().to_bytes()})
  request = {"ask": "masked", "from": 0, "steps": [], "names": [], "keys": []}
  assert "before its keys" in device.answer(request)["fault"]
  assert masked.LEAST == 2
