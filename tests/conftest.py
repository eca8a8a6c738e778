"""How tests run: side by side by default, the slowest first."""

import importlib.util
import os
import sys
import tempfile

import hypothesis
import pytest

# Property tests take the same examples on every machine, fast or slow.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same")

# A sandbox may close the home to writing, of which Matplotlib would warn.
if not os.access(os.path.expanduser("~"), os.W_OK):
  os.environ.setdefault("MPLCONFIGDIR", tempfile.gettempdir())

MOST_WORKERS = 4

# What takes longest begins first, so that no worker ends long after another.
SLOW_FIRST = (
  "tests/apps/fleet/test_flower.py",
  "tests/apps/kws/commands/test_programs.py",
  "tests/apps/kws/commands/test_demo.py",
  "tests/test_readme.py",
  "tests/apps/kws",
  "tests/apps",
  "tests/tflite",
)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
  """Runs the whole suite in several processes; what is named, in this one.

  -n0 and -p no:xdist run everything in this one.
  """
  if "PYTEST_XDIST_WORKER" in os.environ:  # it must not have workers itself
    return
  own = config.args_source == config.ArgsSource.TESTPATHS
  if not own or getattr(config.option, "numprocesses", 0) is not None:
    return
  config.option.numprocesses = min(os.cpu_count() or 1, MOST_WORKERS)
  config.option.dist = "loadgroup"
  config.option.loadscopereorder = False  # the order below is kept


def pytest_collection_modifyitems(items):
  """Gives one worker all that needs TensorFlow, and a file to one worker."""
  for item in items:
    if "tf" in _parameters(item):  # the runtime of that name
      item.add_marker(pytest.mark.tensorflow)
    group = "tensorflow" if _needs_tensorflow(item) else item.location[0]
    item.add_marker(pytest.mark.xdist_group(group))
  items.sort(key=_place)


def pytest_runtest_setup(item):
  """Skips what needs TensorFlow where it is not installed."""
  if _needs_tensorflow(item) and not importlib.util.find_spec("tensorflow"):
    pytest.skip("needs the extra tf")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
  """Asks for the mark where a test imports TensorFlow without it."""
  before = sys.modules.get("tensorflow")  # None too where a test hides it
  outcome = yield
  if sys.modules.get("tensorflow") and not before:
    assert _needs_tensorflow(item), "mark it with pytest.mark.tensorflow"
  return outcome


def _needs_tensorflow(item):
  return item.get_closest_marker("tensorflow") is not None


def _parameters(item):
  call = getattr(item, "callspec", None)
  values = call.params.values() if call else ()
  return [value for value in values if isinstance(value, str)]


def _place(item):
  if _needs_tensorflow(item):
    return 0
  for place, start in enumerate(SLOW_FIRST, 1):
    if item.location[0].startswith(start):
      return place
  return len(SLOW_FIRST) + 1
