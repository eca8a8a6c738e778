"""What would end an engine's process is refused by the operator's name."""

import pytest

from tests import hostile, zoo
from tests.refusals import refused
from tflm_fg.tflite.model_file import ModelFile


@pytest.mark.parametrize("what", list(hostile.REFUSED))
def test_what_no_kernel_can_run_is_refused_by_name(what):
  mutant, words = hostile.REFUSED[what]
  refused(lambda: ModelFile.open(mutant.data(), "m.tflite"), "m.tflite", words)


@pytest.mark.parametrize("name", list(zoo.BUILDERS))
def test_a_sound_model_of_every_operator_is_taken(name):
  assert ModelFile.open(zoo.BUILDERS[name](), name).operator_names
