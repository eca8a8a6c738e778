"""A fleet's rounds: who is asked, behind, refused, and equal at the end."""

from __future__ import annotations

import numpy as np
import pytest

from apps.fleet import messages
from apps.fleet.device import Device, Memory, kept_sums, packed_sums
from apps.fleet.faults import Faults
from apps.fleet.server import require_equal
from apps.fleet.simulation.rounds import led
from tests import models
from tests.apps.fleet import fleets
from tflm_fg import federated
from tflm_fg.types import TflmFgError


def led_by_hand(server, devices, meddle=None):
  """All rounds; `meddle(number, request, answer)` may change an answer."""
  numbers = sorted(devices)
  rounds, answers = server.rounds(lambda: numbers), None
  asked = []
  while True:
    try:
      requests = rounds.send(answers)
    except StopIteration:
      return asked
    asked.append(requests)
    answers = {}
    for number, request in requests.items():
      found = devices[number].answer(request)
      found = meddle(number, request, found) if meddle else found
      if found is not None:
        answers[number] = found


def test_a_fleet_ends_with_the_masters_of_all_samples_in_one_place():
  fleet, one = fleets.server(), fleets.server()
  led(fleet, fleets.devices())
  led(one, [Device("one", fleets.model(), *fleets.samples())])
  assert fleet.federation.masters_sha256 == one.federation.masters_sha256
  report = fleet.report()
  assert report["masters_equal"] and report["masters_compared"] == 3
  assert report["contributions"] == 12 and report["rounds"] == 4
  assert report["missed"] == 0 and report["refused"] == []


def test_a_device_without_its_memory_is_sent_all_steps_and_counts():
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))
  lost = []

  def meddle(number, request, answer):
    if number == 1 and request["ask"] == messages.SUMS and not lost:
      lost.append(number)
      devices[1] = fleets.device(1)  # a new battery
    return answer

  asked = led_by_hand(server, devices, meddle)
  assert server.report()["contributions"] == 12
  assert server.report()["masters_equal"]
  again = [r for r in asked if set(r) == {1}]
  assert len(again) == 1
  assert again[0][1]["from"] == 0 and again[0][1]["plan"]


def test_a_device_remembers_by_its_plan_and_its_steps_alone():
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))

  def meddle(number, request, answer):
    devices[number] = fleets.device(number, memory=devices[number].memory)
    return answer

  asked = led_by_hand(server, devices, meddle)
  assert all(set(r) == {0, 1, 2} for r in asked)  # nobody is asked twice
  assert server.report()["masters_equal"]


def test_a_device_that_missed_rounds_takes_their_steps_and_is_equal():
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))

  def meddle(number, request, answer):
    return None if number == 2 and request.get("round") in (2, 3) else answer

  asked = led_by_hand(server, devices, meddle)
  sent = [r[2] for r in asked if r[2]["ask"] == messages.SUMS]
  assert [len(request["steps"]) for request in sent] == [0, 1, 2, 3]
  assert server.report()["missed"] == 2
  assert server.report()["masters_equal"]


def test_a_device_that_comes_later_joins():
  server, devices = fleets.server(), fleets.devices()
  calls = []

  def present():
    calls.append(None)
    return [0, 1] if len(calls) < 3 else [0, 1, 2]

  rounds, answers = server.rounds(present), None
  while True:
    try:
      requests = rounds.send(answers)
    except StopIteration:
      break
    answers = {n: devices[n].answer(r) for n, r in requests.items()}
  assert server.report()["contributions"] == 2 + 2 + 3 + 3
  assert server.report()["masters_equal"]


def test_dropouts_are_survived_and_the_same_in_every_run():
  found = []
  for _ in range(2):
    server = fleets.server(steps=6)
    led(server, fleets.devices(), Faults(dropout=0.3, seed=1))
    found.append(server.report())
  assert found[0] == found[1]
  assert found[0]["missed"] > 0
  assert found[0]["contributions"] + found[0]["missed"] >= 3 * 7
  assert found[0]["masters_equal"]


def test_a_round_that_nobody_answers_is_asked_for_again_and_then_given_up():
  server = fleets.server()
  devices = dict(enumerate(fleets.devices()))
  with pytest.raises(TflmFgError, match="sums of 0 clients came, need 1"):
    led_by_hand(
      server,
      devices,
      lambda n, request, answer: answer if request["ask"] == "join" else None,
    )
  assert server.missed == 5 * 3


def test_a_device_with_another_base_is_refused_by_name_and_left_out():
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))
  x, y = fleets.parts()[1]
  devices[1] = Device("stranger", models.deep_model(seed=9), x, y)
  led_by_hand(server, devices)
  (line,) = server.refused
  assert "client stranger" in line and "another base" in line
  assert server.report()["clients"] == 2


def test_two_devices_of_one_name_are_one():
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))
  devices[2] = fleets.device(1)
  led_by_hand(server, devices)
  assert server.refused == ["client client-1: its name is taken"]
  assert server.report()["clients"] == 2


