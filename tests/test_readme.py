"""What the README shows runs as it stands."""

import pathlib
import re
import shutil

import tflm_fg
from apps.kws.model import shipped
from tflm_fg.runtimes.registry import NAMES

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()
CI = (ROOT / ".ci" / "run").read_text()


def test_the_python_examples_run_and_learn(tmp_path, monkeypatch, capsys):
  """In a folder that has what a clone has: the shipped model."""
  model = tmp_path / "apps" / "kws" / shipped.MODEL
  model.parent.mkdir(parents=True)
  shutil.copy(shipped.shipped_path(), model)
  monkeypatch.chdir(tmp_path)
  first, second = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  names = {}
  exec(compile(first, "README.md", "exec"), names)
  printed = capsys.readouterr().out.splitlines()
  before, after = map(float, printed[0].split("->"))
  assert after > before
  result, saved = names["result"], (tmp_path / "adapted.tflite").read_bytes()
  assert saved[4:8] == b"TFL3" and saved == tflm_fg.strip(result.marked_model)
  added = len(saved) - len(shipped.shipped_model())
  assert added == result.report.added_bytes
  assert len(result.history["val_loss"]) >= 2
  exec(compile(second, "README.md", "exec"), names)
  assert names["result"].report.method == "sign-m-spsa"
  assert names["result"].report.added_bytes == 0
  assert capsys.readouterr().out.startswith("<AdaptResult: accuracy ")


def test_both_commands_are_the_ones_that_ci_runs():
  commands = re.findall(r'^readonly (?:TEST|MAIN_JOB)="(.*)"$', CI, re.M)
  assert len(commands) == 2
  for command in commands:
    assert README.count(command) == 1


def test_the_picture_is_there_and_small():
  (picture,) = re.findall(r"!\[[^\]]*\]\((.*?)\)", README)
  assert (ROOT / picture).read_bytes()[1:4] == b"PNG"
  assert (ROOT / picture).stat().st_size < 200_000


def test_every_program_is_in_the_readme_and_the_other_way_round():
  installed = set(re.findall(r"^(tflm-fg-\w+) = ", PROJECT, re.MULTILINE))
  shown = set(re.findall(r"`(tflm-fg-\w+)`", README))
  assert shown == installed


def test_every_runtime_is_in_the_table():
  for name in NAMES:
    assert f"| `{name}`" in README
