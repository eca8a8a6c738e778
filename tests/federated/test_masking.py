"""Masked sums show the total, to the last bit, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.federated.fleets import fleet
from tflm_fg import federated, methods
from tflm_fg.federated import keys, masking, wire
from tflm_fg.types import TflmFgError

METHOD = methods.ClosedForm(steps=2)


def secret(number):
  return bytes((7 * number + n) % 251 for n in range(64))


def begun(split=(20, 30, 46), **settings):
  """A fleet in a round with masks: server, clients, their masks, the round."""
  settings = {"method": METHOD, "most_clients": 8, **settings}
  server, clients = fleet("closed-form", split, **settings)
  masks = {
    c.client: federated.Masks(c.client, secret(n))
    for n, c in enumerate(clients)
  }
  publics = {name: own.public for name, own in masks.items()}
  hidden = federated.Unmasking(server, server.fields(), publics)
  return server, clients, masks, hidden


def covered(client, masks, publics):
  sent = client.sums()
  return masks[client.client].cover(client, *sent, publics)


def run_masked(begun_round, absent=()):
  server, clients, masks, hidden = begun_round
  for client in clients:
    content = covered(client, masks, hidden.publics)
    if client.client not in absent:
      hidden.accept(content, client.client)
  for client in clients:
    if client.client not in absent:
      own = masks[client.client].reveal(client, hidden.answered)
      hidden.accept_revealed(own, client.client)
  return server.close_with(*hidden.total())


def test_masks_cancel_to_the_last_bit():
  own = begun()
  step = run_masked(own)
  plain, clients = fleet(
    "closed-form", (20, 30, 46), method=METHOD, most_clients=8
  )
  for client in clients:
    plain.accept(client.contribute())
  assert plain.close() == step


@pytest.mark.parametrize("absent", [["client-0"], ["client-1"], ["client-2"]])
def test_who_drops_out_is_left_out_and_nothing_else_changes(absent):
  step = run_masked(begun(), absent)
  plain, clients = fleet(
    "closed-form", (20, 30, 46), method=METHOD, most_clients=8
  )
  for client in clients:
    if client.client not in absent:
      plain.accept(client.contribute())
  assert plain.close() == step


def test_what_one_client_sends_is_even_noise():
  """A masked vector of zeros and one of sums look alike."""
  _, clients, masks, hidden = begun()
  content = covered(clients[0], masks, hidden.publics)
  found = wire.read(content, "masked", [wire.MASKED])
  plain = clients[0].sums().sums
  for bits, own, numbers in zip(
    masking.widths_of(clients[0].plan, hidden._fields)[1:],
    plain,
    found.fields[2:],
  ):
    assert not (own == numbers).any()
    if numbers.size > 8:
      spread = numbers.astype(float).std() / 2.0**bits
      assert 0.2 < spread < 0.4  # even numbers have 0.289


def test_what_comes_late_stays_hidden():
  server, clients, masks, hidden = begun()
  late = covered(clients[2], masks, hidden.publics)
  for client in clients[:2]:
    content = covered(client, masks, hidden.publics)
    hidden.accept(content, client.client)
  assert hidden.answered == ["client-0", "client-1"]
  with pytest.raises(TflmFgError, match="client-2: late"):
    hidden.accept(late, "client-2")
  # With all that was revealed its own mask is still on it.
  for client in clients[:2]:
    own = masks[client.client].reveal(client, hidden.answered)
    hidden.accept_revealed(own, client.client)
  came = wire.read(late, "late", [wire.MASKED])
  left = came.fields[2].astype(np.uint64)
  for name in hidden.answered:
    key = hidden._revealed[name].fields[2].astype("<i8").tobytes()
    mask = masking._stream(key, came, 1, left.size)
    left = left + mask if name < "client-2" else left - mask
  width = masking.widths_of(server.plan, server.fields())[1]
  assert not (masking._signed(left, width) == clients[2].sums().sums[0]).any()


def test_a_client_reveals_for_one_list_and_for_no_short_one():
  _, clients, masks, hidden = begun()
  one = clients[0]
  covered(one, masks, hidden.publics)
  own = masks[one.client]
  with pytest.raises(TflmFgError, match="below 2 a sum is no secret"):
    own.reveal(one, ["client-0"])
  with pytest.raises(TflmFgError, match="of its round and itself"):
    own.reveal(one, ["client-1", "client-2"])
  own.reveal(one, ["client-0", "client-1"])
  own.reveal(one, ["client-1", "client-0"])
  with pytest.raises(TflmFgError, match="has revealed for other clients"):
    own.reveal(one, ["client-0", "client-1", "client-2"])


def test_masks_are_used_once_and_need_others():
  _, clients, masks, hidden = begun()
  covered(clients[0], masks, hidden.publics)
  with pytest.raises(TflmFgError, match="these masks were used"):
    covered(clients[0], masks, hidden.publics)
  alone = {"client-1": masks["client-1"].public}
  with pytest.raises(TflmFgError, match="another client's among"):
    covered(clients[1], masks, alone)
  bad = {**hidden.publics, "client-0": bytes(32)}
  with pytest.raises(TflmFgError, match="client-0: its key is no X25519"):
    covered(clients[1], masks, bad)


def test_a_client_that_does_not_reveal_is_named():
  server, clients, masks, hidden = begun()
  for client in clients:
    hidden.accept(covered(client, masks, hidden.publics), client.client)
  for client in clients[:2]:
    own = masks[client.client].reveal(client, hidden.answered)
    hidden.accept_revealed(own, client.client)
  with pytest.raises(TflmFgError, match="client client-2: has not revealed"):
    hidden.total()
  assert server.number == 0
  with pytest.raises(TflmFgError, match="no client has answered"):
    federated.Unmasking(server, server.fields(), hidden.publics).total()


def test_what_is_of_another_round_or_list_is_refused_by_name():
  server, clients, masks, hidden = begun()
  one = clients[0]
  content = covered(one, masks, hidden.publics)
  with pytest.raises(TflmFgError, match="client-1: is of another client"):
    hidden.accept(content, "client-1")
  with pytest.raises(TflmFgError, match="holds sums, need masked sums"):
    hidden.accept(one.contribute(), one.client)
  others = federated.Unmasking(
    server, server.fields(), {**hidden.publics, "client-9": bytes(32)}
  )
  with pytest.raises(TflmFgError, match="was given other clients' keys"):
    others.accept(content, one.client)
  found = wire.read(content, "masked", [wire.MASKED])
  changed = dataclasses.replace(found, fields=found.fields[:-1]).to_bytes()
  with pytest.raises(TflmFgError, match="other fields than the round's"):
    hidden.accept(changed, one.client)
  hidden.accept(content, one.client)
  hidden.accept(content, one.client)
  other = dataclasses.replace(
    found, fields=(*found.fields[:-1], found.fields[-1] ^ 1)
  )
  with pytest.raises(TflmFgError, match="has sent other sums"):
    hidden.accept(other.to_bytes(), one.client)


def test_a_wrong_mask_is_found_in_the_sum_of_all():
  server, clients, masks, hidden = begun()
  for client in clients:
    hidden.accept(covered(client, masks, hidden.publics), client.client)
  for client in clients:
    own = masks[client.client].reveal(client, hidden.answered)
    if client is clients[1]:
      found = wire.read(own, "mask", [wire.REVEALED])
      fields = (found.fields[0], found.fields[1] ^ 1)
      own = dataclasses.replace(found, fields=fields).to_bytes()
    hidden.accept_revealed(own, client.client)
  with pytest.raises(TflmFgError, match="round 0: the sum of all clients"):
    server.close_with(*hidden.total())


def test_a_fleet_whose_sums_have_no_room_is_told():
  plan = federated.plan_for(
    fleet()[0].marked.data, "one-round", most_samples=4096
  )
  wide = federated.Field("products", 3, -(1 << 40), 1 << 40)
  with pytest.raises(TflmFgError, match="and masks have 63; plan with fewer"):
    masking.widths_of(plan, [wide])


def test_without_its_package_masks_name_the_cure(monkeypatch):
  def missing(name):
    raise ImportError(name)

  monkeypatch.setattr(keys.importlib, "import_module", missing)
  with pytest.raises(TflmFgError, match="pip install 'tflm-fg\\[signed\\]'"):
    federated.Masks("client-0")
