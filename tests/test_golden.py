"""What was recorded before is what comes out today, byte for byte.

A difference here is a bug, unless a change of the numbers is meant; then
`python tools/golden.py --write` records anew, and the changelog says so.
"""

import pytest

from tools import golden


@pytest.mark.parametrize("name", golden.NAMES)
def test_one_seed_still_gives_these_bytes(name):
  recorded = golden.recorded()
  for file, content in golden.recomputed(name).items():
    assert content == recorded[file], f"{file}: see tools/golden.py"


@pytest.mark.parametrize("name", golden.CASES)
def test_a_golden_journal_replays_to_its_golden_file(name):
  # A file that is not stored is known by its fingerprint, which replay checks.
  file = golden.replayed(name)
  assert golden.recorded().get(f"{name}.tflite", file) == file


@pytest.mark.parametrize("name", golden.CASES)
def test_a_golden_adaptation_changed_its_model(name):
  journal = golden.journal_of(name)
  assert journal.model_sha256 != journal.adapted_sha256


def test_the_rollback_kept_a_step_before_its_last():
  kept, last = golden.steps_of(golden.journal_of("rollback"))
  assert 0 < kept < last


def test_every_golden_file_is_made_by_something():
  made = set(golden.INPUTS)
  for name, case in golden.CASES.items():
    made |= {f"{name}.{end}" for end in case.ends}
  made |= {f"directions-{name}.bin" for name in golden.DIRECTIONS}
  made |= {f"fleet-{name}.bin" for name in golden.FLEETS}
  made |= {f"stream-head-{name}.bin" for name in golden.STREAMS}
  assert {path.name for path in golden.FOLDER.iterdir()} == made
