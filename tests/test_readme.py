"""What the README shows runs as it stands."""

import pathlib
import re

import tflm_fg
from apps.kws.model import shipped
from tflm_fg.runtimes.registry import NAMES

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()
PROJECT = (pathlib.Path(__file__).parent.parent / "pyproject.toml").read_text()


def test_the_python_example_runs_and_learns(capsys):
  (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  names = {}
  exec(compile(example, "README.md", "exec"), names)
  before, after = map(float, capsys.readouterr().out.split("->"))
  assert after < before
  assert names["model"] == shipped.shipped_model()
  assert names["plain"][4:8] == b"TFL3"
  plan = len(names["plain"]) - len(names["model"])
  assert plan == names["result"].report["added_bytes"]
  assert tflm_fg.strip(names["result"].model) == names["plain"]


def test_every_program_is_in_the_readme_and_the_other_way_round():
  installed = set(re.findall(r"^(tflm-fg-\w+) = ", PROJECT, re.MULTILINE))
  shown = set(re.findall(r"`(tflm-fg-\w+)`", README))
  assert shown == installed


def test_every_runtime_is_in_the_table():
  for name in NAMES:
    assert f"| `{name}`" in README
