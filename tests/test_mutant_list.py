"""The faults of tools/mutant_list.py can all be put in and be judged."""

from __future__ import annotations

import collections

import pytest

from tools.mutant_list import MUTANTS, Mutant
from tools.mutants import ROOT, text_of


def test_every_old_text_stands_in_its_file_once():
  wrong = []
  for mutant in MUTANTS:
    try:
      text_of(mutant)
    except (ValueError, OSError) as fault:
      wrong.append(str(fault))
  assert not wrong, "\n".join(wrong)


def test_an_old_text_that_has_moved_is_found_out():
  moved = Mutant("moved", "tflm_fg/types.py", "no such line", "", ())
  with pytest.raises(ValueError, match="holds the old text 0 times"):
    text_of(moved)


def test_every_fault_has_a_name_of_its_own_and_changes_something():
  counts = collections.Counter(mutant.name for mutant in MUTANTS)
  assert [name for name, count in counts.items() if count > 1] == []
  assert [m.name for m in MUTANTS if m.old == m.new] == []


def test_the_tests_that_should_notice_are_there():
  named = {test for mutant in MUTANTS for test in mutant.tests}
  files = {test.split("::")[0] for test in named if not test.startswith("-")}
  assert {name for name in files if not (ROOT / name).exists()} == set()
  assert [m.name for m in MUTANTS if not m.tests] == []