def test_a_device_that_lies_is_refused_by_name_and_the_others_go_on():
  honest, server = fleets.server(), fleets.server()
  led(honest, fleets.devices()[:2])
  devices = dict(enumerate(fleets.devices()))

  def meddle(number, request, answer):
    if number == 2 and "sums" in answer:
      return answer | {"sums": answer["sums"][:-1] + b"\xff"}
    return answer

  led_by_hand(server, devices, meddle)
  assert len(server.refused) == 4
  assert all("client client-2" in line for line in server.refused)
  own = server.federation.masters_sha256
  assert own == honest.federation.masters_sha256


@pytest.mark.parametrize("name", ["", "x" * 300, "two\nlines", 7 * "é" * 10])
def test_a_device_with_a_name_that_is_none_is_left_out(name):
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))
  led_by_hand(
    server, devices, lambda n, _, a: a | {"name": name} if n == 1 else a
  )
  (line,) = server.refused
  assert "need a name of 1 to 64 printable bytes" in line
  assert server.report()["clients"] == 2


@pytest.mark.parametrize("sums", [1 << 60, "text", [1.5], None])
def test_what_is_no_sums_is_refused_by_name_and_the_others_go_on(sums):
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))

  def meddle(number, request, answer):
    if number == 2 and request["ask"] == messages.SUMS:
      return answer | {"sums": sums, "masters": ""}
    return answer

  led_by_hand(server, devices, meddle)
  assert server.refused == 4 * [
    "client client-2: sent no sums; give it this release of tflm-fg"
  ]
  assert server.report()["contributions"] == 8


def test_sums_in_anothers_name_are_refused():
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))
  sums = {}

  def meddle(number, request, answer):
    if "sums" in answer:
      sums[number] = answer["sums"]
      return answer | {"sums": sums[0]} if number == 1 else answer
    return answer

  led_by_hand(server, devices, meddle)
  assert server.refused and all(
    "sent sums in the name of client-0" in line for line in server.refused
  )


def test_a_device_that_cannot_answer_says_why():
  device = fleets.device(0)
  found = device.answer({"ask": "join", "plan": b"{}"})
  assert "no plan of a fleet" in found["fault"]
  assert found["have"] == -1 and found["name"] == "client-0"
  assert "asked for" in device.answer({"ask": "weather"})["fault"]


def test_other_masters_at_the_end_are_found_and_nothing_is_written():
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))

  def meddle(number, request, answer):
    if number == 1 and "masters" in answer:
      return answer | {"masters": "0" * 64}
    return answer

  led_by_hand(server, devices, meddle)
  assert not server.report()["masters_equal"]
  with pytest.raises(TflmFgError, match="client-1: hold other masters"):
    require_equal(server)


def test_bytes_are_counted_of_what_travels():
  server, devices = fleets.server(), dict(enumerate(fleets.devices()))
  asked = led_by_hand(server, devices)
  steps = sum(len(s) for r in asked for s in r[0].get("steps", []))
  assert server.known[0].down > steps > 0
  record = {"a": 1, "b": "xy", "c": b"123", "d": [b"1", b"22"]}
  assert messages.size(record) == 8 + 2 + 3 + 3


def test_a_memory_of_nothing_knows_no_plan():
  assert Memory() == (b"", (), None, None, None)
  found = fleets.device(0).answer({"ask": "sums", "from": 0, "steps": []})
  assert found == {"name": "client-0", "have": -1}


def test_a_scheme_that_divides_its_work_ends_equal():
  server = fleets.server("split", trainable="all")
  led(server, fleets.devices(), None)
  assert server.report()["masters_equal"]
  assert np.isfinite(server.report()["losses"][-1])


def test_a_prompt_of_its_own_is_found_once_and_never_sent():
  server = fleets.server(personal="prompt")
  devices = dict(enumerate(fleets.devices()))
  prompts = {}

  def meddle(number, request, answer):
    own = devices[number].memory.personal
    assert prompts.setdefault(number, own) == own
    assert own not in answer.values()
    devices[number] = fleets.device(number, memory=devices[number].memory)
    return answer

  led_by_hand(server, devices, meddle)
  assert server.report()["masters_equal"]
  assert all(prompts[number] is not None for number in devices)
  assert devices[0].adapted()[4:8] == b"TFL3"


def test_a_device_of_no_fleet_has_no_model_to_give():
  with pytest.raises(TflmFgError, match="has joined no fleet"):
    fleets.device(0).adapted()


def test_noise_is_drawn_once_a_round_however_often_a_device_is_asked():
  own = federated.Privacy(noise_multiplier=2.0, clip=0.1)
  plan = fleets.plan("one-round", privacy=own).to_bytes()
  device = fleets.device(0)
  device.answer({"ask": "join", "plan": plan})
  request = {"ask": "sums", "from": 0, "steps": [], "round": 1}
  request |= {"position": 0, "clients": 1}
  first = device.answer(request)["sums"]
  again = fleets.device(0, memory=device.memory)
  assert again.answer(request)["sums"] == first
  other = fleets.device(0)
  other.answer({"ask": "join", "plan": plan})
  assert other.answer(request)["sums"] != first


def test_sums_of_another_round_are_not_sent_again():
  sent = federated.Sent(
    (federated.Field("inputs", 2, -9, 9),), 3, [np.array([1, -2])]
  )
  kept = packed_sums(4, sent)
  held = kept_sums(kept, 4)
  assert held.fields == sent.fields and held.samples == 3
  assert held.sums[0].tolist() == [1, -2]
  assert kept_sums(kept, 5) is None
