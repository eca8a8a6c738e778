"""An input prompt is found by batches that an app hands in, in integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.signatures.checked import CheckedEngine
from tflm_fg import signatures
from tflm_fg.signatures import head, input_passes, input_state, prompt
from tflm_fg.signatures.signs import signs

CHANNELS, CLASSES, BATCH = 6, 4, 8
SPEC = input_state.PromptSpec((1, CHANNELS), BATCH)
ONE = np.array([1], np.int32)
CENTRES = np.random.default_rng(3).integers(-60, 61, (CLASSES, CHANNELS))
"""Where each class lies."""

HEAD = head.HeadSpec(
  kernel=np.clip(CENTRES, -127, 127).astype(np.int8),
  bias=(-(CENTRES**2).sum(axis=1) // 2).astype(np.int32),
  kernel_scales=np.full(CLASSES, 0.01),
  input_scale=0.05,
  input_zero_point=0,
  output_scale=0.1,
  output_zero_point=0,
  capacity=16,
)


def through(e, x, gain, offset):
  """The prompt, and layers that pass on what they get."""
  del e
  moved = np.asarray(x) * (np.asarray(gain) / 64) + np.asarray(offset) / 4
  return np.clip(np.rint(moved), -128, 127).astype(np.int8)


def samples(count, seed, classes=CLASSES, moved=0.0, times=1.0):
  """Noisy samples of classes in turn, seen through another sensor."""
  random = np.random.default_rng(seed)
  y = np.arange(count) % classes
  x = CENTRES[y] + random.normal(0, 10, (count, CHANNELS))
  return np.clip(np.rint(x * times + moved), -128, 127).astype(np.int8), y


def begun(engine=signatures.NumpyEngine):
  """An engine with the state of a file that no call has changed."""
  e = engine()
  head.forget(e, HEAD)
  input_state.forget_prompt(e, HEAD, SPEC)
  return e


def call(e, x, y, seed=7):
  """One call of `adapt_input`."""
  return prompt.adapt_input(
    e,
    HEAD,
    SPEC,
    x,
    np.asarray(y, np.int32),
    np.array([seed], np.int32),
    through,
  )


def adapt(e, x, y, epochs, order=0):
  """Hands all samples in, in batches, some times; how often it changed."""
  random = np.random.default_rng(order)
  changed = 0
  for _ in range(epochs):
    rows = random.permutation(len(x))
    for start in range(0, len(x) - BATCH + 1, BATCH):
      batch = rows[start : start + BATCH]
      changed += int(call(e, x[batch], y[batch]).changed[0])
  return changed


def accuracy(e, x, y):
  """Share that is right through the prompt that `infer` uses."""
  count = len(x)
  held = e.variables
  gain = np.resize(held["gain"], (count, 1))
  seen = through(e, x, gain, np.tile(held["offset"], (count, 1)))
  logits = seen.astype(int) @ HEAD.kernel.T.astype(int) + HEAD.bias
  return float((logits.argmax(axis=1) == y).mean())


def state_bytes(e):
  """All that the file remembers."""
  return {name: held.tobytes() for name, held in e.variables.items()}


MOVED = np.array([31, -31, 31, 31, -31, -31])


@pytest.mark.parametrize(
  "shift", [{"moved": MOVED}, {"times": 0.5}], ids=["offsets", "gain"]
)
def test_a_prompt_undoes_what_a_sensor_does(shift):
  e, test = begun(), samples(400, 1, **shift)
  before = accuracy(e, *test)
  assert adapt(e, *samples(160, 2, **shift), epochs=12)
  assert accuracy(e, *test) >= max(0.88, before + 0.05)


def test_a_prompt_that_helps_nothing_is_not_used():
  e = begun()
  assert adapt(e, *samples(160, 2), epochs=6) == 0
  assert not e.variables["offset"].any()
  assert e.variables["gain"].item() == input_state.GAIN_ONE


def test_a_prompt_of_some_classes_is_not_used():
  e = begun()
  x, y = samples(160, 2, classes=3, moved=MOVED)
  assert adapt(e, x, y, epochs=8) == 0
  assert not e.variables["offset"].any()
  assert adapt(e, *samples(160, 2, moved=MOVED), epochs=8) > 0


def used_by_chance(seed):
  """Whether labels that are mixed up make a prompt that is used."""
  x, y = samples(160, seed)
  mixed = np.random.default_rng(seed).permutation(y)
  return adapt(begun(), x, mixed, epochs=6, order=seed) > 0


def test_labels_that_are_mixed_up_give_no_prompt(monkeypatch):
  assert sum(used_by_chance(seed) for seed in range(8)) == 0
  monkeypatch.setattr(prompt, "beyond_chance", lambda *_: np.array([[True]]))
  assert sum(used_by_chance(seed) for seed in range(8)) >= 2


def test_the_same_calls_give_the_same_bytes_and_another_seed_gives_others():
  found = []
  for seed in (1, 1, 2):
    e = begun()
    for number in range(40):
      call(e, *samples(BATCH, number, moved=MOVED), seed=seed)
    found.append(state_bytes(e))
  assert found[0] == found[1] != found[2]


def test_samples_without_a_class_are_left_out():
  x, y = samples(BATCH, 1)
  full, padded = begun(), begun()
  others = np.where(np.arange(BATCH) < 5, y, [-1, 4, 99, -(2**31)] * 2)
  for e, own in ((full, x), (padded, x.copy())):
    own[5:] = own[5:] if e is full else 75
    for _ in range(60):
      call(e, own, others)
  assert state_bytes(full) == state_bytes(padded)


def test_a_batch_without_a_class_changes_nothing():
  e = begun()
  for number in range(50):
    call(e, *samples(BATCH, number, moved=MOVED))
  before = state_bytes(e)
  given = call(e, samples(BATCH, 1)[0], [-1] * BATCH)
  assert (given.loss[0], given.changed[0]) == (-1, 0)
  assert state_bytes(e) == before


def test_training_begins_at_the_gain_that_loses_least():
  e = begun()
  for number in range(SPEC.scans):
    call(e, *samples(BATCH, number, times=0.4))
  masters, _, mean, used = e.variables["input_training"]
  assert masters[-1] in (90 * input_state.UNITS, 127 * input_state.UNITS)
  assert mean.tolist() == masters.tolist()
  assert used[-1] == input_state.GAIN_ONE


def test_samples_that_are_kept_aside_move_nothing():
  e = begun()
  for number in range(50):
    call(e, *samples(BATCH, number, moved=MOVED))
  before = e.variables["input_training"][:3].tobytes()
  aside = np.full((BATCH, CHANNELS), 5, np.int8)  # sums of thirty
  assert call(e, aside, np.arange(BATCH) % CLASSES).loss[0] == -1
  assert e.variables["input_training"][:3].tobytes() == before


def test_the_loss_is_the_cross_entropy_of_what_is_learned_from():
  e = begun()
  x, y = samples(BATCH, 4)
  learned = x.astype(int).sum(axis=1) % input_passes.KEPT_SHARE != 0
  assert 0 < learned.sum() < BATCH
  found = []
  for gain in (input_state.STARTS[0], input_state.GAIN_ONE):
    seen = through(e, x, np.full((BATCH, 1), gain), np.zeros((BATCH, CHANNELS)))
    unit = HEAD.kernel_scales[0] * HEAD.input_scale
    z = (seen.astype(int) @ HEAD.kernel.T.astype(int) + HEAD.bias) * unit
    z = np.clip(z, -128 * HEAD.output_scale, 127 * HEAD.output_scale)
    all_losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(BATCH), y]
    found.append(all_losses[learned].mean())
  assert call(e, x, y).loss[0] == pytest.approx(np.mean(found), abs=0.02)


def test_a_new_prompt_forgets_what_was_seen_through_the_old_one():
  e = begun()
  x, y = samples(160, 2, moved=MOVED)
  e.variables["labels"] = np.zeros(HEAD.capacity, np.int32)
  e.variables["count"] = np.array([9], np.int32)
  for number in range(400):
    rows = np.random.default_rng(number).permutation(len(x))[:BATCH]
    if call(e, x[rows], y[rows]).changed[0]:
      break
    assert not e.variables["labels"].any()
  assert (e.variables["labels"] == -1).all()
  assert e.variables["count"].tolist() == [0]


def test_a_prompt_that_is_set_is_used_and_trained_from():
  e = begun()
  offset = np.arange(CHANNELS, dtype=np.int32)[None]
  gain = np.array([[-5]], np.int32)
  input_state.set_prompt(e, HEAD, SPEC, offset * 100, gain, ONE)
  offset = np.minimum(offset * 100, 127)
  assert e.variables["offset"].tolist() == offset.tolist()
  assert e.variables["gain"].item() == 0
  masters, velocity, mean, used = e.variables["input_training"]
  assert used.tolist() == [*offset[0], 0]
  assert masters.tolist() == [*(offset[0] * input_state.UNITS), 0]
  assert not velocity.any()
  assert mean.tolist() == masters.tolist()
  assert e.variables["input_counts"].sum() == SPEC.scans


def test_weights_that_are_refused_leave_the_prompt_and_its_training():
  e = begun()
  for number in range(40):
    call(e, *samples(BATCH, number, moved=MOVED))
  before = state_bytes(e)
  offset = np.full((1, CHANNELS), 3, np.int32)
  input_state.set_prompt(
    e, HEAD, SPEC, offset, np.array([[9]], np.int32), ONE - 1
  )
  assert state_bytes(e) == before


def test_the_files_own_prompt_set_is_a_reset():
  e = begun()
  fresh = state_bytes(e)
  for number in range(40):
    call(e, *samples(BATCH, number, moved=MOVED))
  one = np.full((1, 1), input_state.GAIN_ONE, np.int32)
  none = np.zeros((1, CHANNELS), np.int32)
  input_state.set_prompt(e, HEAD, SPEC, none, one, ONE)
  assert state_bytes(e) == fresh


@settings(max_examples=25, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**31 - 1))
def test_signs_are_balanced_and_no_product_wraps(seed, step):
  e = CheckedEngine()
  drawn = np.asarray(
    signs(e, e.constant([[seed]]), e.constant([[step]]), 64, 33)
  )
  assert set(np.unique(drawn)) == {-1, 1}
  assert abs(drawn.mean()) < 0.12
  assert len(np.unique(drawn, axis=0)) > 60


def test_signs_of_steps_and_numbers_do_not_go_together():
  e, seed = signatures.NumpyEngine(), np.array([[3]], np.int32)
  drawn = np.array(
    [signs(e, seed, np.array([[step]], np.int32), 8, 11) for step in range(400)]
  )
  flat = drawn.reshape(-1, 11).astype(float)
  together = flat.T @ flat / len(flat)
  assert abs(together - np.eye(11)).max() < 0.09
  assert abs((drawn[1:] * drawn[:-1]).mean()) < 0.02


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_number_of_the_program_wraps_around(seed):
  e, random = begun(CheckedEngine), np.random.default_rng(seed)
  for number in range(input_state.PromptSpec((1, 6), BATCH).scans + 6):
    x = random.choice([-128, 127], (BATCH, CHANNELS)).astype(np.int8)
    y = random.integers(0, CLASSES, BATCH)
    if number % 3 == 0:
      x = np.zeros_like(x)  # all of them are kept aside
    call(e, x, y, int(random.integers(-(2**31), 2**31)))
