"""What the samples' sources and pages name is there."""

from __future__ import annotations

import pathlib
import re

import pytest
from ai_edge_litert.interpreter import Interpreter

from converters.to_signatures import chosen, to_signatures
from tests import models
from tflm_fg.tflite import ModelFile

ROOT = pathlib.Path(__file__).parent.parent.parent
SAMPLES = ROOT / "apps" / "samples"

SOURCES = {
  "c": r'(?:signature|find)\([&\w]+, "(\w+)"\)',
  "java": r'(?:run|inputSizes|type)\("(\w+)"',
  "kotlin": r'\b(?:call|run)\("(\w+)"',
  "swift": r'\b(?:run|values|runner)\("(\w+)"',
  "flutter": r"getSignatureRunner\('(\w+)'\)",
  "python": r'call\["(\w+)"\]',
}
"""How the sources of a language name a signature."""


@pytest.fixture(scope="module")
def known():
  """The signatures of a file, with the names of their tensors."""
  marked = chosen(ModelFile.open(models.conv_model()), "auto")
  made = Interpreter(model_content=to_signatures(marked).data)
  return made.get_signature_list()


@pytest.mark.parametrize("language", SOURCES)
def test_a_sample_names_signatures_and_tensors_that_the_file_has(
  language, known
):
  text = "".join(
    path.read_text()
    for path in sorted((SAMPLES / language).rglob("*"))
    if path.suffix in (".c", ".java", ".kt", ".swift", ".py", ".md")
  )
  named = set(re.findall(SOURCES[language], text))
  assert named >= {"infer", "remember", "train", "get_weights", "set_weights"}
  assert named <= set(known)
  tensors = {"x", "y", "probabilities", "count", "steps", "rate", "loss"}
  if language != "flutter":
    tensors |= {"accepted"}
  for name in tensors - ({"count"} if language == "flutter" else set()):
    assert re.search(rf"""["' ]{name}["'=]""", text), name
  there = set()
  for signature in known.values():
    there |= {*signature["inputs"], *signature["outputs"]}
  assert tensors <= there


@pytest.mark.parametrize("folder", [".", *SOURCES])
def test_links_of_the_samples_pages_lead_somewhere(folder):
  page = SAMPLES / folder / "README.md"
  text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
  for link in re.findall(r"\]\(([^)#\s]+)", text):
    assert "://" in link or (page.parent / link).exists(), link


def test_the_samples_are_no_part_of_what_is_installed():
  setuptools = pytest.importorskip("setuptools")
  project = (ROOT / "pyproject.toml").read_text()
  section = project.split("[tool.setuptools.packages.find]")[1]
  lists = dict(re.findall(r"^(\w+) = \[(.*?)\]", section, re.M))
  patterns = {
    key: re.findall(r'"(.*?)"', lists[key]) for key in ("include", "exclude")
  }
  found = setuptools.find_namespace_packages(str(ROOT), **patterns)
  assert "apps.export" in found
  assert [name for name in found if name.startswith("apps.samples")] == []
